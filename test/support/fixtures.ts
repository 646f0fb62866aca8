// Typed loaders of test/fixtures: what Keras and PyTorch answered, recorded by scripts/record (see its
// README.md).
import { existsSync, readFileSync } from 'node:fs';
import { architecture } from '../../lib/models/registry.ts';
import {
  type Generated,
  generate,
  networkWeights,
  sketch,
  smoothImages,
  xceptionShapes,
} from './generator.ts';

const ROOT = new URL('../fixtures/', import.meta.url);

/** An .npy array; `data` is row-major. */
export interface NpyArray<T extends Float32Array | Int32Array | Uint8Array> {
  readonly shape: readonly number[];
  readonly data: T;
}

// Only what the recording scripts write: version 1, little-endian, C order.
function readNpy<T extends Float32Array | Int32Array | Uint8Array>(
  name: string,
  descr: string,
  Type: new (buffer: ArrayBuffer) => T,
): NpyArray<T> {
  const file = readFileSync(new URL(name, ROOT));
  const start = 10 + file.readUInt16LE(8);
  const header = file.toString('latin1', 10, start);
  if (!header.includes(`'descr': '${descr}'`) || !header.includes("'fortran_order': False")) {
    throw new Error(`${name}: expected ${descr} in C order, the header says ${header}`);
  }
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? '').split(',').filter((d) => d.trim() !== '');
  // A copy, because a view of four bytes an element needs an offset that is a multiple of four.
  return { shape: shape.map(Number), data: new Type(Uint8Array.from(file.subarray(start)).buffer) };
}

/** A recorded JSON file by its name under test/fixtures. */
export function readJson<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, ROOT), 'utf8')) as T;
}

const float32 = (rows: readonly (readonly number[])[]): Float32Array => Float32Array.from(rows.flat());

/** Norm-wise relative error |got - expected| / |expected|, summed in float64. */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (got.length !== expected.length) throw new Error(`${got.length} values, expected ${expected.length}`);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < got.length; i++) {
    difference += (got[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** The factor that brings `expected` nearest to `got`. */
function scaleOf(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let product = 0;
  let norm = 0;
  for (let i = 0; i < got.length; i++) {
    product += got[i]! * expected[i]!;
    norm += expected[i]! ** 2;
  }
  return product / norm;
}

// ---- the networks of the fixtures ----

/** A network that was recorded, with ten classes: its weights by name and shape, and where its fixtures are. */
interface RecordedNetwork {
  /** Ours that computes the same. */
  readonly arch: 'xception' | 'inception_v3';
  readonly options: {
    readonly variant: Readonly<Record<string, unknown>>;
    readonly batchNormMomentum: number;
  };
  readonly shapes: () => ReadonlyMap<string, readonly number[]>;
  readonly folder: string;
  readonly trainingFolder: string;
  /** Where its running statistics are. */
  readonly statisticsFolder: string;
}

/** Names and shapes of our network, in order. */
const shapesOf = ({ arch, options }: Pick<RecordedNetwork, 'arch' | 'options'>) => {
  const network = architecture(arch).build({ classes: 10, ...options });
  return new Map([...network.state()].map(([name, { shape }]) => [name, shape]));
};

const keras = { variant: {}, batchNormMomentum: 0.99 };
const timm = {
  variant: { samePadding: 'symmetric', epsilon: 1e-5, unbiasedVariance: true },
  batchNormMomentum: 0.9,
};
const torchvision = {
  variant: { scale: true, countPadding: true, unbiasedVariance: true },
  batchNormMomentum: 0.9,
};

const networks = {
  xception: {
    arch: 'xception',
    options: keras,
    shapes: () => xceptionShapes(10),
    folder: 'xception',
    trainingFolder: 'training',
    statisticsFolder: 'xception',
  },
  inception_v3: {
    arch: 'inception_v3',
    options: keras,
    // The recording made its own table and held it against Keras: with other shapes the values would differ.
    shapes: () => shapesOf({ arch: 'inception_v3', options: keras }),
    folder: 'inception',
    trainingFolder: 'inception',
    statisticsFolder: 'inception',
  },
  timm: {
    arch: 'xception',
    options: timm,
    shapes: () => xceptionShapes(10),
    folder: 'timm',
    trainingFolder: 'timm',
    statisticsFolder: 'timm',
  },
  torchvision: {
    arch: 'inception_v3',
    options: torchvision,
    shapes: () => shapesOf({ arch: 'inception_v3', options: torchvision }),
    folder: 'torchvision',
    trainingFolder: 'torchvision',
    statisticsFolder: 'inception',
  },
} as const satisfies Record<string, RecordedNetwork>;

/** Networks with fixtures. */
export type RecordedName = keyof typeof networks;

/** Our network that computes as a recorded one: its name, and options of createClassifier. */
export const recordedOptions = (name: RecordedName): Pick<RecordedNetwork, 'arch' | 'options'> =>
  networks[name];

/**
 * Folders of recordings that a bundle leaves out to stay small (scripts/bundle.sh lists them in this file). In a
 * checkout, where tests are TypeScript, none may be missing.
 */
const leftOutFile = new URL('left-out.txt', ROOT);
const leftOut = new Set(
  import.meta.url.endsWith('.js') && existsSync(leftOutFile)
    ? readFileSync(leftOutFile, 'utf8').split(/\s+/)
    : [],
);

/** Whether a network's recordings are here. Prints which are left out; their tests are skipped. */
export function isRecorded(name: RecordedName): boolean {
  const { folder } = networks[name];
  if (!leftOut.has(folder)) return true;
  process.stderr.write(`tests skipped: the recordings of ${name} are left out of this bundle\n`);
  return false;
}

/** Splits one flat array of running statistics, as the fixtures keep them, by name. */
function splitStatistics(network: RecordedName, flat: Float32Array): Map<string, Float32Array> {
  const split = new Map<string, Float32Array>();
  let at = 0;
  for (const [name, [length = 0]] of networks[network].shapes()) {
    if (!/\.running_(mean|var)$/.test(name)) continue;
    split.set(name, flat.subarray(at, at + length));
    at += length;
  }
  return split;
}

const statisticsOf = (network: RecordedName): Map<string, Float32Array> => {
  const { statisticsFolder } = networks[network];
  return splitStatistics(network, readNpy(`${statisticsFolder}/statistics.npy`, '<f4', Float32Array).data);
};

/**
 * The fixtures' network, 10 classes: generated weights with running statistics that were taken from a
 * training-mode pass over the smooth images and perturbed. `gain` multiplies the classifier's kernel: 40 in
 * the forward fixture, 1 in the training fixture.
 */
export function recordedWeights(
  network: RecordedName,
  { gain }: { readonly gain: number },
): Map<string, Generated> {
  const weights = networkWeights(networks[network].shapes(), { gain });
  for (const [name, data] of statisticsOf(network)) weights.set(name, { shape: [data.length], data });
  return weights;
}

/** {@link recordedWeights} of Xception. */
export const recordedXception = (options: { readonly gain: number }): Map<string, Generated> =>
  recordedWeights('xception', options);

// ---- forward ----

/** Largest change of a probability, and of a logit relative to the largest |logit|. */
export interface Change {
  readonly probability: number;
  readonly logit: number;
}

/** Mistakes a forward test must be able to see; what each changes in Keras was recorded, of those that a network can have. */
export type Mistake =
  | 'swapped_channels'
  | 'flipped_depthwise'
  | 'flipped_kernels'
  | 'counted_padding'
  | 'uncounted_padding'
  | 'tensorflow_padding'
  | 'transform_input'
  | 'epsilon_1e-3'
  | 'epsilon_1e-5';

/** A peer's outputs for smooth images of one size. */
export interface ForwardCase {
  /** Pixels. */
  readonly size: number;
  /** The network: Inception V3 has running statistics of its own for each size. Made on each call. */
  weights(): Map<string, Generated>;
  /** float32 [n, size, size, 3], n = 8 but for large images of PyTorch's networks, 2; made on each call. */
  images(): Float32Array;
  /** float32 [n, 10] of one batch. */
  readonly logits: Float32Array;
  /** float32 [n, 10]. */
  readonly probabilities: Float32Array;
  /** The outputs of the first image as a batch of 1: float32 [10] each. */
  readonly single: { readonly logits: Float32Array; readonly probabilities: Float32Array };
  /** Largest difference of a class's probability between two images. */
  readonly spread: number;
  /** Keras in float32 against Keras in float64. */
  readonly float32Error: Change;
  readonly mistakes: Readonly<Partial<Record<Mistake, Change>>>;
}

/** The sizes that Inception V3 has running statistics for, in the order of their file. */
const statisticsSizes = [299, 150, 96, 75];

/** Forward parity: the peer's outputs at sizes 299, 150, 96 and the smallest. */
export function forwardFixture(network: RecordedName = 'xception'): readonly ForwardCase[] {
  interface Recorded {
    size: number;
    spread: number;
    float32_error: Change;
    logits: number[][];
    probabilities: number[][];
    single: { logits: number[]; probabilities: number[] };
    mistakes: Partial<Record<Mistake, Change>>;
  }
  const file = readJson<{ seed: number; gain: number; sizes: Recorded[] }>(
    `${networks[network].folder}/forward.json`,
  );
  const own =
    networks[network].statisticsFolder === 'inception'
      ? readNpy('inception/forward_statistics.npy', '<f4', Float32Array)
      : undefined;
  let made: Map<string, Generated> | undefined;
  const weightsOf = (size: number) => {
    made ??= recordedWeights(network, { gain: file.gain });
    const weights = new Map(made);
    const length = own?.shape[1] ?? 0;
    const i = statisticsSizes.indexOf(size);
    const rows = own?.data.subarray(i * length, (i + 1) * length);
    if (rows === undefined) return weights;
    for (const [name, data] of splitStatistics(network, rows))
      weights.set(name, { shape: [data.length], data });
    return weights;
  };
  return file.sizes.map((r) => ({
    size: r.size,
    weights: () => weightsOf(r.size),
    images: () => smoothImages(r.logits.length, r.size, file.seed),
    logits: float32(r.logits),
    probabilities: float32(r.probabilities),
    single: { logits: float32([r.single.logits]), probabilities: float32([r.single.probabilities]) },
    spread: r.spread,
    float32Error: r.float32_error,
    mistakes: r.mistakes,
  }));
}

// ---- training ----

/** 40 photographs, uint8 [40, 96, 96, 3], and their labels, int32 [40], of ten classes. */
export function photographs(): {
  readonly images: NpyArray<Uint8Array>;
  readonly labels: NpyArray<Int32Array>;
} {
  return {
    images: readNpy('photographs/images.npy', '|u1', Uint8Array),
    labels: readNpy('photographs/labels.npy', '<i4', Int32Array),
  };
}

/** Where photographs() lie, for a command's `--arrays`. */
export const PHOTOGRAPH_FILES = {
  images: new URL('photographs/images.npy', ROOT).pathname,
  labels: new URL('photographs/labels.npy', ROOT).pathname,
} as const;

/** One parameter's gradient against the recorded ones; all norm-wise relative errors. */
export interface GradientErrors {
  /** Against Keras in float32. */
  readonly toKeras: number;
  /** Against Keras in float64. */
  readonly toFloat64: number;
  /**
   * How often Keras' gradient (float32) is in this one: their scalar product over the square of its norm, 1 where they
   * agree. Rounding turns a gradient more than it stretches it, so a wrong factor shows here first.
   */
  readonly scale: number;
  /** Keras in float32 against Keras in float64. */
  readonly kerasToFloat64: number;
  /**
   * The largest of `kerasToFloat64` over images moved by at most an ulp. One ReLU whose input lies within
   * rounding of zero changes a gradient by a few thousandths, so a single run of Keras may be lucky; this is
   * what it owes to luck.
   */
  readonly kerasToFloat64Ulp: number;
}

/** Ten losses, each before its update. */
export interface TrainingRun {
  readonly rule: 'sgd' | 'rmsprop';
  readonly lr: number;
  readonly momentum: number;
  /** RMSprop only. */
  readonly rho?: number;
  /** RMSprop only; inside the root. */
  readonly epsilon?: number;
  /** RMSprop only: epsilon outside the root, as PyTorch. */
  readonly outside?: boolean;
  /** Keras in float32. */
  readonly losses: readonly number[];
  readonly losses_float64: readonly number[];
  /** The largest relative change of a loss by what a wrong rule of updates would do, of PyTorch's networks. */
  readonly mistakes?: Readonly<Record<string, number>>;
}

/**
 * The gradients of one batch: the network is `recordedWeights(network, { gain: 1 })` in training mode, without
 * dropout.
 */
export interface GradientCase {
  /**
   * `batch`: 8 photographs of 96 pixels. `pair`: 2 of 71, chosen so that rounding moves the gradients least.
   */
  readonly name: 'batch' | 'pair';
  /** uint8 [count, size, size, 3]. */
  readonly pixels: NpyArray<Uint8Array>;
  /** float32 [count, size, size, 3], x / 127.5 - 1. */
  readonly images: Float32Array;
  /** int32 [count]. */
  readonly labels: Int32Array;
  /** The mean softmax cross-entropy (Keras, float32). */
  readonly loss: number;
  /** The norm of all gradients together (float64). */
  readonly gradientNorm: number;
  /** Every trainable parameter with its shape. */
  readonly parameters: ReadonlyMap<string, readonly number[]>;
  /**
   * Compares a gradient in our layout. Those of more than 2,048 values are compared by sketches, which tell
   * the norm of a difference within 2.2 % (one standard deviation). Throws on an unknown name or size.
   */
  compare(name: string, gradient: ArrayLike<number>): GradientErrors;
}

/**
 * Training parity: the network is `recordedWeights(network, { gain: 1 })`, without dropout; the data are
 * photographs() in order, 8 a batch, starting over after the fifth, as x / 127.5 - 1; the loss is the mean
 * softmax cross-entropy.
 */
export interface TrainingFixture {
  readonly batch: number;
  readonly steps: number;
  readonly runs: readonly TrainingRun[];
  readonly gradients: readonly GradientCase[];
  /** Running statistics before the first step. */
  readonly statisticsBefore: ReadonlyMap<string, Float32Array>;
  /**
   * After the first step of 8 photographs (Keras, float32): 0.99 of those before and 0.01 of the batch's,
   * variance biased.
   */
  readonly statisticsAfter: ReadonlyMap<string, Float32Array>;
}

interface RecordedGradients {
  name: 'batch' | 'pair';
  first: number;
  count: number;
  size: number;
  loss: number;
  gradient_norm: number;
  parameters: {
    name: string;
    shape: number[];
    offset: number;
    length: number;
    float32_error: number;
    float32_error_ulp: number;
  }[];
}

export function trainingFixture(network: RecordedName = 'xception'): TrainingFixture {
  const folder = networks[network].trainingFolder;
  const file = readJson<{
    batch: number;
    steps: number;
    buckets: number;
    runs: TrainingRun[];
    gradients: RecordedGradients[];
  }>(`${folder}/training.json`);
  return {
    batch: file.batch,
    steps: file.steps,
    runs: file.runs,
    gradients: file.gradients.map((recorded) => gradientCase(folder, recorded, file.buckets)),
    statisticsBefore: statisticsOf(network),
    statisticsAfter: splitStatistics(
      network,
      readNpy(`${folder}/statistics_after.npy`, '<f4', Float32Array).data,
    ),
  };
}

function gradientCase(folder: string, recorded: RecordedGradients, buckets: number): GradientCase {
  const { name: caseName, first, count, size } = recorded;
  const keras = readNpy(`${folder}/gradients_${caseName}_float32.npy`, '<f4', Float32Array).data;
  const exact = readNpy(`${folder}/gradients_${caseName}_float64.npy`, '<f4', Float32Array).data;
  const entries = new Map(recorded.parameters.map((entry) => [entry.name, entry]));
  const { images, labels } = photographs();
  const pixels = crop(images, first, count, size);
  return {
    name: caseName,
    pixels,
    images: normalized(pixels.data),
    labels: labels.data.slice(first, first + count),
    loss: recorded.loss,
    gradientNorm: recorded.gradient_norm,
    parameters: new Map(recorded.parameters.map((entry) => [entry.name, entry.shape])),
    compare(name, gradient) {
      const entry = entries.get(name);
      if (entry === undefined) throw new Error(`no gradient of ${name} was recorded`);
      const length = entry.shape.reduce((product, d) => product * d, 1);
      if (gradient.length !== length)
        throw new Error(`${name}: ${gradient.length} values, expected ${length}`);
      const kept = entry.length === length ? gradient : sketch(name, gradient, buckets);
      const at = (flat: Float32Array) => flat.subarray(entry.offset, entry.offset + entry.length);
      return {
        toKeras: relativeError(kept, at(keras)),
        toFloat64: relativeError(kept, at(exact)),
        scale: scaleOf(kept, at(keras)),
        kerasToFloat64: entry.float32_error,
        kerasToFloat64Ulp: entry.float32_error_ulp,
      };
    },
  };
}

/** The middle `size` pixels of each side of photographs [first, first + count). */
function crop(
  images: NpyArray<Uint8Array>,
  first: number,
  count: number,
  size: number,
): NpyArray<Uint8Array> {
  const side = images.shape[1]!;
  const at = Math.floor((side - size) / 2);
  const rows: Uint8Array[] = [];
  for (let image = first; image < first + count; image++) {
    for (let y = at; y < at + size; y++) {
      const start = ((image * side + y) * side + at) * 3;
      rows.push(images.data.subarray(start, start + size * 3));
    }
  }
  return { shape: [count, size, size, 3], data: Uint8Array.from(Buffer.concat(rows)) };
}

/**
 * Pixels by Keras' rule for Xception, x / 127.5 - 1, each operation rounded to float32 as in the recording.
 */
export function normalized(pixels: Uint8Array): Float32Array {
  return Float32Array.from(pixels, (v) => Math.fround(v / 127.5) - 1);
}

// ---- update rules ----

interface UpdateHyperparameters {
  /** Whose rule: RMSprop's epsilon is inside the root in Keras and outside in PyTorch, and so on. */
  readonly framework: 'keras' | 'pytorch';
  readonly lr: number;
  /** L2: `l2` times the weight (before the update) is added to the gradient. */
  readonly l2: number;
}

export type UpdateRule =
  | { readonly rule: 'sgd'; readonly momentum: number; readonly nesterov: boolean }
  | { readonly rule: 'rmsprop'; readonly rho: number; readonly momentum: number; readonly epsilon: number }
  | { readonly rule: 'adam'; readonly beta1: number; readonly beta2: number; readonly epsilon: number };

/** Ten updates of three small tensors by one optimizer. */
export type UpdateCase = UpdateHyperparameters &
  UpdateRule & { readonly expected: ReadonlyMap<string, Float32Array> };

export interface UpdatesFixture {
  readonly steps: number;
  /** Initial weights by tensor name. */
  readonly initial: ReadonlyMap<string, Generated>;
  /** Gradients by tensor name, without L2; steps count from 1. */
  gradients(step: number): Map<string, Float32Array>;
  readonly cases: readonly UpdateCase[];
}

export function updatesFixture(): UpdatesFixture {
  interface RecordedTensor {
    name: string;
    shape: number[];
    scale: number;
  }
  type RecordedCase = UpdateHyperparameters & UpdateRule & { weights: Record<string, number[]> };
  const file = readJson<{ seed: number; steps: number; tensors: RecordedTensor[]; cases: RecordedCase[] }>(
    'updates.json',
  );
  return {
    steps: file.steps,
    initial: new Map(
      file.tensors.map(({ name, shape }) => [
        name,
        { shape, data: generate(`weight/${name}`, shape, file.seed) },
      ]),
    ),
    gradients: (step) =>
      new Map(
        file.tensors.map(({ name, shape, scale }) => [
          name,
          generate(`gradient/${name}/${step}`, shape, file.seed, { limit: scale }),
        ]),
      ),
    cases: file.cases.map(({ weights, ...hyperparameters }) => ({
      ...hyperparameters,
      expected: new Map(Object.entries(weights).map(([name, values]) => [name, Float32Array.from(values)])),
    })),
  };
}
