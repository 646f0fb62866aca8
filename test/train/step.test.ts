// What a step costs beside its computation: calls of the backend, and what it keeps ready.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { memory } from '../../lib/core/memory.ts';
import type { Batch } from '../../lib/data/batch.ts';
import { createOptimizer, PolyakAverage, rmsprop, sgd } from '../../lib/optim/index.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { brightImages, tinyClassifier } from './tiny.ts';

type Counts = Record<'allocate' | 'part' | 'write' | 'run' | 'prepare', number>;

/** The backend with its calls counted. */
function counted(backend: Backend): { backend: Backend; counts: Counts; handles: number[] } {
  const counts: Counts = { allocate: 0, part: 0, write: 0, run: 0, prepare: 0 };
  const handles: number[] = [];
  const watched = new Proxy(backend, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (name in counts) counts[name as keyof Counts] += 1;
        if (name === 'run') handles.push((args[1] as number[]).length, (args[2] as number[]).length);
        return Reflect.apply(value, target, args);
      };
    },
  });
  return { backend: watched, counts, handles };
}

const batchOf = (n: number, seed = 1): Batch => {
  const { data, labels } = brightImages(n, seed);
  return { images: data, shape: [n, 8, 8, 3], labels };
};

function stepOn(backend: Backend, mode: 'compiled' | 'eager', loss: 'softmax' | 'sigmoid' = 'softmax') {
  const model = tinyClassifier().to(backend);
  const parameters = model.network.trainableParameters();
  const optimizer = createOptimizer(loss === 'softmax' ? sgd() : rmsprop(), parameters, {
    weightDecay: 1e-3,
  });
  const polyak = new PolyakAverage(parameters);
  const step = new TrainingStep({
    ...{ model, optimizer, polyak, mode, loss, seed: 1 },
    ...{ labelSmoothing: 0, classWeights: loss === 'softmax' ? [1, 2, 1] : undefined },
  });
  return {
    model,
    step,
    run(batch: Batch, n: number): number {
      const { loss: value, logits } = step.run(batch, { step: n, lr: 0.01, polyakDecay: 0.9 });
      const [result] = value.dataSync();
      value.dispose();
      logits.dispose();
      return result as number;
    },
    [Symbol.dispose]() {
      for (const owner of [step, polyak, optimizer, model]) owner[Symbol.dispose]();
    },
  };
}

for (const device of [reference, ...networkDevices]) {
  describe(`a training step on ${device.name}`, () => {
    it('is some writes and one run with few handles, and allocates what it returns', () => {
      const { backend, counts, handles } = counted(device);
      using training = stepOn(backend, 'compiled');
      training.run(batchOf(4), 1);
      training.run(batchOf(4, 2), 2);
      const before = { ...counts };
      handles.length = 0;
      for (let n = 3; n < 13; n += 1) training.run(batchOf(4, n), n);
      const made = Object.fromEntries(
        Object.entries(counts).map(([name, n]) => [name, n - before[name as 'run']]),
      );
      // Images, labels, weights of the classes, counter, and the other numbers at once.
      expect(made).to.deep.equal({ allocate: 20, part: 0, write: 50, run: 10, prepare: 0 });
      // Those, rate and decay each; the normalization's two constants; parameters, momenta, averages, statistics. Out:
      // loss and logits, and these four.
      expect(handles.slice(0, 2)).to.deep.equal([6 + 2 + 4, 2 + 4]);
    });

    it('sees each batch and its numbers, in batches of several shapes, as eager does', () => {
      for (const loss of ['softmax', 'sigmoid'] as const) {
        const losses = (mode: 'compiled' | 'eager') => {
          using training = stepOn(device, mode, loss);
          return [4, 6, 4, 6, 2, 4].map((size, i) => training.run(batchOf(size, i), i + 1));
        };
        const [compiled, eager] = [losses('compiled'), losses('eager')];
        compiled.forEach((value, i) => {
          expect(value).to.be.closeTo(eager[i]!, 2e-4 * eager[i]!);
        });
        expect(new Set(compiled).size).to.equal(6);
      }
    });

    it('keeps ready for few shapes, and gives everything back', () => {
      {
        // The device's workspace grows with the largest batch, and stays.
        using training = stepOn(device, 'compiled');
        training.run(batchOf(16), 1);
      }
      const before = memory(device);
      const running: number[] = [];
      {
        using training = stepOn(device, 'compiled');
        for (let n = 1; n <= 12; n += 1) training.run(batchOf(n), n);
        running.push(memory().tensors);
        for (let n = 13; n <= 16; n += 1) training.run(batchOf(n), n);
        running.push(memory().tensors);
      }
      expect(running[1]).to.equal(running[0]);
      const { tensors, bytes, backend } = memory(device);
      expect([tensors, bytes, backend?.buffers, backend?.arena]).to.deep.equal([
        before.tensors,
        before.bytes,
        before.backend?.buffers,
        before.backend?.arena,
      ]);
    });

    it('holds nothing of a batch whose labels do not fit', () => {
      using training = stepOn(device, 'compiled');
      const before = memory().tensors;
      const labels = Int32Array.of(0, 1);
      expect(() => training.run({ ...batchOf(4), labels }, 1)).to.throw('has 4 elements, the data 2');
      expect(memory().tensors).to.equal(before);
      training.run(batchOf(4), 1);
      expect(() => training.run({ ...batchOf(4), labels }, 2)).to.throw('has 4 elements, the data 2');
      expect(() => training.run({ ...batchOf(4), labels: new Uint8Array(12) }, 2)).to.throw("loss 'sigmoid'");
    });

    it('repeats the last batch as if it were given again', () => {
      const losses = [false, true].map((repeats) => {
        using training = stepOn(device, 'compiled');
        const first = training.run(batchOf(4, 2), 1);
        const rest = [2, 3, 4].map((n) => {
          if (!repeats) return training.run(batchOf(4, 2), n);
          const { loss, logits } = training.step.repeat({ step: n, lr: 0.01, polyakDecay: 0.9 });
          const [result] = loss.dataSync();
          loss.dispose();
          logits.dispose();
          return result as number;
        });
        return [first, ...rest];
      });
      const [given, repeated] = losses as [number[], number[]];
      // A GPU that is not asked to be deterministic may add up gradients in another order the next time.
      if (/^cuda\b/.test(device.name)) {
        expect(repeated).to.have.length(given.length);
        repeated.forEach((loss, i) => {
          expect(loss, `loss ${i}`).to.be.closeTo(given[i]!, 1e-4 * Math.abs(given[i]!));
        });
        expect(new Set(repeated).size, 'the loss falls').to.equal(repeated.length);
      } else expect(repeated).to.deep.equal(given);
      using fresh = stepOn(device, 'compiled');
      expect(() => fresh.step.repeat({ step: 1, lr: 0, polyakDecay: 0 })).to.throw('no batch to repeat');
    });

    it('leaves statistics to the model, with the values that they have', () => {
      const before = memory().tensors;
      const training = stepOn(device, 'compiled');
      const mean = training.model.network.statistics().get('bn.running_mean')!;
      const start = [...mean.dataSync()];
      training.run(batchOf(8), 1);
      const once = [...mean.dataSync()];
      expect(once).not.to.deep.equal(start);
      mean.set(Float32Array.from(start));
      training.run(batchOf(8), 2);
      const again = [...mean.dataSync()];
      again.forEach((value, i) => {
        expect(value - start[i]!).to.be.closeTo(
          once[i]! - start[i]!,
          0.1 * Math.abs(once[i]! - start[i]!) + 1e-3,
        );
      });
      training.step[Symbol.dispose]();
      expect([...mean.dataSync()]).to.deep.equal(again);
      training[Symbol.dispose]();
      expect(memory().tensors).to.equal(before);
    });
  });
}
