// A training on a disk that fails now and then. Arguments: folder, steps, and a file whose being there is the failure: it comes
// after step 12 and goes after step 22 (`while`), or stays (`stays`). Prints a line per step, and what the trainer says.

import { rmSync, writeFileSync } from 'node:fs';
import { Trainer } from '../../lib/train/trainer.ts';
import { brightDataset, tinyClassifier } from './tiny.ts';

const [out = '', steps = '', mark = '', how = 'while'] = process.argv.slice(2);
const trainer = new Trainer(tinyClassifier(), { device: 'reference', batchSize: 8, logEvery: 1 });
try {
  await trainer.fit(brightDataset(80), {
    steps: Number(steps),
    out,
    checkpointEvery: 5,
    keep: 2,
    onNotice: (message) => process.stdout.write(`${message}\n`),
    onStep: ({ step }) => {
      process.stdout.write(`${step}\n`);
      if (step === 12) writeFileSync(mark, '');
      if (step === 22 && how === 'while') rmSync(mark);
    },
  });
} catch (error) {
  process.stdout.write(`${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}\n`);
  process.exitCode = 1;
}
