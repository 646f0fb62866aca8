// Steps that are not finite: they change nothing and are counted; the third in a row ends the training, with a checkpoint of
// the last good state and the name of the first bad tensor.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { NonFiniteLossError } from '../../lib/core/errors.ts';
import type { Batch } from '../../lib/data/batch.ts';
import { adam, constant, type OptimizerSpec, rmsprop, sgd } from '../../lib/optim/index.ts';
import { newestCheckpoint } from '../../lib/train/checkpoint.ts';
import type { StepRecord } from '../../lib/train/metrics.ts';
import type { FitOptions, TrainerOptions } from '../../lib/train/options.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { modes } from '../support/modes.ts';
import { brightImages, tinyClassifier } from './tiny.ts';

/** Batches of f32 images, of which those of the numbers in `bad`, from 0, hold a number that is not finite. */
function* poisoned(count: number, bad: readonly number[]): Generator<Batch> {
  for (let i = 0; i < count; i++) {
    const { data, labels } = brightImages(8, i + 1);
    const images = Float32Array.from(data, (x) => x / 127.5 - 1);
    if (bad.includes(i)) images[i * 3 + 77] = i % 2 === 0 ? Number.NaN : Number.POSITIVE_INFINITY;
    yield { images, shape: [8, 8, 8, 3], labels };
  }
}

/** An epoch of batches of one's own. */
const batches = (count: number, bad: readonly number[] = []) => ({
  async *[Symbol.asyncIterator]() {
    yield* poisoned(count, bad);
  },
});

async function train(
  trainer: TrainerOptions,
  data: AsyncIterable<Batch>,
  fit: FitOptions,
): Promise<{ records: StepRecord[]; weights: object; notices: string[]; error: unknown }> {
  const model = tinyClassifier();
  using it = new Trainer(model, {
    ...{ deterministic: true, batchSize: 8, polyak: 0.9, weightDecay: 1e-3, logEvery: 1 },
    ...{ schedule: constant(0.01), ...trainer },
  });
  const [records, notices]: [StepRecord[], string[]] = [[], []];
  const error = await it
    .fit(data, { ...fit, onStep: (r) => records.push(r), onNotice: (message) => notices.push(message) })
    .then(
      () => undefined,
      (reason: unknown) => reason,
    );
  const weights = await model.weights();
  model.dispose();
  return { records, weights, notices, error };
}

for (const { name: device } of [reference, ...networkDevices]) {
  for (const mode of modes) {
    describe(`steps that are not finite on ${device}, ${mode}`, () => {
      let run: string;

      beforeEach(async () => {
        run = await mkdtemp(join(tmpdir(), 'depthwise-non-finite-'));
      });
      afterEach(async () => {
        await rm(run, { recursive: true, force: true });
      });

      const filesOf = async (folder: string) => {
        const { checkpoint } = await newestCheckpoint(folder);
        const names = ['model', 'average', 'optimizer'].map((name) => `${name}.safetensors`);
        return Promise.all(names.map((name) => readFile(join(checkpoint?.folder as string, name))));
      };

      const specs: OptimizerSpec[] = [sgd(), rmsprop(), rmsprop({ epsilonOutside: true }), adam()];
      for (const [i, optimizer] of specs.entries()) {
        it(`change nothing: ${optimizer.name} ${i}`, async () => {
          // Two bad steps at the end leave weights, statistics, optimizer and average as they were, to the bit.
          const options = { device, mode, optimizer };
          const good = await train(options, batches(4), { steps: 4, out: join(run, 'good') });
          const bad = await train(options, batches(6, [4, 5]), { steps: 6, out: join(run, 'bad') });
          expect(bad.error).to.equal(undefined);
          expect(bad.weights).to.deep.equal(good.weights);
          const [model, average, state] = await filesOf(join(run, 'bad'));
          const [goodModel, goodAverage, goodState] = await filesOf(join(run, 'good'));
          expect(model?.equals(goodModel!)).to.equal(true);
          expect(average?.equals(goodAverage!)).to.equal(true);
          expect(state?.equals(goodState!)).to.equal(false); // it counts
          expect(bad.records.map(({ skipped_steps }) => skipped_steps)).to.deep.equal([
            ...[undefined, undefined, undefined, undefined, 1, 2],
          ]);
          expect(bad.notices).to.deep.equal([
            'step 5: the loss is NaN; it is skipped: it changes nothing',
            'step 6: the loss is NaN; it is skipped: it changes nothing',
          ]);
        });
      }

      it('in between do no harm, also where the run is stopped behind them', async () => {
        const options = { device, mode, optimizer: adam() };
        const bad = [2, 3, 5, 6, 9];
        const whole = await train(options, batches(12, bad), { steps: 12, out: join(run, 'whole') });
        expect(whole.error).to.equal(undefined);
        expect(whole.records.at(-1)?.skipped_steps).to.equal(5);
        expect(whole.records.filter(({ loss }) => Number.isFinite(loss))).to.have.length(7);
        for (const steps of [4, 7, 12]) {
          const resume = steps > 4;
          await train(options, batches(12, bad), { steps, resume, out: join(run, 'parts') });
        }
        const [parts, once] = [await filesOf(join(run, 'parts')), await filesOf(join(run, 'whole'))];
        parts.forEach((file, i) => {
          expect(file.equals(once[i]!)).to.equal(true);
        });
      });

      it('end the training at the third in a row, with the last good state and the bad tensor', async () => {
        const options = { device, mode };
        const good = await train(options, batches(3), { steps: 3 });
        const { error, weights, records } = await train(options, batches(9, [3, 4, 5]), {
          ...{ steps: 9, out: run },
        });
        expect(error).to.be.instanceOf(NonFiniteLossError);
        const { message, step } = error as NonFiniteLossError;
        expect(step).to.equal(6);
        expect(records.map((record) => record.step)).to.deep.equal([1, 2, 3, 4, 5, 6]);
        expect(message).to.match(/^step 6: the loss is NaN, for the third time in a row; first not finite: /);
        expect(message).to.include('first not finite: the images of the batch.');
        expect(message).to.include(join(run, 'checkpoints', 'step-00000006'));
        expect(weights).to.deep.equal(good.weights);
        const { checkpoint } = await newestCheckpoint(run);
        expect(checkpoint?.state).to.include({ step: 6 });
        expect(checkpoint?.state.skipped).to.deep.equal({ steps: 3, inRow: 0 });
        // Whoever goes on does so behind them.
        const resumed = await train(options, batches(9, [3, 4, 5]), { steps: 9, out: run, resume: true });
        expect(resumed.error).to.equal(undefined);
        expect(resumed.records.map((record) => record.step)).to.deep.equal([7, 8, 9]);
      });

      it('name the op that made the first number that is not finite', async () => {
        // With such a rate the weights are finite after a step, and what comes of them is not.
        const schedule = constant(1e32);
        const { error } = await train({ device, mode, schedule, weightDecay: 0 }, batches(9), { steps: 9 });
        expect(error).to.be.instanceOf(NonFiniteLossError);
        expect((error as Error).message).to.match(
          /first not finite: the (result of \w+ in [\w. ]+(, \w+)?: f32\[[\d,]*\] from f32\[|weight )/,
        );
      });
    });
  }
}
