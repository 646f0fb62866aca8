// Native threads that make images: JPEG files or pixels in, uint8 of one size out. Other formats are told apart
// here, and decoded elsewhere.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadAddon, pluginPath } from '../backend/load.ts';
import { LoadError } from '../core/errors.ts';
import { seedKey } from '../core/philox.ts';
import { type CropRange, cropRange, type ImageSize, type Rectangle } from './augment.ts';
import type { Augmentation } from './batch.ts';
import type { Interpolation, ResizeRule } from './decode.ts';
import type { SampleInput } from './source.ts';

/** What becomes of each image, in this order: crop and resize, flip, colour, RandAugment, erasing. */
export interface ImageRules {
  /** In pixels, of the result. */
  readonly height: number;
  readonly width: number;
  /** Where `augment` is 'none'. Default 'stretch'. */
  readonly resize?: ResizeRule | undefined;
  /** Default 'bilinear'. */
  readonly interpolation?: Interpolation | undefined;
  /** Random crop and flip. Default 'none'. */
  readonly augment?: Augmentation;
  /** Random change of colour. Default false. */
  readonly color?: boolean;
  /** Default: none. */
  readonly randAugment?: RandAugment | undefined;
  /** Probability that a rectangle is erased. Default 0. */
  readonly erasing?: number;
  /** Random numbers are functions of these two and of the sample. Default 0. */
  readonly seed?: number;
  readonly epoch?: number;
}

/** RandAugment (Cubuk et al., arXiv 1909.13719): so many ops of that magnitude, 0 to 30, on each image. */
export interface RandAugment {
  readonly ops: number;
  readonly magnitude: number;
}

/** One image to be made. */
export interface ImageJob {
  /** Bytes are those of an encoded image. */
  readonly input: SampleInput | Uint8Array;
  /** Where in the batch it goes. Default 0. */
  readonly place?: number;
  /** Number of the sample, which enters the random numbers. Default 0. */
  readonly sample?: number;
}

/** A job that was not done. */
export interface JobFailure<Job> {
  readonly job: Job;
  /** 'other': perhaps an image, but none that is decoded here. */
  readonly status: 'unreadable' | 'other' | 'cancelled';
  readonly reason: string;
}

/** Native status codes, in the order of depthwise_images.h. */
const statuses = ['made', 'unreadable', 'other', 'cancelled'] as const;

const kinds = { file: 0, bytes: 1, pixels: 2 } as const;

/** How the images of a batch are mixed: see {@link ImagePool.mix}. */
export interface ImageMix {
  /** The image's own part where all pixels are blended, in 65536ths. */
  readonly fraction: number;
  /** Pixels of the other image replace those in it; undefined: all pixels are blended. */
  readonly box?: Box | undefined;
}

/** A rectangle of pixels; `right` and `bottom` are the first beyond it. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Random numbers of a sample; its colour as ColorMap has it, with the matrix row by row. */
export interface ImageDraws {
  readonly crop: Rectangle;
  readonly flip: boolean;
  readonly matrix: readonly number[];
  readonly scale: number;
  readonly offset: number;
}

/** DW_IMAGE_DRAWS of depthwise_images.h. */
const drawLength = 18;

/** A fixed number of threads with a queue. */
export class ImagePool {
  readonly #addon = loadAddon().addon;
  readonly #handle: number;

  /**
   * @param workers number of threads
   * @throws LoadError where the native library is not installed, with what to do
   */
  constructor(workers: number) {
    this.#handle = this.#addon.openImages(pluginPath('images'), workers);
  }

  /**
   * Makes images, in the order of the calls and of the jobs.
   *
   * @param out [places, height, width, 3]; not to be touched until the promise settles
   * @returns the jobs that were not done
   */
  async make<Job extends ImageJob>(
    rules: ImageRules,
    jobs: readonly Job[],
    out: Uint8Array,
  ): Promise<JobFailure<Job>[]> {
    const sources = jobs.map(({ input }) =>
      input instanceof Uint8Array ? input : 'pixels' in input ? input.pixels : input.path,
    );
    const table = Float64Array.from(jobs.flatMap(jobNumbers));
    const failures = await this.#addon.makeImages(this.#handle, ruleNumbers(rules), sources, table, out);
    return failures.map(({ at, status, reason }) => ({
      job: jobs[at] as Job,
      status: statuses[status] as JobFailure<Job>['status'],
      reason,
    }));
  }

  /**
   * Mixes each image with the one before it, the first with the last, in place.
   *
   * @param images [n, height, width, 3]; not to be touched until the promise settles
   */
  async mix(images: Uint8Array, height: number, width: number, { fraction, box }: ImageMix): Promise<void> {
    const { left, top, right, bottom } = box ?? { left: 0, top: 0, right: 0, bottom: 0 };
    const n = images.length / (height * width * 3);
    const numbers = Float64Array.of(n, height, width, fraction, left, top, right, bottom);
    await this.#addon.mixImages(this.#handle, images, numbers);
  }

  /** The random numbers of samples whose images have these sizes, for tests. */
  draws(rules: ImageRules, samples: readonly (ImageSize & { readonly sample: number })[]): ImageDraws[] {
    const given = Float64Array.from(samples.flatMap(({ sample, height, width }) => [sample, height, width]));
    const drawn = this.#addon.drawImages(this.#handle, ruleNumbers(rules), given);
    return samples.map((_, i) => {
      const of = drawn.subarray(i * drawLength, (i + 1) * drawLength);
      return {
        crop: { left: of[0]!, top: of[1]!, width: of[2]!, height: of[3]! },
        flip: of[4] !== 0,
        matrix: [...of.subarray(5, 14)],
        scale: of[14]!,
        offset: of[15]!,
      };
    });
  }

  /** One op of RandAugment, by its number in torchvision's order, on pixels [height, width, 3] in place; for tests. */
  change(op: number, magnitude: number, pixels: Uint8Array, { height, width }: ImageSize): void {
    const size = Float64Array.of(height, width);
    this.#addon.changeImage(this.#handle, op, Float64Array.of(magnitude), pixels, size);
  }

  /** What is queued, or comes later, is not made any more; what is in work is finished. */
  cancel(): void {
    this.#addon.cancelImages(this.#handle);
  }

  /** Ends the threads; waits for images in work. */
  close(): void {
    this.#addon.closeImages(this.#handle);
  }
}

/** How JPEGs of training batches are decoded on this machine. */
export type ImageSupport =
  | { readonly native: true; readonly about: string }
  | { readonly native: false; readonly reason: string; readonly fixes: readonly string[] };

let support: ImageSupport | undefined;

/**
 * Whether the native library can be used here: it cannot where it was built without libjpeg-turbo, and is not where
 * `DEPTHWISE_IMAGES=sharp`. Looked up once.
 */
export function imageSupport(): ImageSupport {
  support ??= findSupport();
  return support;
}

function findSupport(): ImageSupport {
  if (process.env.DEPTHWISE_IMAGES === 'sharp') {
    return { native: false, reason: 'DEPTHWISE_IMAGES=sharp', fixes: ['Unset DEPTHWISE_IMAGES'] };
  }
  try {
    const { addon, folder } = loadAddon();
    if (!existsSync(join(folder, 'libdepthwise_images.so'))) {
      const fix =
        'Install the headers of libjpeg-turbo (apt install libjpeg-dev) and build again: npm run setup';
      return { native: false, reason: `there is no libdepthwise_images.so in ${folder}`, fixes: [fix] };
    }
    return { native: true, about: addon.aboutImages(pluginPath('images')) };
  } catch (error) {
    if (!(error instanceof LoadError)) throw error;
    const fixes =
      error.fixes.length > 0 ? error.fixes : ['Install libjpeg-turbo: apt install libjpeg62-turbo'];
    return { native: false, reason: error.reason, fixes };
  }
}

/** The numbers of a job, as native/addon/images.cc reads them. */
function jobNumbers({ input, place = 0, sample = 0 }: ImageJob): number[] {
  const of = (kind: number, offset: number, length: number, height: number, width: number) => [
    kind,
    place,
    sample,
    offset,
    length,
    height,
    width,
  ];
  if (input instanceof Uint8Array) return of(kinds.bytes, 0, -1, 0, 0);
  if ('pixels' in input) return of(kinds.pixels, 0, -1, input.height, input.width);
  return of(kinds.file, input.offset ?? 0, input.length ?? -1, 0, 0);
}

const noCrop: CropRange = { area: [0, 0], aspect: [1, 1] };

/** The numbers of rules, as native/addon/images.cc reads them. */
function ruleNumbers(rules: ImageRules): Float64Array {
  const { height, width, resize = 'stretch', interpolation, augment = 'none' } = rules;
  const { area, aspect } = cropRange(augment) ?? noCrop;
  return Float64Array.of(
    height,
    width,
    resize === 'stretch' ? 0 : resize.crop,
    interpolation === 'bicubic' ? 1 : 0,
    ...area,
    ...aspect,
    rules.color ? 1 : 0,
    rules.randAugment?.ops ?? 0,
    rules.randAugment?.magnitude ?? 0,
    rules.erasing ?? 0,
    ...seedKey(rules.seed ?? 0),
    rules.epoch ?? 0,
  );
}
