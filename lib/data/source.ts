// Sources of samples: what a data set of uint8 images gives the loader. Knows no format, order or augmentation.
import type { DecodeOptions } from './decode.ts';

/** A range of a file, as shards hold their images. */
export interface FileRange {
  readonly path: string;
  /** First byte. Default 0. */
  readonly offset?: number;
  /** Number of bytes. Default: all from `offset` on. */
  readonly length?: number;
}

/** An image in memory, decoded. Must not change while batches are made. */
export interface Pixels {
  /** [height, width, 3], red green blue */
  readonly pixels: Uint8Array;
  readonly height: number;
  readonly width: number;
}

/** Where a sample's image is. */
export type SampleInput = FileRange | Pixels;

/** Samples that become uint8 images of one size. */
export interface SampleSource {
  /** What the samples are, for messages: a folder, 'arrays'. */
  readonly name: string;
  readonly length: number;
  /**
   * Height and width of every image given, and how they come about; crop, flip and colour are the loader's.
   */
  readonly decode: Pick<DecodeOptions, 'height' | 'width' | 'resize' | 'interpolation'>;
  /** Where the sample is; called shortly before it is read, once or more. */
  input(index: number): SampleInput;
  /** The sample's name in messages and in `skipped`. */
  sampleName(index: number): string;
  /** The labels of these samples, in this order. */
  labels(indices: readonly number[]): Int32Array | Uint8Array;
  /**
   * Place -> sample of a shuffled epoch, a function of seed and epoch alone; each sample once. Default: a random
   * permutation of all samples.
   */
  order?(seed: number, epoch: number): Uint32Array;
}
