// What becomes of gradients before an update, and when a training ends by itself: clipping, accumulation, the best epoch.

import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Classifier } from '../../lib/classify/classifier.ts';
import { ArgumentError, DataError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import type { Batch } from '../../lib/data/batch.ts';
import { adam, constant, sgd } from '../../lib/optim/index.ts';
import { type Best, bestAfter } from '../../lib/train/best.ts';
import { newestCheckpoint } from '../../lib/train/checkpoint.ts';
import type { EpochRecord } from '../../lib/train/metrics.ts';
import type { FitOptions, TrainerOptions } from '../../lib/train/options.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { modes } from '../support/modes.ts';
import { brightDataset, brightImages, tinyClassifier } from './tiny.ts';

const common: TrainerOptions = {
  ...{ deterministic: true, batchSize: 8, polyak: 0.9, logEvery: 1, schedule: constant(0.05) },
};

/** Normalization by running statistics, so that a batch's images do not see one another. */
function freezeNormalization(model: Classifier): void {
  for (const path of ['bn', 'sepconv_bn']) model.network.module(path).trainable = false;
}

async function train(
  options: TrainerOptions,
  fit: FitOptions,
  {
    n = 64,
    dropout = 0,
    prepare = (_: Classifier) => {},
    data = brightDataset(n) as Parameters<Trainer['fit']>[0],
  } = {},
) {
  using model = tinyClassifier({ dropout });
  prepare(model);
  using trainer = new Trainer(model, { ...common, ...options });
  const history = await trainer.fit(data, fit);
  return { history, weights: await model.weights() };
}

/** The distance of two sets of weights as a part of how far the first have come. */
function apart(
  a: ReadonlyMap<string, { data: Float32Array }>,
  b: ReadonlyMap<string, { data: Float32Array }>,
): number {
  let [difference, size] = [0, 0];
  for (const [name, { data }] of a) {
    data.forEach((x, i) => {
      difference += (x - b.get(name)!.data[i]!) ** 2;
      size += x ** 2;
    });
  }
  return Math.sqrt(difference / size);
}

for (const { name: device } of [reference, ...networkDevices]) {
  for (const mode of modes) {
    describe(`steps on ${device}, ${mode}`, () => {
      it('of several batches are those of one large batch, where normalization does not look', async () => {
        const options = { device, mode, optimizer: sgd(), shuffle: false, weightDecay: 1e-3 };
        const prepare = freezeNormalization;
        const whole = await train({ ...options, batchSize: 32 }, { steps: 5 }, { prepare });
        const parts = await train({ ...options, batchSize: 8, accumulate: 4 }, { steps: 5 }, { prepare });
        expect(apart(whole.weights, parts.weights)).to.be.below(1e-6);
        parts.history.steps.forEach(({ step, loss, top1 }, i) => {
          const expected = whole.history.steps[i]!;
          expect(step).to.equal(expected.step);
          expect(loss / expected.loss - 1).to.be.closeTo(0, 1e-5);
          expect(top1).to.equal(expected.top1);
        });
        const other = await train({ ...options, batchSize: 8 }, { steps: 5 }, { prepare });
        expect(apart(whole.weights, other.weights)).to.be.above(1e-3);
      });

      it('whose gradients are long are shortened to the bound, together', async () => {
        // A gradient of norm 1 at a rate of 0.001, without momentum: weights move by that.
        const options = { device, mode, optimizer: sgd({ momentum: 0 }), schedule: constant(1e-3) };
        const clipped = await train({ ...options, clipNorm: 0.25 }, { steps: 1 });
        const norm = clipped.history.steps[0]?.gradient_norm as number;
        expect(norm).to.be.above(0.3);
        using fresh = tinyClassifier({ dropout: 0 });
        using none = new Trainer(fresh, { ...common, device, mode });
        await none.evaluate(brightDataset(8)); // gives it its first weights
        const first = await fresh.weights();
        const plain = await train(options, { steps: 1 });
        expect(plain.history.steps[0]).not.to.have.property('gradient_norm');
        const moved = (weights: typeof first) => {
          let sum = 0;
          for (const [name, { data }] of weights) {
            if (name.includes('running')) continue;
            data.forEach((x, i) => {
              sum += (x - first.get(name)!.data[i]!) ** 2;
            });
          }
          return Math.sqrt(sum) / 1e-3;
        };
        expect(moved(plain.weights)).to.be.closeTo(norm, 1e-3 * norm);
        expect(moved(clipped.weights)).to.be.closeTo(0.25, 1e-3 * norm);
        const wide = await train({ ...options, clipNorm: 1e6 }, { steps: 1 });
        expect(wide.weights).to.deep.equal(plain.weights);
      });

      it('of which the last has too few batches are given up, and nothing of them is left', async () => {
        const options = { device, mode, optimizer: adam(), accumulate: 3, shuffle: false };
        // Seven batches: two steps and a rest, whatever the data say of their length.
        const { data, labels } = brightImages(56);
        async function* batches(): AsyncGenerator<Batch> {
          for (let i = 0; i < 7; i++) {
            const images = data.slice(i * 8 * 192, (i + 1) * 8 * 192);
            yield { images, shape: [8, 8, 8, 3], labels: labels.slice(i * 8, (i + 1) * 8) };
          }
        }
        const own = { [Symbol.asyncIterator]: batches };
        const before = memory();
        const told = await train(options, { epochs: 2 }, { n: 56 });
        const untold = await train(options, { epochs: 2 }, { data: own });
        const exact = await train(options, { epochs: 2 }, { n: 48 });
        expect(told.history.step).to.equal(4);
        expect(untold.weights).to.deep.equal(told.weights);
        expect(exact.weights).to.deep.equal(told.weights);
        expect(memory().tensors).to.equal(before.tensors);
      });
    });
  }
}

describe('the best epoch', () => {
  const record = (epoch: number, top1: number, loss: number, more: object = {}): EpochRecord => ({
    ...{ epoch, train: { loss: 1, top1: 0 }, images_per_second: 1, data_wait: 0 },
    validation: { top1, top5: 1, loss },
    ...more,
  });

  it('is that of the highest top-1, of equal ones that of the lower loss, or of the lowest loss', () => {
    const records = [record(1, 0.5, 2), record(2, 0.6, 3), record(3, 0.6, 2.5), record(4, 0.6, 2.6)];
    const last = (monitor: 'top1' | 'loss') =>
      records.reduce<Best | undefined>((best, r) => bestAfter(best, monitor, r, r.epoch * 10), undefined);
    expect(last('top1')).to.deep.equal({
      step: 30,
      epoch: 3,
      monitor: 'top1',
      value: 0.6,
      loss: 2.5,
      since: 1,
    });
    expect(last('loss')).to.include({ epoch: 1, value: 2, since: 3 });
  });

  it('is judged by the average where there is one, never by what is not finite', () => {
    const average = { validation_average: { top1: 0.1, top5: 1, loss: 9 } };
    const first = bestAfter(undefined, 'top1', record(1, 0.9, 1, average), 5);
    expect(first).to.include({ value: 0.1, loss: 9 });
    const bad = bestAfter(
      bestAfter(undefined, 'loss', record(1, 0, 2), 1),
      'loss',
      record(2, 0, Number.NaN),
      2,
    );
    expect(bad).to.include({ epoch: 1, since: 1 });
    const unvalidated = { ...record(1, 0, 0) } as { validation?: unknown };
    delete unvalidated.validation;
    expect(bestAfter(undefined, 'top1', unvalidated as EpochRecord, 1)).to.equal(undefined);
  });

  for (const mode of modes) {
    it(`is kept beside the newest, and ends the training in time, also where it was stopped: ${mode}`, async () => {
      const root = await mkdtemp(join(tmpdir(), 'depthwise-best-'));
      try {
        // A rate that is far too high after two epochs: nothing gets better.
        const schedule = ({ epoch }: { epoch: number }) => (epoch < 2 ? 0.02 : 3);
        const options: TrainerOptions = { device: 'reference', mode, schedule };
        const fit = { validation: brightDataset(24, 2), epochs: 30, patience: 3, keep: 1 } as const;
        const whole = await train(options, { ...fit, out: join(root, 'whole') }, { n: 40 });
        const { epochs } = whole.history;
        const last = epochs.at(-1)!;
        expect(epochs.length).to.be.within(4, 20);
        expect(last).to.include({ epoch: epochs.length, stopped_early: 3 });
        const best = epochs.filter((epoch) => epoch.best !== undefined).at(-1)!;
        expect(best.best).to.equal('top1');
        expect(best.epoch).to.equal(epochs.length - 3);
        const above = join(root, 'whole', 'checkpoints');
        const stepOf = (epoch: number) => `step-${String(epoch * 5).padStart(8, '0')}`;
        expect((await readdir(above)).sort()).to.deep.equal(['best', stepOf(best.epoch), stepOf(last.epoch)]);
        expect(await readlink(join(above, 'best'))).to.equal(stepOf(best.epoch));
        const { checkpoint } = await newestCheckpoint(join(root, 'whole'));
        expect(checkpoint?.state.best).to.include({ epoch: best.epoch, since: 3, monitor: 'top1' });

        // Stopped after each epoch, and once within one.
        for (const steps of [5, 8, 10, 15, 20, 25]) {
          const resume = steps > 5;
          const { epochs: _, ...rest } = fit;
          await train(options, { ...rest, steps, resume, out: join(root, 'parts') }, { n: 40 });
        }
        await train(options, { ...fit, resume: true, out: join(root, 'parts') }, { n: 40 });
        const linesOf = async (run: string) =>
          (await readFile(join(root, run, 'metrics.jsonl'), 'utf8'))
            .trim()
            .split('\n')
            .map((line) => {
              const { images_per_second: _, data_wait: __, ...rest } = JSON.parse(line);
              return rest as object;
            });
        expect(await linesOf('parts')).to.deep.equal(await linesOf('whole'));
        const names = await readdir(join(root, 'parts', 'checkpoints'));
        expect(names.sort()).to.deep.equal((await readdir(above)).sort());

        // It stays stopped, and goes on with more patience.
        const again = await train(options, { ...fit, resume: true, out: join(root, 'whole') }, { n: 40 });
        expect(again.history.steps).to.deep.equal([]);
        const more = { ...fit, patience: 4, resume: true, out: join(root, 'whole') };
        const patient = await train(options, more, { n: 40 });
        expect(patient.history.epochs[0]?.epoch).to.equal(epochs.length + 1);
      } finally {
        await rm(root, { recursive: true, force: true });
      }
    });
  }
});

describe('options of steps', () => {
  it('are refused out of range', async () => {
    using model = tinyClassifier();
    expect(() => new Trainer(model, { clipNorm: 0 })).to.throw(
      ArgumentError,
      'clipNorm: expected a number above 0',
    );
    expect(() => new Trainer(model, { accumulate: 0 })).to.throw(/accumulate/);
    using trainer = new Trainer(model, { device: 'reference', accumulate: 9, batchSize: 8 });
    const failure = (fit: FitOptions) => trainer.fit(brightDataset(64), fit).catch((error: Error) => error);
    const few = await failure({ steps: 1 });
    expect(few).to.be.instanceOf(DataError);
    expect((few as Error).message).to.include('64 images do not fill the 9 batches of a step, each of 8');
    expect(await failure({ steps: 1, patience: 2 })).to.have.property(
      'message',
      'fit: patience needs validation data',
    );
  });
});
