// Steps of small networks in any precision, for the tests of mixed precision.

import type { Backend } from '../../lib/backend/backend.ts';
import { Classifier } from '../../lib/classify/classifier.ts';
import { computeTypeOf } from '../../lib/classify/precision.ts';
import type { Tensor } from '../../lib/core/tensor.ts';
import type { Batch } from '../../lib/data/batch.ts';
import { ones } from '../../lib/nn/initializers.ts';
import { Conv2d, globalAvgPool, Linear, relu, Sequential } from '../../lib/nn/layers.ts';
import { Module, Parameter } from '../../lib/nn/module.ts';
import { ops } from '../../lib/ops/index.ts';
import {
  createOptimizer,
  GradientGate,
  type OptimizerSpec,
  PolyakAverage,
  sgd,
} from '../../lib/optim/index.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import { brightImages, tinyClassifier } from './tiny.ts';

export type Half = 'bf16' | 'fp16';
export const halves: readonly Half[] = ['bf16', 'fp16'];

export const batchOf = (n: number, seed = 1): Batch => {
  const { data, labels } = brightImages(n, seed);
  return { images: data, shape: [n, 8, 8, 3], labels };
};

/** A layer that reads a parameter as it is, although it decays as kernels do. */
class PerChannel extends Module {
  readonly weight: Parameter;

  constructor(channels: number) {
    super();
    this.weight = new Parameter([channels], ones, { decay: true });
  }

  override ownParameters() {
    return { weight: this.weight };
  }

  forward(x: Tensor): Tensor {
    return ops.channelMultiply(x, this.weight);
  }
}

/** Kernels in 16 bits and a parameter in f32 between them in memory; a convolution with a bias. */
export const mixedClassifier = (): Classifier =>
  new Classifier(
    new Sequential(
      ['first', new Conv2d(3, 6, { kernel: 3, stride: 2, bias: true })],
      ['between', new PerChannel(6)],
      relu(),
      ['second', new Conv2d(6, 8, { kernel: 1 })],
      globalAvgPool(),
      ['hidden', new Linear(8, 10)],
      ['predictions', new Linear(10, 3)],
    ),
    { arch: 'mixed', classes: 3, size: 8, preprocessing: 'keras', options: {} },
  );

/** What a training on a backend changes, by name. */
export function stepOn(
  backend: Backend,
  options: {
    precision: 'fp32' | Half;
    mode?: 'compiled' | 'eager';
    optimizer?: OptimizerSpec;
    initial?: number;
    interval?: number;
    prepare?: (model: Classifier) => void;
    model?: Classifier;
  },
) {
  const { precision, mode = 'compiled', optimizer: spec = sgd(), initial = 1024, interval = 3 } = options;
  const model = (options.model ?? tinyClassifier()).to(backend);
  options.prepare?.(model);
  const parameters = model.network.trainableParameters();
  const optimizer = createOptimizer(spec, parameters, { weightDecay: 1e-3 });
  const polyak = new PolyakAverage(parameters);
  const gate = new GradientGate(backend, precision === 'fp16' ? { lossScale: { initial, interval } } : {});
  const parts = { model, optimizer, polyak, gate, mode };
  const computeType = computeTypeOf(precision, backend);
  const step = new TrainingStep({
    ...{ ...parts, computeType, loss: 'softmax', seed: 1 },
    ...{ labelSmoothing: 0, classWeights: undefined },
  });
  let n = 0;
  return {
    model,
    step,
    async run(batch: Batch): Promise<{ loss: number; logits: Float32Array }> {
      n += 1;
      const { loss, logits, norm } = step.run(batch, { step: n, lr: 0.05, polyakDecay: 0.9 });
      const found = { loss: await loss.item(), logits: (await logits.data()) as Float32Array };
      loss.dispose();
      logits.dispose();
      norm?.dispose();
      return found;
    },
    /** Everything that a step changes, apart from the scale. */
    async state(): Promise<Record<string, number[]>> {
      const all = [...model.network.state(), ...optimizer.state(), ...polyak.averages];
      const found: Record<string, number[]> = {};
      for (const [i, [name, variable]] of all.entries()) found[`${i} ${name}`] = [...(await variable.data())];
      return found;
    },
    scale: async () => await gate.scaler?.read(),
    [Symbol.dispose]() {
      for (const owner of [step, polyak, optimizer, gate, model]) owner[Symbol.dispose]();
    },
  };
}

/** The backend without fused ops: what is compiled then is what was traced. */
export const unfused = (backend: Backend): Backend =>
  new Proxy(backend, {
    get(target, name) {
      if (name === 'supports') return () => ({ supported: false, reason: 'asked not to' });
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

/** The distance of two vectors as a part of the second. */
export function apart(a: readonly number[], b: readonly number[]): number {
  const norm = (x: readonly number[]) => Math.hypot(...x);
  return norm(a.map((value, i) => value - b[i]!)) / Math.max(norm(b), 1e-6);
}
