// Benchmarks: how fast a network trains and predicts, and how fast batches come. Warm-up steps are not counted.

import type { Backend } from '../backend/backend.ts';
import type { Classifier } from '../classify/classifier.ts';
import { createClassifier } from '../classify/load.ts';
import { computeTypeOf, type Precision } from '../classify/precision.ts';
import { compile } from '../core/compile.ts';
import type { ComputeType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { philox4x32Into } from '../core/philox.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, tensor, type Variable, variable } from '../core/tensor.ts';
import { arrays } from '../data/arrays.ts';
import type { Augmentation, Batch, Dataset } from '../data/batch.ts';
import { ForwardContext } from '../nn/module.ts';
import { ops } from '../ops/index.ts';
import { GradientGate } from '../optim/gradientGate.ts';
import { createOptimizer, sgd } from '../optim/optimizer.ts';
import { TrainingStep } from './step.ts';

/** `train`: whole steps; `infer`: forward passes; `load`: the input pipeline alone. */
export type BenchmarkMode = 'train' | 'infer' | 'load';

/** What to measure. */
export interface BenchmarkOptions {
  /** Name of the network: see {@link architectureNames}. */
  readonly arch: string;
  /** Options of the network itself. */
  readonly variant?: Readonly<Record<string, unknown>>;
  /** What is timed. */
  readonly mode: BenchmarkMode;
  /** Images per step. */
  readonly batch: number;
  /** Edge of the images in pixels. */
  readonly size: number;
  /** Steps that are timed. */
  readonly steps: number;
  /** Steps before them, which are not: the first one compiles. */
  readonly warmup: number;
  /** Undefined: random images in memory, with 1,000 classes. */
  readonly data?: Dataset;
  /** Random changes to images, where they are loaded. */
  readonly augment: Augmentation;
  /**
   * Random images are written to the device once, in place of at every step: the network alone, as it is where loading
   * and computing overlap. Default false.
   */
  readonly resident?: boolean;
  /** Images decoded at the same time. Default: by the number of processors. */
  readonly workers?: number;
  /** Enters weights, images and their order. */
  readonly seed: number;
  /** Default `auto`. */
  readonly precision?: Precision;
}

/** What was measured. Times are milliseconds per step. */
export interface BenchmarkResult {
  /** Images of the timed steps over their time. */
  readonly imagesPerSecond: number;
  /** Milliseconds of a step. */
  readonly stepMs: { readonly median: number; readonly min: number; readonly max: number };
  /** The most memory that was ever held: of the process, or of the GPU where that computes. */
  readonly peakBytes: number;
}

const syntheticClasses = 1000;
/** Random images are this much larger than the input, so that the pipeline has something to crop and resize. */
const syntheticScale = 1.25;

function syntheticData(size: number, n: number, seed: number): Dataset {
  const edge = Math.round(size * syntheticScale);
  const data = new Uint8Array(n * edge * edge * 3);
  const words = new Uint32Array(4);
  const bytes = new Uint8Array(words.buffer);
  for (let at = 0; at < data.length; at += bytes.length) {
    philox4x32Into(words, at, 0, 0, 0, seed, 0);
    data.set(bytes.subarray(0, Math.min(bytes.length, data.length - at)), at);
  }
  const labels = Int32Array.from({ length: n }, (_, i) => (i * 37) % syntheticClasses);
  return arrays({ data, shape: [n, edge, edge, 3] }, labels, { classes: syntheticClasses, size });
}

/** Batches without end: epoch after epoch. */
async function* endless(data: Dataset, options: BenchmarkSetup): AsyncGenerator<Batch, never> {
  const { batch, augment, workers, seed } = options;
  for (let epoch = 0; ; epoch++) {
    let any = false;
    const batches = data.batches({
      batchSize: batch,
      epoch,
      seed,
      shuffle: true,
      dropLast: true,
      augment,
      ...(workers === undefined ? {} : { workers }),
    });
    for await (const next of batches) {
      any = true;
      yield next;
    }
    if (!any) throw new ArgumentError('benchmark: the data give no batch');
  }
}

/** A network, or an input pipeline, kept ready between measurements; so that it can take turns with others. */
export interface OpenBenchmark extends AsyncDisposable {
  /** Runs steps, one after the other. @returns milliseconds of each, until its result could be read */
  run(steps: number): Promise<number[]>;
}

/** What {@link openBenchmark} needs to know. */
export type BenchmarkSetup = Omit<BenchmarkOptions, 'steps' | 'warmup'>;

/**
 * Prepares a benchmark. `train` is forward, loss, backward and SGD with momentum and weight decay, dropout 0.5; `infer` is
 * forward and softmax; `load` the input pipeline alone. The first steps also compile.
 */
export async function openBenchmark(backend: Backend, setup: BenchmarkSetup): Promise<OpenBenchmark> {
  const { arch, mode, batch, size, seed } = setup;
  const data = setup.data ?? syntheticData(size, batch, seed);
  const batches = endless(data, setup);
  // Random images are decoded once: what is measured is then the network alone.
  const first = (await batches.next()).value;
  const next = async (): Promise<Batch> =>
    setup.data === undefined && mode !== 'load' ? first : (await batches.next()).value;
  const { variant = {} } = setup;
  const create = () => createClassifier(arch, { classes: data.classes.length, dropout: 0.5, size, variant });
  const model = mode === 'load' ? undefined : create().to(backend, { seed });
  const network = mode === 'load' || model === undefined ? undefined : prepare(mode, model, setup);
  let done = 0;
  return {
    run: async (steps) => {
      const times: number[] = [];
      for (let i = 0; i < steps; i++) {
        const start = performance.now();
        const images = await next();
        done += 1;
        await network?.step(images, done);
        times.push(performance.now() - start);
      }
      return times;
    },
    [Symbol.asyncDispose]: async () => {
      network?.dispose();
      model?.dispose();
      await batches.return(undefined as never);
    },
  };
}

/** Runs one benchmark as {@link openBenchmark} describes it. */
export async function benchmark(backend: Backend, options: BenchmarkOptions): Promise<BenchmarkResult> {
  const { batch, steps, warmup } = options;
  await using open = await openBenchmark(backend, options);
  await open.run(warmup);
  const times = await open.run(steps);
  const total = times.reduce((sum, time) => sum + time, 0);
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return {
    imagesPerSecond: (1000 * batch * steps) / total,
    stepMs: {
      median: ((sorted[Math.ceil(middle) - 1] as number) + (sorted[Math.floor(middle)] as number)) / 2,
      min: sorted[0] as number,
      max: sorted.at(-1) as number,
    },
    peakBytes: backend.name.startsWith('cuda')
      ? backend.memory().peak
      : process.resourceUsage().maxRSS * 1024,
  };
}

function prepare(
  mode: 'train' | 'infer',
  model: Classifier,
  { seed, precision, data, resident = false }: BenchmarkSetup,
): { step: (images: Batch, step: number) => Promise<void>; dispose: () => void } {
  const computeType = computeTypeOf(precision, model.backend);
  // What changes from step to step cannot stay.
  const stays = resident && data === undefined;
  return mode === 'infer'
    ? prepareInference(model, computeType, stays)
    : prepareTraining(model, seed, computeType, stays);
}

function prepareInference(model: Classifier, computeType: ComputeType, resident: boolean) {
  const predict = compile((images: Tensor) =>
    ops.softmax(model.logits(images, new ForwardContext({ computeType }))),
  );
  const { backend } = model;
  let kept: Variable | undefined;
  return {
    step: async ({ images, shape }: Batch) => {
      if (resident) kept ??= variable(images, shape, { backend });
      const probabilities = scope(() => predict(kept ?? tensor(images, shape, { backend })));
      try {
        await probabilities.data();
      } finally {
        probabilities.dispose();
      }
    },
    dispose: () => {
      predict.dispose();
      kept?.dispose();
    },
  };
}

function prepareTraining(model: Classifier, seed: number, computeType: ComputeType, resident: boolean) {
  const optimizer = createOptimizer(sgd({ momentum: 0.9 }), model.network.trainableParameters(), {
    weightDecay: 1e-5,
  });
  const gate = new GradientGate(model.backend, computeType === 'f16' ? { lossScale: {} } : {});
  const training = new TrainingStep({
    model,
    computeType,
    gate,
    optimizer,
    polyak: undefined,
    loss: 'softmax',
    labelSmoothing: 0,
    classWeights: undefined,
    mode: 'compiled',
    seed,
  });
  return {
    step: async (images: Batch, step: number) => {
      const numbers = { step, lr: 1e-3, polyakDecay: 0 };
      const { loss, logits, norm } =
        resident && step > 1 ? training.repeat(numbers) : training.run(images, numbers);
      try {
        await loss.item();
      } finally {
        loss.dispose();
        logits.dispose();
        norm?.dispose();
      }
    },
    dispose: () => {
      training[Symbol.dispose]();
      optimizer.dispose();
      gate.dispose();
    },
  };
}
