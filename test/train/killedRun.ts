// A training that the tests kill: the small network, a checkpoint every five steps. Arguments: folder, steps, mode.
// Prints a line once it trains.

import { Trainer } from '../../lib/train/trainer.ts';
import { brightDataset, tinyClassifier } from './tiny.ts';

const [out = '', steps = '', mode] = process.argv.slice(2);
const { existsSync } = await import('node:fs');
const trainer = new Trainer(tinyClassifier(), {
  device: 'reference',
  batchSize: 8,
  logEvery: 1,
  mode: mode === 'eager' ? 'eager' : 'compiled',
});
await trainer.fit(brightDataset(40), {
  steps: Number(steps),
  out,
  resume: existsSync(out),
  checkpointEvery: 5,
  keep: 2,
  onNotice: (message) => process.stderr.write(`${message}\n`),
  onStep: ({ step }) => process.stdout.write(`${step}\n`),
});
