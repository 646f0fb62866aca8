// Arrays in memory as a data set: uint8 images are resized and augmented, float32 images stay as they are.
import { ArgumentError, DataError } from '../core/errors.ts';
import type { ImageSize } from './augment.ts';
import {
  type Augmentation,
  type Batch,
  type BatchOptions,
  type BatchPlan,
  checkAugmentation,
  checkInteger,
  type Dataset,
  planBatches,
} from './batch.ts';
import type { Interpolation, ResizeRule } from './decode.ts';
import { batchCount, loadBatches, SkipLedger } from './loader.ts';
import { permutation } from './random.ts';
import type { SampleSource } from './source.ts';

/** Images in one array, as a .npy file holds them. */
export interface ImageArray {
  /** uint8 (0 to 255), or float32: the network's input as it stands. */
  readonly data: Uint8Array | Float32Array;
  /** [n, height, width, 3] */
  readonly shape: readonly number[];
}

/** Labels of many classes at once, as a .npy file holds them. */
export interface ManyHotArray {
  /** Zeros and ones. */
  readonly data: Uint8Array;
  /** [n, classes] */
  readonly shape: readonly number[];
}

/** Options of `arrays`. */
export interface ArraysOptions {
  /**
   * Names of the classes, or their number; then the names are '0', '1', …. Default: the largest label + 1.
   */
  readonly classes?: readonly string[] | number;
  /** Edge to which uint8 images are resized, in pixels. Default: they keep their size. */
  readonly size?: number;
  /** Random changes to uint8 images, unless `batches` is asked for others. Default 'none'. */
  readonly augment?: Augmentation;
  /** Random colour of uint8 images, unless `batches` is asked otherwise. Default false. */
  readonly color?: boolean;
  /** How a whole uint8 image is brought to `size`. Default 'stretch'. */
  readonly resize?: ResizeRule;
  /** Default 'bilinear'. */
  readonly interpolation?: Interpolation;
}

/**
 * A data set of arrays in memory. The arrays are not copied and must not change while they are in use.
 *
 * @param images [n, height, width, 3]. float32 is given exactly as it is, never rescaled, resized or
 *   augmented: asking `batches` to augment it is an ArgumentError.
 * @param labels Int32Array [n] of class indices, or uint8 [n, classes] of zeros and ones
 * @throws DataError where shapes, lengths or labels do not fit (a label out of range with its index, value
 *   and the number of classes); ArgumentError for an option out of range
 */
export function arrays(
  images: ImageArray,
  labels: Int32Array | ManyHotArray,
  options: ArraysOptions = {},
): Dataset {
  const shape = checkImages(images);
  const [n, height, width] = shape;
  const augment = checkAugmentation(options.augment ?? 'none');
  const defaults = { augment, color: options.color ?? false };
  const { classes, pick } = checkLabels(labels, n, options.classes);
  if (images.data instanceof Float32Array) {
    if (options.size !== undefined && (options.size !== height || options.size !== width)) {
      throw new ArgumentError(
        `size: float32 images are taken as they stand, ${height} x ${width}, got size ${options.size}`,
      );
    }
    return new FloatArrays(images.data, shape, classes, pick, defaults);
  }
  const edge = options.size === undefined ? undefined : checkInteger('size', options.size, 1);
  const decode = {
    height: edge ?? height,
    width: edge ?? width,
    resize: options.resize ?? 'stretch',
    interpolation: options.interpolation ?? 'bilinear',
  } as const;
  return new PixelArrays(images.data, shape, classes, pick, decode, defaults);
}

type Defaults = { readonly augment: Augmentation; readonly color: boolean };
type Shape = readonly [n: number, height: number, width: number, channels: 3];
type PickLabels = (indices: readonly number[]) => Int32Array | Uint8Array;

/** uint8 images: through the same loader as files. */
class PixelArrays implements Dataset {
  readonly classes: readonly string[];
  readonly size: number | undefined;
  readonly length: number;
  readonly #source: SampleSource;
  readonly #ledger: SkipLedger;
  readonly #defaults: Defaults;

  constructor(
    data: Uint8Array,
    [n, height, width]: Shape,
    classes: readonly string[],
    labels: PickLabels,
    decode: SampleSource['decode'],
    defaults: Defaults,
  ) {
    const size: ImageSize = { height, width };
    const stride = height * width * 3;
    this.classes = classes;
    this.size = decode.height === decode.width ? decode.height : undefined;
    this.length = n;
    this.#defaults = defaults;
    this.#source = {
      name: 'arrays',
      length: n,
      decode,
      input: (index) => ({ pixels: data.subarray(index * stride, (index + 1) * stride), ...size }),
      sampleName: (index) => `image ${index}`,
      labels,
    };
    this.#ledger = new SkipLedger(this.#source, {
      onBadImage: 'fail',
      maxSkippedFraction: 0,
      onSkip: undefined,
    });
  }

  get skipped(): ReadonlyMap<string, string> {
    return this.#ledger.skipped;
  }

  batches(options: BatchOptions): AsyncIterable<Batch> {
    return loadBatches(this.#source, planBatches(options, this.#defaults), this.#ledger);
  }
}

/** float32 images: copied into batches, nothing else. */
class FloatArrays implements Dataset {
  readonly classes: readonly string[];
  readonly size: number | undefined;
  readonly length: number;
  readonly skipped: ReadonlyMap<string, string> = new Map();
  readonly #data: Float32Array;
  readonly #shape: Shape;
  readonly #labels: PickLabels;
  readonly #defaults: Defaults;

  constructor(
    data: Float32Array,
    shape: Shape,
    classes: readonly string[],
    labels: PickLabels,
    defaults: Defaults,
  ) {
    const [n, height, width] = shape;
    this.classes = classes;
    this.size = height === width ? height : undefined;
    this.length = n;
    this.#data = data;
    this.#shape = shape;
    this.#labels = labels;
    this.#defaults = defaults;
  }

  batches(options: BatchOptions): AsyncIterable<Batch> {
    const plan = planBatches(options, this.#defaults);
    if (plan.augment !== 'none' || plan.color) {
      throw new ArgumentError(
        `augment: float32 images are taken as they stand; expected 'none' without color, ` +
          `got '${plan.augment}'${plan.color ? ' with color' : ''}`,
      );
    }
    if (plan.erasing > 0 || plan.mixup > 0 || plan.cutmix > 0) {
      throw new ArgumentError(
        'erasing, mixup, cutmix: they need uint8 images; float32 images are taken as they stand',
      );
    }
    return this.#load(plan);
  }

  async *#load(plan: BatchPlan): AsyncGenerator<Batch, void, undefined> {
    const [n, height, width] = this.#shape;
    const { batchSize, startBatch, signal } = plan;
    const stride = height * width * 3;
    const count = batchCount({ name: 'arrays', length: n }, plan);
    const order = plan.shuffle ? permutation(n, plan.seed, plan.epoch) : undefined;
    for (let at = startBatch; at < count; at++) {
      signal?.throwIfAborted();
      const from = at * batchSize;
      const size = Math.min(batchSize, n - from);
      const sampleIds = Array.from({ length: size }, (_, i) => order?.[from + i] ?? from + i);
      const images = new Float32Array(size * stride);
      sampleIds.forEach((index, place) => {
        images.set(this.#data.subarray(index * stride, (index + 1) * stride), place * stride);
      });
      yield { images, shape: [size, height, width, 3], labels: this.#labels(sampleIds), sampleIds };
    }
  }
}

function checkImages({ data, shape }: ImageArray): Shape {
  const [n, height, width, channels] = shape;
  const whole = shape.every((size) => Number.isSafeInteger(size) && size > 0);
  if (shape.length !== 4 || !whole || channels !== 3 || n === undefined || !height || !width) {
    throw new DataError(
      `images: expected a shape [n, height, width, 3] with nothing empty, got [${shape.join(', ')}]`,
    );
  }
  if (data.length !== n * height * width * 3) {
    throw new DataError(
      `images: expected ${n * height * width * 3} numbers for [${shape.join(', ')}], got ${data.length}`,
    );
  }
  return [n, height, width, 3];
}

/** Checks every label, and gives the class names and how the labels of a batch are picked. */
function checkLabels(
  labels: Int32Array | ManyHotArray,
  n: number,
  classes: readonly string[] | number | undefined,
): { classes: readonly string[]; pick: PickLabels } {
  const count = typeof classes === 'number' ? checkInteger('classes', classes, 1) : classes?.length;
  const names = (found: number) =>
    typeof classes === 'object' ? [...classes] : Array.from({ length: found }, (_, i) => String(i));
  if (labels instanceof Int32Array) {
    if (labels.length !== n)
      throw new DataError(`labels: expected ${n}, one per image, got ${labels.length}`);
    let largest = -1;
    for (const label of labels) largest = Math.max(largest, label);
    const known = count ?? largest + 1;
    const at = labels.findIndex((label) => label < 0 || label >= known);
    if (at >= 0) {
      throw new DataError(
        `labels: label ${at} is ${labels[at]}; expected 0 to ${known - 1} for ${known} classes`,
      );
    }
    return { classes: names(known), pick: (indices) => Int32Array.from(indices, (index) => labels[index]!) };
  }
  const { data, shape } = labels;
  const [rows, columns] = shape;
  if (shape.length !== 2 || rows !== n || !columns || (count !== undefined && columns !== count)) {
    throw new DataError(`labels: expected a shape [${n}, ${count ?? 'classes'}], got [${shape.join(', ')}]`);
  }
  if (data.length !== rows * columns) {
    throw new DataError(
      `labels: expected ${rows * columns} numbers for [${shape.join(', ')}], got ${data.length}`,
    );
  }
  const at = data.findIndex((value) => value > 1);
  if (at >= 0) {
    const row = Math.floor(at / columns);
    throw new DataError(`labels: class ${at % columns} of label ${row} is ${data[at]}; expected 0 or 1`);
  }
  const pick: PickLabels = (indices) => {
    const picked = new Uint8Array(indices.length * columns);
    indices.forEach((index, place) => {
      picked.set(data.subarray(index * columns, (index + 1) * columns), place * columns);
    });
    return picked;
  };
  return { classes: names(columns), pick };
}
