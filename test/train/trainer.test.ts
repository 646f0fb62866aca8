// Training a small network: what is recorded, resumed, stopped, frozen and weighted.

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { NonFiniteLossError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { arrays } from '../../lib/data/arrays.ts';
import type { Batch } from '../../lib/data/batch.ts';
import { readWeights } from '../../lib/interop/weights.ts';
import { adam, type OptimizerSpec, rmsprop, sgd } from '../../lib/optim/optimizer.ts';
import { constant, exponentialDecay } from '../../lib/optim/schedule.ts';
import type { FitOptions, TrainerOptions } from '../../lib/train/options.ts';
import { traceEvents } from '../../lib/train/profile.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { modes } from '../support/modes.ts';
import { brightDataset, brightImages, tinyClassifier } from './tiny.ts';

const common: TrainerOptions = {
  device: 'reference',
  batchSize: 8,
  schedule: constant(0.05),
  weightDecay: 1e-4,
  logEvery: 1,
};

/** Trains a new small classifier and gives the history and the weights. */
async function trainTiny(trainer: TrainerOptions, fit: FitOptions, n = 40) {
  using model = tinyClassifier();
  using it = new Trainer(model, { ...common, ...trainer });
  const history = await it.fit(brightDataset(n), fit);
  return { history, weights: await model.weights() };
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.fail('expected a rejection'),
    (reason: unknown) => reason,
  );
}

/** The files of a run's newest checkpoint, and its metrics without the times. */
async function outcome(run: string): Promise<{ files: Map<string, Buffer>; lines: object[] }> {
  const newest = (await readdir(join(run, 'checkpoints'))).sort().at(-1) as string;
  const folder = join(run, 'checkpoints', newest);
  const files = new Map<string, Buffer>();
  for (const name of await readdir(folder)) {
    if (name !== 'state.json') files.set(name, await readFile(join(folder, name)));
  }
  const text = await readFile(join(run, 'metrics.jsonl'), 'utf8');
  const lines = text.split('\n').flatMap((line) => {
    if (line === '') return [];
    const { images_per_second: _, data_wait: __, ...rest } = JSON.parse(line) as Record<string, unknown>;
    return [rest];
  });
  return { files, lines };
}

describe('Trainer', () => {
  it('gives the same, compiled and eager', async () => {
    const compiled = await trainTiny({ mode: 'compiled' }, { steps: 6 });
    const eager = await trainTiny({ mode: 'eager' }, { steps: 6 });
    expect(eager.history.steps).to.deep.equal(compiled.history.steps);
    expect(eager.weights).to.deep.equal(compiled.weights);
  });

  it('refuses options out of range', () => {
    using model = tinyClassifier();
    expect(() => new Trainer(model, { device: 'gpu' })).to.throw(/device: expected auto, cpu/);
    expect(() => new Trainer(model, { polyak: 1 })).to.throw(/polyak: expected a number in \[0, 1\)/);
    expect(() => new Trainer(model, { weightDecay: -1 })).to.throw(/weightDecay/);
    expect(() => new Trainer(model, { precision: 'fp8' as 'fp16' })).to.throw(
      /one of auto, fp32, bf16, fp16/,
    );
    expect(() => new Trainer(model, { batchSize: 0 })).to.throw(/batchSize/);
  });
});

for (const mode of modes) {
  describe(`Trainer, ${mode}`, () => {
    const quick: TrainerOptions = { ...common, mode };
    const train = (trainer: TrainerOptions, fit: FitOptions, n?: number) =>
      trainTiny({ ...trainer, mode }, fit, n);

    let run: string;

    beforeEach(async () => {
      run = await mkdtemp(join(tmpdir(), 'depthwise-trainer-'));
    });
    afterEach(async () => {
      await rm(run, { recursive: true, force: true });
    });

    for (const device of [reference, ...networkDevices].map(({ name }) => name)) {
      it(`learns on ${device}`, async () => {
        using model = tinyClassifier({ dropout: 0 });
        using trainer = new Trainer(model, { ...quick, device });
        const validation = brightDataset(30, 2);
        const before = await trainer.evaluate(validation);
        const { epochs, steps } = await trainer.fit(brightDataset(64), { validation, epochs: 8 });
        expect(steps).to.have.length(64);
        expect(epochs.map(({ epoch }) => epoch)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
        const after = await trainer.evaluate(validation);
        const averaged = await trainer.evaluate(validation, { averaged: true });
        expect(after.loss).to.be.lessThan(before.loss / 2);
        expect(after.top1).to.be.greaterThan(0.9);
        expect(epochs.at(-1)?.validation?.loss).to.equal(after.loss);
        expect(epochs.at(-1)?.validation_average?.loss).to.equal(averaged.loss);
        expect(averaged.loss).not.to.equal(after.loss);
        expect(model.config.labels).to.deep.equal(['red', 'green', 'blue']);
      });

      it(`resumes in the middle of an epoch as if it had not stopped, on ${device}`, async () => {
        const specs: OptimizerSpec[] = [sgd(), rmsprop(), adam()];
        for (const optimizer of specs) {
          const at = (name: string) => join(run, `${device}-${optimizer.name}-${name}`);
          const options = {
            device,
            deterministic: true,
            optimizer,
            schedule: exponentialDecay({ initial: 0.01, rate: 0.5, everyEpochs: 1 }),
          };
          const validation = brightDataset(10, 2);
          await train(options, { steps: 12, validation, out: at('whole') }); // 5 steps an epoch
          await train(options, { steps: 7, validation, out: at('parts') });
          await train(options, { steps: 12, validation, out: at('parts'), resume: true });
          const [whole, parts] = [await outcome(at('whole')), await outcome(at('parts'))];
          expect(parts.lines).to.deep.equal(whole.lines);
          expect(whole.lines.filter((line) => 'step' in line)).to.have.length(12);
          expect([...parts.files.keys()].sort()).to.deep.equal([
            'average.safetensors',
            'model.safetensors',
            'optimizer.safetensors',
          ]);
          for (const [name, bytes] of whole.files) {
            expect(parts.files.get(name)?.equals(bytes), `${optimizer.name}: ${name}`).to.equal(true);
          }
        }
      });
    }

    it('depends on the seed', async () => {
      const [a, b, c] = [
        await train({ seed: 1 }, { steps: 3 }),
        await train({ seed: 1 }, { steps: 3 }),
        await train({ seed: 2 }, { steps: 3 }),
      ];
      expect(a.history.steps).to.deep.equal(b.history.steps);
      expect(a.history.steps).not.to.deep.equal(c.history.steps);
    });

    it('passes over a damaged checkpoint and says so', async () => {
      await train({}, { steps: 10, checkpointEvery: 3, keep: 5, out: run });
      const damaged = join(run, 'checkpoints', 'step-00000010', 'model.safetensors');
      const bytes = await readFile(damaged);
      bytes[bytes.length - 5]! ^= 4;
      await writeFile(damaged, bytes);
      const notices: string[] = [];
      await train({}, { steps: 11, out: run, resume: true, onNotice: (message) => notices.push(message) });
      expect(notices[0]).to.match(
        /step-00000010: model\.safetensors does not have its checksum; it is put aside/,
      );
      expect(notices[1]).to.match(/continuing after step 9$/);
      const steps = (await outcome(run)).lines.flatMap((line) => ('step' in line ? [line.step] : []));
      expect(steps).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    });

    it('refuses to resume with other settings, in one line that names them', async () => {
      await train({}, { steps: 2, out: run });
      const error = await rejection(
        train({ weightDecay: 0, batchSize: 4 }, { steps: 4, out: run, resume: true }),
      );
      expect(String(error)).to.match(
        /cannot be resumed with other settings: weightDecay was 0.0001, is 0; batchSize was 8, is 4$/,
      );
    });

    it('refuses a folder that holds a run, and to resume where there is none', async () => {
      await train({}, { steps: 1, out: run });
      const before = await outcome(run);
      expect(String(await rejection(train({}, { steps: 1, out: run })))).to.match(/holds a run already/);
      expect(await outcome(run)).to.deep.equal(before);
      const missing = join(run, 'missing');
      expect(String(await rejection(train({}, { steps: 1, out: missing, resume: true })))).to.match(
        /no run to resume/,
      );
    });

    it('leaves a finished run as it is when it is resumed to where it ended', async () => {
      await train({}, { steps: 7, out: run });
      const before = await outcome(run);
      const { history } = await train({}, { steps: 7, out: run, resume: true });
      expect(history).to.deep.equal({ steps: [], epochs: [], step: 7 });
      expect(await outcome(run)).to.deep.equal(before);
    });

    it('stops at a signal with a checkpoint and continues as if it had not', async () => {
      const whole = join(run, 'whole');
      const parts = join(run, 'parts');
      await train({}, { steps: 10, out: whole });
      const controller = new AbortController();
      const reason = new Error('enough');
      const stopped = train(
        {},
        {
          steps: 10,
          out: parts,
          signal: controller.signal,
          onStep: ({ step }) => {
            if (step === 3) controller.abort(reason);
          },
        },
      );
      expect(await rejection(stopped)).to.equal(reason);
      expect(await readdir(join(parts, 'checkpoints'))).to.have.length(1);
      await train({}, { steps: 10, out: parts, resume: true });
      expect(await outcome(parts)).to.deep.equal(await outcome(whole));
    });

    it("takes batches of one's own, and an AbortSignal while it waits for them", async () => {
      using model = tinyClassifier();
      using trainer = new Trainer(model, quick);
      const { data, labels } = brightImages(8);
      async function* own(count: number, wait?: Promise<void>): AsyncGenerator<Batch> {
        for (let i = 0; i < count; i++) yield { images: data, shape: [8, 8, 8, 3], labels };
        await wait;
      }
      const { steps } = await trainer.fit(own(4));
      expect(steps.map(({ step }) => step)).to.deep.equal([1, 2, 3, 4]);
      const never = new Promise<void>((resolve) => setTimeout(resolve, 300));
      const signal = AbortSignal.timeout(100);
      const error = await rejection(trainer.fit(own(2, never), { steps: 50, signal }));
      expect(error).to.equal(signal.reason);
      const ended = await rejection(trainer.fit(own(2), { steps: 50 }));
      expect(String(ended)).to.match(/the batches have come to an end/);
    });

    it('leaves frozen layers as they are, their running statistics too', async () => {
      using model = tinyClassifier();
      using trainer = new Trainer(model, quick);
      model.network.trainable = false;
      model.network.module('predictions').trainable = true;
      const before = await model.weights();
      await trainer.fit(brightDataset(16), { epochs: 2 });
      const after = await model.weights();
      for (const [name, { data }] of after) {
        const same = data.every((value, i) => value === before.get(name)?.data[i]);
        expect(same, name).to.equal(!name.startsWith('predictions.'));
      }
      model.network.trainable = true; // then everything
      await trainer.fit(brightDataset(16), { epochs: 1 });
      const third = await model.weights();
      for (const [name, { data }] of third) {
        expect(
          data.every((value, i) => value === after.get(name)?.data[i]),
          name,
        ).to.equal(false);
      }
      model.network.trainable = false;
      expect(String(await rejection(trainer.fit(brightDataset(16))))).to.match(
        /every layer of the model is frozen/,
      );
    });

    it('weights the loss by class, divided by the number of images', async () => {
      const { data, shape, labels } = brightImages(8);
      const dataset = arrays({ data, shape }, labels, { classes: 3 });
      const losses = async (classWeights: number[] | undefined): Promise<number> => {
        using model = tinyClassifier({ dropout: 0 });
        using trainer = new Trainer(model, {
          ...quick,
          ...(classWeights === undefined ? {} : { classWeights }),
        });
        return (await trainer.fit(dataset, { steps: 1 })).steps[0]!.loss;
      };
      const each = [await losses([1, 0, 0]), await losses([0, 1, 0]), await losses([0, 0, 1])] as const;
      expect(each[0] + each[1] + each[2]).to.be.closeTo(await losses(undefined), 1e-6);
      expect(await losses([2, 0.5, 3])).to.be.closeTo(2 * each[0] + 0.5 * each[1] + 3 * each[2], 1e-5);
      using model = tinyClassifier();
      expect(() => new Trainer(model, { classWeights: [1, 2] })).to.throw(/classWeights: expected 3 numbers/);
    });

    it('trains many labels at once with a sigmoid', async () => {
      const { data, shape, labels } = brightImages(64);
      const target = new Uint8Array(64 * 3);
      labels.forEach((label, i) => {
        target[i * 3 + label] = 1;
        target[i * 3 + ((label + 1) % 3)] = 1;
      });
      using model = tinyClassifier({ dropout: 0 });
      using trainer = new Trainer(model, { ...quick, loss: 'sigmoid', schedule: constant(0.2) });
      const dataset = arrays({ data, shape }, { data: target, shape: [64, 3] });
      const before = await trainer.evaluate(dataset);
      await trainer.fit(dataset, { epochs: 8 });
      const after = await trainer.evaluate(dataset);
      expect(after.map?.value).to.be.greaterThan(0.95);
      expect(after.loss).to.be.lessThan(before.loss);
      // Probabilities are those of the loss from now on, also in a file of the weights.
      const logits = await model.outputs({ data, shape }, { logits: true, mode });
      const probabilities = await model.outputs({ data, shape }, { mode });
      probabilities.forEach((p, i) => {
        expect(p).to.be.closeTo(1 / (1 + Math.exp(-(logits[i] as number))), 1e-6);
      });
      await model.save(join(run, 'many.safetensors'));
      expect((await readWeights(join(run, 'many.safetensors'))).activation).to.equal('sigmoid');
    });

    it('stops at a loss that is not finite and keeps the checkpoint before it', async () => {
      const schedule = constant(0.05);
      const broken = ({ step }: { step: number }) => (step < 6 ? 0.05 : 1e30);
      const fails = await rejection(
        train(
          { schedule: (at) => (at.totalSteps === 100_000 ? schedule(at) : broken(at)) },
          { steps: 30, checkpointEvery: 5, out: run },
          400,
        ),
      );
      expect(fails).to.be.instanceOf(NonFiniteLossError);
      expect((fails as Error).message).to.match(/^step \d+: /);
      expect((fails as NonFiniteLossError).step).to.be.within(7, 15);
      for (const [, { length }] of (await outcome(run)).files) expect(length).to.be.greaterThan(0);
      expect((await readdir(join(run, 'checkpoints'))).sort()[0]).to.equal('step-00000005');
    });

    it('frees everything', async () => {
      await train({}, { steps: 2 });
      const before = memory();
      await train({}, { steps: 6, validation: brightDataset(10, 2) });
      const after = memory();
      expect(after.tensors).to.equal(before.tensors);
      expect(after.bytes).to.equal(before.bytes);
    });
  });
}

for (const device of networkDevices) {
  it(`profile times every op of a step and changes no weight on ${device.name}`, async () => {
    using model = tinyClassifier();
    using trainer = new Trainer(model, { ...common, device: device.name });
    await trainer.fit(brightDataset(16), { steps: 1 });
    const before = await model.weights();
    const profile = await trainer.profile(brightDataset(16));
    const { transfer, ops, instructions } = profile;
    expect(await model.weights()).to.deep.equal(before);
    expect(transfer).to.be.greaterThan(0);
    // Which ops there are is a matter of the rewriting; these are in any step.
    expect(ops.map(({ op }) => op)).to.include.members(['conv2dWeightGrad', 'softmaxCrossEntropy', 'linear']);
    const times = ops.map(({ milliseconds }) => milliseconds);
    expect(times).to.deep.equal(times.toSorted((x, y) => y - x));
    for (const { milliseconds } of ops) expect(milliseconds).to.be.greaterThan(0);
    const program = await trainer.program(brightDataset(16));
    expect(instructions.map(({ op }) => op)).to.deep.equal(program.instructions.map(({ op }) => op.name));
    const linear = instructions.find(({ op }) => op === 'linear');
    expect(linear).to.include({ multiplyAdds: 8 * 12 * 3, bytes: 4 * (8 * 12 + 3 * 12 + 8 * 3) });
    const { traceEvents: events } = JSON.parse(traceEvents(profile));
    expect(events.length).to.equal(instructions.length);
    expect(events[1].ts).to.be.closeTo(events[0].ts + events[0].dur, 1e-6);
  });
}
