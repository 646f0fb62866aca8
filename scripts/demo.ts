// The demo: trains Xception on the bundled photographs of clothing, evaluates it, and classifies photographs that it has
// not seen. Shows loss, speed, and that the event loop stays free. What it does is also said as a command line.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import {
  adam,
  closeDevices,
  cosineDecay,
  imageFolder,
  loadModel,
  Trainer,
  withWarmup,
  xception,
} from '../lib/index.ts';

const { values } = parseArgs({
  options: {
    epochs: { type: 'string', default: '8' },
    size: { type: 'string', default: '96' },
    out: { type: 'string' },
  },
});
const epochs = Number(values.epochs);
const size = Number(values.size);
const out = values.out ?? mkdtempSync(join(tmpdir(), 'depthwise-demo-'));
const data = resolve(import.meta.dirname, '../examples/data');
const print = (line = '') => process.stdout.write(`${line}\n`);
const percent = (share: number) => `${(100 * share).toFixed(0)} %`;

const train = imageFolder(join(data, 'clothing/train'), { size, augment: 'light' });
const validation = imageFolder(join(data, 'clothing/validation'), { size });
print(
  `Xception on ${train.length} photographs of clothing, ${train.classes.length} classes, ${size} x ${size} pixels`,
);
print('The same from the command line:');
print(
  `  npx depthwise train examples/data/clothing --size ${size} --epochs ${epochs} --batch 20 --augment light ` +
    '--optimizer adam --lr 0.001 --schedule cosine --warmup 20 --dropout 0.2 --batch-norm-momentum 0.9 --polyak 0.9 --out runs/demo',
);
print();

const model = xception({ classes: train.classes, dropout: 0.2, batchNormMomentum: 0.9, size });
const trainer = new Trainer(model, {
  optimizer: adam(),
  schedule: withWarmup(20, cosineDecay({ initial: 0.001 })),
  batchSize: 20,
  polyak: 0.9,
});

const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();
const firstLosses: number[] = [];
const started = performance.now();
const history = await trainer.fit(train, {
  validation,
  epochs,
  out,
  onStep: ({ step, loss }, { totalSteps, imagesPerSecond }) => {
    if (firstLosses.length < 5) firstLosses.push(loss);
    if (step % 10 === 0) {
      print(`step ${step} of ${totalSteps}  loss ${loss.toFixed(3)}  ${imagesPerSecond.toFixed(1)} images/s`);
    }
  },
  onEpoch: ({ epoch, validation: raw, validation_average: average }) => {
    const shown = (scores: unknown) => percent((scores as { top1: number }).top1);
    print(`epoch ${epoch}: validation top-1 ${shown(raw)}, of the Polyak average ${shown(average)}`);
  },
});
delay.disable();
print();
print(`trained in ${((performance.now() - started) / 1000).toFixed(0)} s`);
print(`event loop delay while training: p99 ${(delay.percentile(99) / 1e6 - 10).toFixed(1)} ms`);
void history;

print();
print('Photographs that it has not seen, classified with the Polyak average:');
const best = await loadModel(out);
const heldOut = readdirSync(join(data, 'held-out'))
  .filter((file) => file.endsWith('.jpg'))
  .sort();
const predictions = await best.predict(
  heldOut.map((file) => join(data, 'held-out', file)),
  { top: 3 },
);
predictions.forEach((classes, i) => {
  const guesses = classes.map(({ label, probability }) => `${label} ${percent(probability)}`).join(', ');
  print(`  ${(heldOut[i] as string).padEnd(16)} ${guesses}`);
});
best.dispose();
model.dispose();
closeDevices();
if (values.out === undefined) rmSync(out, { recursive: true });
else print(`\nthe run is in ${out}`);
