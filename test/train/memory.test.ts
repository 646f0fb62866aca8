// Memory over many steps, and trainings in two worker threads at once.

import v8 from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { memory } from '../../lib/core/memory.ts';
import { scope } from '../../lib/core/scope.ts';
import type { Batch } from '../../lib/data/batch.ts';
import { createOptimizer, PolyakAverage, sgd } from '../../lib/optim/index.ts';
import { Trainer } from '../../lib/train/index.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import { networkDevices } from '../support/devices.ts';
import { modes } from '../support/modes.ts';
import { skip } from '../support/skip.ts';
import { brightImages, tinyClassifier } from './tiny.ts';

/** Steps of the small network. The figure of reliability is 10,000: MEMORY_STEPS=10000. */
const steps = Number(process.env.MEMORY_STEPS ?? 1000);

/** Steps between two looks at the memory. */
const interval = 25;

v8.setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Slope of a line through equally spaced values, per step between them. */
function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  let [above, below] = [0, 0];
  values.forEach((v, i) => {
    above += (i - middle) * (v - mean);
    below += (i - middle) ** 2;
  });
  return above / below;
}

for (const backend of networkDevices) {
  for (const mode of modes) {
    it(`holds no more memory after ${steps} steps, ${mode} on ${backend.name}`, async function () {
      this.timeout(600_000);
      const { data, shape, labels } = brightImages(16);
      const batch = { images: data, shape, labels } as unknown as Batch;
      async function* batches() {
        for (let i = 0; i < steps; i += 1) yield batch;
      }
      const before = memory(backend);
      const model = tinyClassifier();
      const trainer = new Trainer(model, { device: backend.name, mode, batchSize: 16 });
      const tensors: number[] = [];
      const native: number[] = [];
      const heap: number[] = [];
      const resident: number[] = [];
      await trainer.fit(batches(), {
        steps,
        onStep: ({ step }) => {
          if (step <= steps / 4 || step % interval !== 0) return; // caches fill first
          const now = memory(backend);
          tensors.push(now.bytes);
          native.push((now.backend?.live ?? 0) + (now.backend?.cached ?? 0) + (now.backend?.arena ?? 0));
          collectGarbage();
          heap.push(process.memoryUsage().heapUsed + process.memoryUsage().external);
          resident.push(process.memoryUsage().rss);
        },
      });
      expect(tensors.length).to.be.greaterThan(20);
      // Two steps are in flight, so figures differ by what a step returns; they do not grow.
      expect(Math.max(...tensors) - Math.min(...tensors)).to.be.below(64 * 1024);
      expect(native.at(-1)).to.equal(native[0]);
      const perStep = (values: number[]) => Math.round(slope(values) / interval);
      console.log(`      bytes a step: heap ${perStep(heap)}, resident ${perStep(resident)}`);
      // What grows is the history that fit returns, 48 bytes a step, and in short runs compiled code.
      expect(perStep(heap)).to.be.below(steps >= 10_000 ? 100 : 400);
      // Of what the process has from the system, the first tens of thousands of steps say little: it comes in megabytes.
      if (steps >= 50_000) expect(perStep(resident)).to.be.below(100);
      trainer.dispose();
      model.dispose();
      expect(memory(backend).bytes).to.equal(before.bytes);
      expect(memory(backend).leaked).to.equal(0);
    });
  }

  for (const mode of modes) {
    it(`moves no counter of the allocator over 100 steps, ${mode} on ${backend.name}`, async () => {
      using model = tinyClassifier().to(backend);
      const parameters = model.network.trainableParameters();
      using optimizer = createOptimizer(sgd({ momentum: 0.9 }), parameters, { weightDecay: 1e-5 });
      using polyak = new PolyakAverage(parameters);
      using step = new TrainingStep({
        ...{ model, optimizer, polyak, mode, seed: 1 },
        ...{ loss: 'softmax', labelSmoothing: 0, classWeights: undefined },
      });
      const { data, labels } = brightImages(16);
      const run = async (n: number) => {
        const batch: Batch = { images: data, shape: [16, 8, 8, 3], labels };
        using loss = scope(() => step.run(batch, { step: n, lr: 0.01, polyakDecay: 0.99 }).loss);
        expect(await loss.item()).to.be.greaterThan(0);
      };
      for (let n = 1; n <= 3; n++) await run(n); // what is kept from step to step, and caches, are made
      await backend.sync();
      const before = memory(backend);
      for (let n = 4; n <= 103; n++) {
        await run(n);
        await backend.sync();
        expect(memory(backend), `after step ${n}`).to.deep.equal(before);
      }
      const { tensors, backend: held } = before;
      console.log(`      before and after: ${tensors} tensors, ${JSON.stringify(held)}`);
    });
  }

  it(`trains in two worker threads at once on ${backend.name}, with the results of one alone`, async function () {
    this.timeout(120_000);
    // In a bundle there are no sources, and no loader for them.
    if (!import.meta.filename.endsWith('.ts')) skip(this, 'the workers run from sources');
    const code = `
      const { register } = await import(${JSON.stringify(new URL('../../node_modules/tsx/dist/esm/api/index.mjs', import.meta.url).href)});
      register();
      const { Trainer } = await import(${JSON.stringify(new URL('../../lib/train/index.ts', import.meta.url).href)});
      const { tinyClassifier, brightDataset } = await import(${JSON.stringify(new URL('./tiny.ts', import.meta.url).href)});
      const { parentPort } = await import('node:worker_threads');
      const model = tinyClassifier();
      const trainer = new Trainer(model, { device: ${JSON.stringify(backend.name)}, deterministic: true, batchSize: 8, seed: 3 });
      const { steps } = await trainer.fit(brightDataset(64), { steps: 40 });
      parentPort.postMessage(steps.map(({ loss }) => loss));
      trainer.dispose();
      model.dispose();`;
    const train = () =>
      new Promise<number[]>((resolve, reject) => {
        const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
        let losses: number[] = [];
        worker.on('message', (message: number[]) => {
          losses = message;
        });
        worker.on('error', reject);
        worker.on('exit', (status) =>
          status === 0 ? resolve(losses) : reject(new Error(`the worker ended with ${status}`)),
        );
      });
    const alone = await train();
    expect(alone.length).to.equal(40);
    expect(alone.at(-1)).to.be.below(alone[0] as number);
    for (const losses of await Promise.all([train(), train()])) expect(losses).to.deep.equal(alone);
  });
}
