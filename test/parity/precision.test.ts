// Whole networks in each precision: fp32 held to Keras, 16 bits to PyTorch's own distance from fp32, graphs to single
// launches. On a GPU, where there is one; of it all the simulation takes one forward pass of Xception at its smallest. Small
// networks are in test/train/precision.test.ts.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { openCuda } from '../../lib/backend/cuda/open.ts';
import { openDevice } from '../../lib/backend/devices.ts';
import { createClassifier } from '../../lib/classify/load.ts';
import { computeTypeOf, type Precision } from '../../lib/classify/precision.ts';
import { LoadError } from '../../lib/core/errors.ts';
import type { Batch } from '../../lib/data/batch.ts';
import { createOptimizer, GradientGate, PolyakAverage, sgd } from '../../lib/optim/index.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import { devices, isRequired } from '../support/devices.ts';
import {
  forwardFixture,
  photographs,
  readJson,
  recordedXception,
  trainingFixture,
} from '../support/fixtures.ts';
import { skip } from '../support/skip.ts';

/** Over the largest |expected|: the largest distance, and the root of the mean square. */
function errors(got: Float32Array, expected: Float32Array): { largest: number; rms: number } {
  const scale = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const apart = Array.from(got, (v, i) => Math.abs(v - (expected[i] as number)) / scale);
  return {
    largest: Math.max(...apart),
    rms: Math.sqrt(apart.reduce((sum, v) => sum + v * v, 0) / apart.length),
  };
}

/** PyTorch's own, of its fp32 under autocast. */
interface RecordedErrors {
  readonly size: number;
  readonly bf16?: ReturnType<typeof errors>;
  readonly fp16?: ReturnType<typeof errors>;
}

/** A training of the fixtures' Xception at 96 pixels on the photographs. */
function training(backend: Backend, precision: Precision, momentum = 0.9) {
  const { batch } = trainingFixture();
  const { images, labels } = photographs();
  const model = createClassifier('xception', { classes: 10, dropout: 0, size: 96 });
  model.loadWeights(recordedXception({ gain: 1 }));
  const parameters = model.to(backend).network.trainableParameters();
  const optimizer = createOptimizer(sgd({ momentum }), parameters);
  const polyak = new PolyakAverage(parameters);
  const computeType = computeTypeOf(precision, backend);
  const gate = new GradientGate(backend, computeType === 'f16' ? { lossScale: {} } : {});
  const step = new TrainingStep({
    ...{ model, optimizer, polyak, gate, computeType, mode: 'compiled', loss: 'softmax', seed: 1 },
    ...{ labelSmoothing: 0, classWeights: undefined },
  });
  const stride = images.data.length / labels.data.length;
  const perEpoch = Math.floor(labels.data.length / batch);
  const batchOf = (n: number): Batch => {
    const at = (n % perEpoch) * batch;
    return {
      images: images.data.slice(at * stride, (at + batch) * stride),
      labels: labels.data.slice(at, at + batch),
      shape: [batch, 96, 96, 3],
    };
  };
  return {
    /** Losses of ten steps, each before its update. */
    run(lr: number): number[] {
      return Array.from({ length: 10 }, (_, n) => {
        const { loss, logits, norm } = step.run(batchOf(n), { step: n + 1, lr, polyakDecay: 0.9 });
        const [value] = loss.dataSync();
        loss.dispose();
        logits.dispose();
        norm?.dispose();
        return value as number;
      });
    },
    async state(): Promise<Map<string, Float32Array>> {
      const found = new Map<string, Float32Array>();
      for (const [name, variable] of [...model.network.state(), ...optimizer.state()]) {
        found.set(name, (await variable.data()) as Float32Array);
      }
      return found;
    },
    [Symbol.dispose]() {
      for (const owner of [step, polyak, optimizer, gate, model]) owner[Symbol.dispose]();
    },
  };
}

/** Logits of the fixtures' Xception, [8, 10]. */
async function logitsOf(
  backend: Backend,
  precision: Precision,
  size: number,
  images: Float32Array,
): Promise<Float32Array> {
  const model = createClassifier('xception', { classes: 10, dropout: 0 });
  model.loadWeights(recordedXception({ gain: 40 }));
  model.to(backend);
  const shape = [images.length / (size * size * 3), size, size, 3];
  const logits = await model.outputs({ data: images, shape }, { logits: true, precision });
  model.dispose();
  return logits;
}

/** Expects 16 bits to be as near to fp32 as PyTorch's are, on the recorded sizes up to `largestSize`. */
async function compareWithPyTorch(
  backend: Backend,
  precision: 'bf16' | 'fp16',
  largestSize = 299,
): Promise<void> {
  const { sizes: recorded } = readJson<{ sizes: RecordedErrors[] }>('xception/half.json');
  const cases = forwardFixture();
  const ours: ReturnType<typeof errors>[] = [];
  const theirs: ReturnType<typeof errors>[] = [];
  for (const { size, [precision]: yardstick } of recorded) {
    if (yardstick === undefined || size > largestSize) continue;
    const images = cases.find((it) => it.size === size)!.images();
    const full = await logitsOf(backend, 'fp32', size, images);
    ours.push(errors(await logitsOf(backend, precision, size, images), full));
    theirs.push(yardstick);
  }
  if (process.env.PARITY_FIGURES !== undefined) console.log(backend.name, precision, { ours, theirs });
  const rms = (found: typeof ours) =>
    Math.sqrt(found.reduce((sum, it) => sum + it.rms ** 2, 0) / found.length);
  const largest = (found: typeof ours) => Math.max(...found.map((it) => it.largest));
  expect(rms(ours), 'something is rounded').to.be.greaterThan(1e-5);
  expect(rms(ours), 'root of the mean square').to.be.at.most(rms(theirs));
  // Which of eighty logits is the furthest, and how far, is luck on both sides.
  expect(largest(ours), 'largest').to.be.at.most(1.5 * largest(theirs));
}

describe('precision of Xception on the simulation of CUDA, at 71 pixels', function () {
  this.timeout(600_000);
  const simulation = devices.find(({ name }) => name.startsWith('cudasim'));

  for (const precision of ['bf16', 'fp16'] as const) {
    it(`is no further from fp32 in ${precision} than PyTorch is`, async function () {
      if (simulation === undefined) skip(this, 'there is no cudasim');
      await compareWithPyTorch(simulation, precision, 71);
    });
  }
});

describe('precision of whole networks on a GPU', function () {
  this.timeout(600_000);
  let backend: Backend;

  before(function () {
    try {
      backend = openDevice('cuda');
    } catch (error) {
      if (!(error instanceof LoadError) || isRequired('cuda')) throw error;
      skip(this, error.message.split('\n')[0] as string);
    }
  });

  it("gives Keras' logits in fp32, within 1e-3 of the largest", async () => {
    for (const { size, images, logits } of forwardFixture()) {
      const { largest } = errors(await logitsOf(backend, 'fp32', size, images()), logits);
      expect(largest, `at ${size}`).to.be.at.most(1e-3);
    }
  });

  for (const precision of ['bf16', 'fp16'] as const) {
    it(`is no further from fp32 in ${precision} than PyTorch is`, () =>
      compareWithPyTorch(backend, precision));
  }

  it("gives Keras' ten losses in fp32", () => {
    const run = trainingFixture().runs.find(({ rule, momentum }) => rule === 'sgd' && momentum > 0);
    using trained = training(backend, 'fp32', run!.momentum);
    trained.run(run!.lr).forEach((loss, i) => {
      expect(Math.abs(loss / run!.losses[i]! - 1), `loss ${i + 1}`).to.be.at.most(2e-3);
    });
  });

  for (const precision of ['fp32', 'bf16', 'fp16'] as const) {
    it(`gives in graphs the bits of single launches, in ${precision}`, async () => {
      const found: { losses: number[]; state: Map<string, Float32Array> }[] = [];
      const before = process.env.DEPTHWISE_CUDA_GRAPHS;
      for (const graphs of ['on', 'off']) {
        process.env.DEPTHWISE_CUDA_GRAPHS = graphs;
        const device = openCuda({ deterministic: true });
        try {
          using trained = training(device, precision);
          const losses = trained.run(0.01);
          found.push({ losses, state: await trained.state() });
        } finally {
          device.dispose();
          if (before === undefined) delete process.env.DEPTHWISE_CUDA_GRAPHS;
          else process.env.DEPTHWISE_CUDA_GRAPHS = before;
        }
      }
      const [on, off] = found;
      expect(on!.losses).to.deep.equal(off!.losses);
      expect(on!.losses.every(Number.isFinite)).to.equal(true);
      expect(on!.state).to.deep.equal(off!.state);
    });
  }
});
