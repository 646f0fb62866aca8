// What an eager op costs the JavaScript thread to queue. Plain JavaScript, as a user's program may be: no loader
// stands between it and the package, which it is told as its argument. Prints JSON, an EagerTime[].
//
//   node bench/support/eagerOps.mjs dist/index.js [threads]
//   node --import tsx bench/support/eagerOps.mjs lib/index.ts [threads]

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [entry = 'dist/index.js', threads = '2'] = process.argv.slice(2);
const { closeDevices, memory, openDevice, ops, scope, tensor } = await import(
  pathToFileURL(resolve(entry)).href
);

// Ops queued before the device is waited for: far fewer than would fill its queue or the memory.
const row = 200;
const repeats = 200;

// Nanoseconds of this thread on a processor. The kernel adds to it at its ticks only: short differences mean
// nothing.
const processorTime = () => Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]);

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const backend = openDevice('cpu', { threads: Number(threads) });
const ones = (...shape) =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape, { backend });
const x = ones(1, 4, 4, 8);
const kernel = ones(8, 3, 3, 1);
const cases = [
  ['add', () => ops.add(x, x)],
  ['relu', () => ops.relu(x)],
  ['conv2d, depthwise', () => ops.conv2d(x, kernel, { groups: 8, padding: 'same' })],
];

const found = [];
for (const [op, call] of cases) {
  const queue = [];
  const whole = [];
  const before = processorTime();
  for (let repeat = 0; repeat < repeats; repeat++) {
    const start = performance.now();
    let queued = 0;
    scope(() => {
      for (let i = 0; i < row; i++) call();
      queued = performance.now();
    });
    whole.push((1000 * (performance.now() - start)) / row);
    queue.push((1000 * (queued - start)) / row);
    await backend.sync();
  }
  const processor = (processorTime() - before) / 1000 / (row * repeats);
  found.push({ op, queue: median(queue), whole: median(whole), processor });
}
x.dispose();
kernel.dispose();
if (memory().tensors !== 0) throw new Error('eager ops left tensors behind');
closeDevices();
console.log(JSON.stringify(found));
