// Batches and data sets: what training and the loaders agree on. Knows no file format, model or device.
import { availableParallelism } from 'node:os';
import { ArgumentError } from '../core/errors.ts';
import { seedKey } from '../core/philox.ts';

/** Images with their labels, in the order in which they are to be used. The consumer owns the arrays. */
export interface Batch {
  /** uint8 (0 to 255, red green blue) to be normalised on the device, or float32 taken as it stands; NHWC. */
  readonly images: Uint8Array | Float32Array;
  /** [n, height, width, 3] */
  readonly shape: readonly [n: number, height: number, width: number, channels: 3];
  /** Int32Array [n] of class indices, or Uint8Array [n, classes] of zeros and ones (many labels at once). */
  readonly labels: Int32Array | Uint8Array;
  /** Which samples of the data set these are; [n]. */
  readonly sampleIds?: readonly number[];
  /** Where each image has been mixed with another one; absent: none has. */
  readonly mix?: LabelMix;
}

/** What was mixed into the images of a batch. A label counts as much as its image's share of the pixels. */
export interface LabelMix {
  /** The other image's, as {@link Batch.labels}. */
  readonly labels: Int32Array | Uint8Array;
  /** [n], the image's own share, 0 to 1; the rest is the other one's. */
  readonly shares: Float32Array;
}

/**
 * Random changes made to a training image.
 *
 * - `inception`: a crop of 0.08 to 1 of the area with aspect 3/4 to 4/3, and a horizontal flip half of the
 *   time (Szegedy et al., "Going Deeper with Convolutions", section 6).
 * - `light`: a crop of 0.8 to 1 of the area with aspect 9/10 to 10/9, and the flip.
 * - `randaugment`: as `inception`, then two ops of magnitude 9 (of 30) out of fourteen: shears, translations,
 *   rotation, colours, sharpness, posterizing, solarizing, equalizing (Cubuk et al., "RandAugment", arXiv 1909.13719;
 *   ops and strengths of torchvision).
 * - `none`: the image as it is, resized.
 */
export type Augmentation = 'inception' | 'light' | 'randaugment' | 'none';

/** All of them. */
export const augmentations: readonly Augmentation[] = ['inception', 'light', 'randaugment', 'none'];

/** One pass over a data set. */
export interface BatchOptions {
  /** Samples per batch. */
  readonly batchSize: number;
  /** Epoch from 0; enters the order and the augmentation. Default 0. */
  readonly epoch?: number;
  /** Integer from 0 to 2^53 - 1; enters the order and the augmentation. Default 0. */
  readonly seed?: number;
  /** Whether the order is a random permutation, another one each epoch. Default false: the stored order. */
  readonly shuffle?: boolean;
  /**
   * The first batch to be given, so that an epoch continues in its middle. Earlier ones are not decoded.
   * Default 0.
   */
  readonly startBatch?: number;
  /**
   * Whether every batch has exactly `batchSize` samples, as training wants it: the incomplete last batch is
   * dropped, and the place of an unreadable image goes to another sample, drawn by seed, epoch and place.
   * Default false, as evaluation wants it: every readable sample exactly once, so a batch with an unreadable
   * image is that much smaller.
   */
  readonly dropLast?: boolean;
  /**
   * Images decoded at the same time. Default: the number of processors, at least 2. Batches do not depend on
   * it. Decoding runs on the threads of libuv, 4 unless UV_THREADPOOL_SIZE is set before the process starts.
   */
  readonly workers?: number;
  /** Batches prepared ahead of the consumer; bounds the memory. Default 2. Batches do not depend on it. */
  readonly prefetch?: number;
  /** Ends the iteration with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Default: what the data set was made with. */
  readonly augment?: Augmentation;
  /** Random brightness, contrast, saturation and hue. Default: what the data set was made with. */
  readonly color?: boolean;
  /**
   * Probability that a rectangle of an image, 0.02 to 0.4 of its area, is filled with noise (Zhong et al., "Random Erasing
   * Data Augmentation", arXiv 1708.04896). Default 0.
   */
  readonly erasing?: number;
  /**
   * Blends each image of a batch with another one of it, x = λ x + (1 - λ) x', λ from Beta(mixup, mixup), one λ for a batch
   * (Zhang et al., "mixup", arXiv 1710.09412). Default 0: not at all. Where `cutmix` is given too, each batch gets one of
   * them, by an even chance.
   */
  readonly mixup?: number;
  /**
   * Puts a rectangle of another image of the batch into each, 1 - λ of the area, λ from Beta(cutmix, cutmix) (Yun et al.,
   * "CutMix", arXiv 1905.04899). Default 0: not at all.
   */
  readonly cutmix?: number;
}

/** Labelled images that can be read in batches, any number of times. */
export interface Dataset {
  /** Class names; a label is an index into them. */
  readonly classes: readonly string[];
  /** Edge of the square images given, in pixels; undefined where they are not square. */
  readonly size: number | undefined;
  /** Number of samples, unreadable ones included, as far as they are not known. */
  readonly length: number;
  /**
   * The batches of one epoch, in order. Batch k holds the samples at places k * batchSize and on; what they
   * are depends on seed and epoch alone, so the number of workers, the prefetch depth and `startBatch` change
   * nothing.
   *
   * @throws ArgumentError at once for an option out of range; DataError while iterating, where the data are
   *   at fault
   */
  batches(options: BatchOptions): AsyncIterable<Batch>;
  /** How it is shuffled, where that is no permutation of all samples: a run goes on with the same only. */
  readonly shuffling?: string;
  /** Samples left out so far because they cannot be read, with the reason. */
  readonly skipped: ReadonlyMap<string, string>;
}

/** Options of one pass, checked and complete. */
export interface BatchPlan {
  readonly batchSize: number;
  readonly epoch: number;
  readonly seed: number;
  readonly shuffle: boolean;
  readonly startBatch: number;
  readonly dropLast: boolean;
  readonly workers: number;
  readonly prefetch: number;
  readonly signal: AbortSignal | undefined;
  readonly augment: Augmentation;
  readonly color: boolean;
  readonly erasing: number;
  readonly mixup: number;
  readonly cutmix: number;
}

/** Throws an ArgumentError unless `value` is an integer of at least `least`. */
export function checkInteger(name: string, value: number, least: number): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(`${name}: expected an integer of at least ${least}, got ${value}`);
  }
  return value;
}

/** Throws an ArgumentError unless `value` is the name of an augmentation. */
export function checkAugmentation(value: Augmentation): Augmentation {
  if (!augmentations.includes(value)) {
    throw new ArgumentError(`augment: expected one of ${augmentations.join(', ')}, got ${String(value)}`);
  }
  return value;
}

/** Throws an ArgumentError unless `value` is a number from 0 to `most`. */
export function checkAmount(name: string, value: number, most: number): number {
  if (!(value >= 0 && value <= most)) {
    throw new ArgumentError(`${name}: expected a number from 0 to ${most}, got ${value}`);
  }
  return value;
}

/** Largest parameter of the Beta distributions of mixing; beyond it all images would be mixed half and half. */
export const maxMixing = 1000;

/** Checks the options of one pass and fills in the defaults. */
export function planBatches(
  options: BatchOptions,
  defaults: { readonly augment: Augmentation; readonly color: boolean },
): BatchPlan {
  const seed = options.seed ?? 0;
  seedKey(seed); // throws where the seed is out of range
  return {
    batchSize: checkInteger('batchSize', options.batchSize, 1),
    epoch: checkInteger('epoch', options.epoch ?? 0, 0),
    seed,
    shuffle: options.shuffle ?? false,
    startBatch: checkInteger('startBatch', options.startBatch ?? 0, 0),
    dropLast: options.dropLast ?? false,
    workers: checkInteger('workers', options.workers ?? Math.max(2, availableParallelism()), 1),
    prefetch: checkInteger('prefetch', options.prefetch ?? 2, 0),
    signal: options.signal,
    augment: checkAugmentation(options.augment ?? defaults.augment),
    color: options.color ?? defaults.color,
    erasing: checkAmount('erasing', options.erasing ?? 0, 1),
    mixup: checkAmount('mixup', options.mixup ?? 0, maxMixing),
    cutmix: checkAmount('cutmix', options.cutmix ?? 0, maxMixing),
  };
}
