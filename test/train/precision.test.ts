// Mixed precision: a small network trained and evaluated in 16 bits, held to fp32; loss scaling from the first overflow to
// a resumed run.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { openDevice } from '../../lib/backend/devices.ts';
import { computeTypesOf } from '../../lib/backend/native.ts';
import type { Classifier } from '../../lib/classify/classifier.ts';
import { computeTypeOf } from '../../lib/classify/precision.ts';
import { ArgumentError, NonFiniteLossError, UnsupportedError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { adam, constant, sgd } from '../../lib/optim/index.ts';
import { evaluate } from '../../lib/train/evaluate.ts';
import type { StepRecord } from '../../lib/train/metrics.ts';
import type { TrainerOptions } from '../../lib/train/options.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { devices, reference } from '../support/devices.ts';
import { roundoff } from '../support/half.ts';
import { modes } from '../support/modes.ts';
import { planningBackend } from '../support/planning.ts';
import { skip } from '../support/skip.ts';
import { apart, batchOf, type Half, halves, mixedClassifier, stepOn, unfused } from './mixed.ts';
import { brightDataset, brightImages, tinyClassifier } from './tiny.ts';

describe('what precision a device computes in', () => {
  const backendOf = (computeTypes: Backend['computeTypes']) => ({ ...planningBackend(), computeTypes });

  it('is the first that it names for auto, and the one asked for otherwise', () => {
    expect(computeTypeOf('auto', backendOf(['f32']))).to.equal('f32');
    expect(computeTypeOf('auto', backendOf(['bf16', 'f32', 'f16']))).to.equal('bf16');
    expect(computeTypeOf('fp32', backendOf(['bf16', 'f32', 'f16']))).to.equal('f32');
    expect(computeTypeOf('fp16', backendOf(['f32', 'f16']))).to.equal('f16');
    expect(computeTypeOf(undefined, reference)).to.equal('f32');
  });

  it('follows from the compute capability of a GPU', () => {
    const types = (name: string, sm?: string) => computeTypesOf(name, sm === undefined ? {} : { sm });
    for (const sm of ['8.0', '8.9', '9.0', '10.0', '12.0']) {
      expect(types('cuda:0', sm), sm).to.deep.equal(['bf16', 'f32', 'f16']);
    }
    expect(types('cuda:1', '7.5')).to.deep.equal(['f32', 'f16']);
    expect(types('cudasim:2', '9.0')).to.deep.equal(['f32', 'bf16', 'f16']);
    expect(types('cpu')).to.deep.equal(['f32']);
  });

  it('is refused in one line where it is not there', () => {
    const old = backendOf(['f32', 'f16']);
    const message = 'precision: planning does not compute in bf16; expected auto, fp32 or fp16';
    expect(() => computeTypeOf('bf16', old)).to.throw(UnsupportedError, message);
    expect(() => computeTypeOf('fp16', backendOf(['f32']))).to.throw('expected auto or fp32');
    expect(() => computeTypeOf('fp8' as 'fp16', old)).to.throw(ArgumentError, 'got "fp8"');
  });

  it('is fp32 on the CPU', function () {
    const cpu = devices.find(({ name }) => name === 'cpu');
    if (cpu === undefined) skip(this, 'there is no cpu');
    expect(computeTypeOf('auto', cpu)).to.equal('f32');
    for (const half of halves)
      expect(() => computeTypeOf(half, cpu)).to.throw(UnsupportedError, 'cpu does not');
  });
});

for (const backend of [reference, ...devices.filter(({ computeTypes }) => computeTypes.includes('f16'))]) {
  describe(`mixed precision on ${backend.name}`, function () {
    this.timeout(120_000);

    for (const precision of halves) {
      it(`trains in ${precision} as in fp32, but for roundings`, async () => {
        using half = stepOn(backend, { precision });
        using full = stepOn(backend, { precision: 'fp32' });
        const losses: [number, number][] = [];
        for (let i = 0; i < 8; i += 1) {
          const batch = batchOf(16, i);
          const [a, b] = [await half.run(batch), await full.run(batch)];
          losses.push([a.loss, b.loss]);
        }
        // Of a loss some roundings are seen. A gradient changes as a whole where a rounding turns a ReLU on or off, which
        // happens to a share of them that is as small as the roundoff: the distance is of the order of its root.
        const unit = roundoff(precision === 'bf16' ? 'bf16' : 'f16');
        for (const [a, b] of losses) expect(Math.abs(a / b - 1) / unit).to.be.at.most(8);
        expect(losses.some(([a, b]) => a !== b)).to.equal(true);
        expect(losses.at(-1)![0]).to.be.lessThan(0.9 * losses[0]![0]);
        const [state, expected] = [await half.state(), await full.state()];
        for (const name of Object.keys(expected)) {
          expect(apart(state[name]!, expected[name]!), name).to.be.at.most(Math.sqrt(unit));
        }
        expect(await half.scale()).to.deep.equal(
          precision === 'fp16' ? { scale: 1024 * 2 ** Math.floor(8 / 3), skipped: 0 } : undefined,
        );
      });

      it(`gives the same bits eagerly as compiled where nothing is fused, in ${precision}`, async () => {
        const device = openDevice(backend.name, { deterministic: true });
        using eager = stepOn(device, { precision, mode: 'eager' });
        using compiled = stepOn(unfused(device), { precision });
        for (let i = 0; i < 4; i += 1) {
          expect(await eager.run(batchOf(8, i))).to.deep.equal(await compiled.run(batchOf(8, i)));
        }
        expect(await eager.state()).to.deep.equal(await compiled.state());
        expect(await eager.scale()).to.deep.equal(await compiled.scale());
      });

      it(`gives with fused ops, which do not round in between, nearly the same in ${precision}`, async () => {
        using fused = stepOn(backend, { precision });
        using plain = stepOn(unfused(backend), { precision });
        const unit = roundoff(precision === 'bf16' ? 'bf16' : 'f16');
        for (let i = 0; i < 4; i += 1) {
          const [a, b] = [await fused.run(batchOf(8, i)), await plain.run(batchOf(8, i))];
          expect(Math.abs(a.loss / b.loss - 1) / unit, `step ${i + 1}`).to.be.at.most(8);
        }
        const [a, b] = [await fused.state(), await plain.state()];
        for (const name of Object.keys(a))
          expect(apart(a[name]!, b[name]!), name).to.be.at.most(Math.sqrt(unit));
      });

      it(`sees weights that are given between steps, in ${precision}`, async () => {
        using training = stepOn(backend, { precision });
        await training.run(batchOf(8));
        const weights = await training.model.weights();
        const zeros = [...weights].map(([name, { shape, data }]) => {
          const given = name.startsWith('predictions') ? new Float32Array(data.length) : data;
          return [name, { shape, data: given }] as const;
        });
        training.model.loadWeights(new Map(zeros));
        const { logits } = await training.run(batchOf(8));
        expect([...logits].every((logit) => logit === 0)).to.equal(true);
      });

      it(`trains the rest in ${precision} where layers are frozen`, async () => {
        const freeze = (model: Classifier) => {
          for (const path of ['conv', 'bn', 'sepconv.depthwise'])
            model.network.module(path).trainable = false;
        };
        using half = stepOn(backend, { precision, prepare: freeze });
        using full = stepOn(backend, { precision: 'fp32', prepare: freeze });
        const before = await half.state();
        const unit = roundoff(precision === 'bf16' ? 'bf16' : 'f16');
        for (let i = 0; i < 3; i += 1) {
          const [a, b] = [await half.run(batchOf(16, i)), await full.run(batchOf(16, i))];
          expect(Math.abs(a.loss / b.loss - 1) / unit).to.be.at.most(8);
        }
        const after = await half.state();
        for (const name of Object.keys(before)) {
          const frozen = / (conv|bn)\.|depthwise/.test(name);
          if (frozen) expect(after[name], name).to.deep.equal(before[name]);
          else expect(after[name], name).not.to.deep.equal(before[name]);
        }
      });

      it(`takes gradients of either type, as layers read their parameters, in ${precision}`, async () => {
        using half = stepOn(backend, { precision, model: mixedClassifier() });
        using full = stepOn(backend, { precision: 'fp32', model: mixedClassifier() });
        const unit = roundoff(precision === 'bf16' ? 'bf16' : 'f16');
        for (let i = 0; i < 3; i += 1) {
          const [a, b] = [await half.run(batchOf(16, i)), await full.run(batchOf(16, i))];
          expect(Math.abs(a.loss / b.loss - 1) / unit).to.be.at.most(8);
        }
        const [state, expected] = [await half.state(), await full.state()];
        for (const name of Object.keys(expected)) {
          expect(apart(state[name]!, expected[name]!), name).to.be.at.most(Math.sqrt(unit));
        }
      });

      it(`predicts and evaluates in ${precision} near fp32, in f32 logits`, async () => {
        const model = tinyClassifier();
        const trainer = new Trainer(model, {
          ...{ device: backend.name, schedule: constant(0.05), batchSize: 16, polyak: 0.9, precision },
        });
        await trainer.fit(brightDataset(48), { epochs: 4, validation: brightDataset(24, 2) });
        const images = brightImages(12, 3);
        const input = { data: images.data, shape: images.shape };
        const logits = async (p: 'fp32' | Half, mode: (typeof modes)[number]) =>
          model.outputs(input, { logits: true, precision: p, mode });
        const full = [...(await logits('fp32', 'compiled'))];
        for (const mode of modes) {
          const half = [...(await logits(precision, mode))];
          expect(apart(half, full)).to.be.within(1e-7, precision === 'bf16' ? 0.02 : 0.0025);
        }
        const [evaluated, expected] = [precision, 'fp32' as const].map((p) =>
          evaluate(model, brightDataset(24, 2), { precision: p }),
        );
        expect((await evaluated!).loss / (await expected!).loss - 1).to.be.within(-0.01, 0.01);
        trainer.dispose();
        model.dispose();
      });
    }

    for (const mode of modes) {
      for (const spec of [sgd({ momentum: 0.9 }), adam()]) {
        it(`skips a step that overflows, wholly, and counts it: ${mode}, ${spec.name}`, async () => {
          // No gradient of this loss bears such a scale; half of it neither.
          using training = stepOn(backend, { precision: 'fp16', mode, optimizer: spec, initial: 2 ** 40 });
          const before = await training.state();
          for (const n of [1, 2]) {
            const { loss } = await training.run(batchOf(8));
            expect(loss).to.be.within(0.5, 3);
            expect(await training.scale()).to.deep.equal({ scale: 2 ** (40 - n), skipped: n });
            expect(await training.state()).to.deep.equal(before);
          }
          while ((await training.scale())!.skipped < 60) {
            const { skipped } = (await training.scale())!;
            await training.run(batchOf(8));
            if ((await training.scale())!.skipped === skipped) break;
          }
          const { skipped, scale } = (await training.scale())!;
          expect(scale).to.equal(2 ** (40 - skipped));
          expect(await training.state()).not.to.deep.equal(before);
          // The step after the skipped ones is the optimizer's first: Adam's corrections are those of step 1.
          using fresh = stepOn(backend, { precision: 'fp16', mode, optimizer: spec, initial: scale });
          await fresh.run(batchOf(8));
          const [late, first] = [await training.state(), await fresh.state()];
          for (const name of Object.keys(first)) {
            // Dropout's mask depends on the step's number, so what is compared is the size of the change.
            if (!name.endsWith('predictions.weight')) continue;
            const moved = (state: Record<string, number[]>) =>
              Math.hypot(...state[name]!.map((value, i) => value - before[name]![i]!));
            expect(moved(late) / moved(first), name).to.be.within(0.5, 2);
          }
        });
      }
    }

    it('grows the scale after good steps', async () => {
      using training = stepOn(backend, { precision: 'fp16', initial: 256, interval: 2 });
      const scales: number[] = [];
      for (let i = 0; i < 5; i += 1) {
        await training.run(batchOf(8, i));
        scales.push((await training.scale())!.scale);
      }
      expect(scales).to.deep.equal([256, 512, 512, 1024, 1024]);
    });

    it('gives everything back', async () => {
      const before = memory(backend);
      for (const precision of halves) {
        for (const mode of modes) {
          using training = stepOn(backend, { precision, mode });
          for (const n of [4, 6, 4]) await training.run(batchOf(n));
        }
      }
      const after = memory(backend);
      expect([after.tensors, after.bytes]).to.deep.equal([before.tensors, before.bytes]);
      expect(after.backend?.arena).to.equal(before.backend?.arena);
    });

    it('resumes in the middle of a scale, exactly, and only in the same precision', async () => {
      const root = await mkdtemp(join(tmpdir(), 'depthwise-precision-'));
      try {
        const options: TrainerOptions = {
          ...{ device: backend.name, deterministic: true, precision: 'fp16', optimizer: adam() },
          ...{ batchSize: 8, polyak: 0.9 },
          ...{ schedule: constant(0.01), lossScale: { initial: 2 ** 36, interval: 4 }, logEvery: 1 },
        };
        const train = async (out: string, steps: number, resume = false, more: TrainerOptions = {}) => {
          const model = tinyClassifier();
          using trainer = new Trainer(model, { ...options, ...more });
          const records: StepRecord[] = [];
          await trainer.fit(brightDataset(40), {
            ...{ steps, out, resume, onStep: (record) => records.push(record) },
          });
          const weights = await model.weights();
          model.dispose();
          return { records, weights };
        };
        const whole = await train(join(root, 'whole'), 40);
        const first = await train(join(root, 'parts'), 23);
        const second = await train(join(root, 'parts'), 40, true);
        expect([...first.records, ...second.records]).to.deep.equal(whole.records);
        expect(second.weights).to.deep.equal(whole.weights);
        const skipped = whole.records.map(({ skipped_steps }) => skipped_steps);
        expect(skipped.slice(0, 3)).to.deep.equal([1, 2, 3]);
        expect(skipped.at(-1)).to.be.within(10, 30);
        expect(new Set(second.records.map(({ loss_scale }) => loss_scale)).size).to.be.greaterThan(1);

        const lines = (await readFile(join(root, 'whole', 'metrics.jsonl'), 'utf8')).trim().split('\n');
        expect(JSON.parse(lines[0]!)).to.include.keys('step', 'loss', 'lr', 'loss_scale', 'skipped_steps');
        const config = JSON.parse(await readFile(join(root, 'whole', 'config.json'), 'utf8'));
        expect(config).to.include({ precision: 'fp16' });

        const other = await train(join(root, 'parts'), 44, true, { precision: 'fp32' }).catch(
          (e: Error) => e,
        );
        expect(other).to.have.property('code', 'CONFIG_MISMATCH');
        expect((other as Error).message).to.include('precision was "fp16", is "fp32"');
      } finally {
        await rm(root, { recursive: true, force: true });
      }
    });

    it('stops where no scale helps', async () => {
      const model = tinyClassifier();
      using trainer = new Trainer(model, {
        ...{ device: backend.name, precision: 'fp16', batchSize: 8, polyak: 0 },
        // Each overflow takes all but nothing away: the second step has no scale left.
        lossScale: { initial: 2 ** 60, backoff: 2 ** -80 },
      });
      const failure = await trainer.fit(brightDataset(40), { steps: 10 }).catch((error: Error) => error);
      expect(failure).to.be.instanceOf(NonFiniteLossError);
      expect((failure as Error).message).to.match(
        /^step 1: the gradients overflow fp16 even with a loss scale of/,
      );
      model.dispose();
    });
  });
}
