// How long a step waits for a checkpoint: Xception trains on the CPU with a checkpoint every fifth step; the time of the steps
// behind one is compared with that of the others, and with what writing one takes.
//
//   node --import tsx scripts/reliability/stall.ts [--size 71] [--batch 4] [--steps 41]

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { arrays, createClassifier, newestCheckpoint, Trainer } from '../../lib/index.ts';
import { RunFolder } from '../../lib/train/runFolder.ts';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '71' },
    batch: { type: 'string', default: '4' },
    steps: { type: 'string', default: '41' },
  },
});
const [size, batch, steps] = [Number(values.size), Number(values.batch), Number(values.steps)];
const every = 5;
const out = await mkdtemp(join(tmpdir(), 'depthwise-stall-'));
const n = batch * (steps + 1);
const images = Uint8Array.from({ length: n * size * size * 3 }, (_, i) => (i * 7919) % 256);
const labels = Int32Array.from({ length: n }, (_, i) => i % 10);

// What writing takes, from the copy of the values to the synced folder.
const writing: number[] = [];
const { save } = RunFolder.prototype;
RunFolder.prototype.save = function (snapshot, state) {
  const began = performance.now();
  save.call(this, snapshot, state);
  void this.written().then(() => writing.push(performance.now() - began));
};

const times: number[] = [];
const model = createClassifier('xception', { classes: 10, size });
const trainer = new Trainer(model, { device: 'cpu', batchSize: batch });
await trainer.fit(arrays({ data: images, shape: [n, size, size, 3] }, labels), {
  ...{ steps, out, checkpointEvery: every, keep: 1 },
  onStep: () => times.push(performance.now()),
});
const { checkpoint } = await newestCheckpoint(out);
const median = (all: number[]) => all.sort((a, b) => a - b)[all.length >> 1] as number;
const between = times.slice(1).map((time, i) => ({ step: i + 2, ms: time - (times[i] as number) }));
const behind = between.filter(({ step }) => step > every && step % every === 1).map(({ ms }) => ms);
const during = between.filter(({ step }) => step > every && step % every === 2).map(({ ms }) => ms);
const others = between.filter(({ step }) => step > every && step % every !== 1 && step % every !== 2);
console.log(
  JSON.stringify({
    checkpoint: checkpoint?.files,
    milliseconds: {
      step: Math.round(median(others.map(({ ms }) => ms))),
      stepBehindCheckpoint: Math.round(median(behind)),
      theNext: Math.round(median(during)),
      writing: Math.round(median(writing)),
    },
  }),
);
model.dispose();
await rm(out, { recursive: true, force: true });
