// Making of one batch: which samples it has, what stands in for those that cannot be read, and who decodes them.
import { LoadError } from '../core/errors.ts';
import { augmentationCrop, augmentationFlip, randomColor } from './augment.ts';
import type { BatchPlan } from './batch.ts';
import { decodeImage, transformPixels, UnreadableImageError, unreadable } from './decode.ts';
import { type BatchMix, drawMix } from './mix.ts';
import { type ImageJob, ImagePool, type ImageRules, imageSupport } from './pool.ts';
import { Gate, GateClosed } from './prefetch.ts';
import { below, Purpose, randomBlock } from './random.ts';
import type { SampleInput, SampleSource } from './source.ts';

/**
 * Substitutes tried in place of an unreadable sample; even with half of them unreadable, 32 fail once in
 * 10^9.
 */
const maxSubstitutes = 32;

/** A sample that could not be read. */
export interface SampleFailure {
  readonly index: number;
  readonly error: UnreadableImageError;
}

/** A batch as made, before its unreadable samples are booked. */
export interface MadeBatch {
  /** [sampleIds.length, height, width, 3] */
  readonly images: Uint8Array;
  readonly sampleIds: readonly number[];
  /** In the order of the places, and of the attempts at each. */
  readonly failures: readonly SampleFailure[];
  /** Each image has been mixed with the one before it, the first with the last. */
  readonly mix: BatchMix | undefined;
}

/** A place of a batch with the sample that is to fill it. */
interface Place extends ImageJob {
  readonly input: SampleInput;
  readonly place: number;
  readonly sample: number;
}

/** A place that could not be filled, and why. */
interface Unfilled {
  readonly job: Place;
  readonly error: UnreadableImageError;
}

/** Makes the batches of an epoch, any number of them at the same time. */
export class BatchMaker {
  readonly #source: SampleSource;
  readonly #plan: BatchPlan;
  /** Place -> sample; undefined: the stored order. */
  readonly #order: Uint32Array | undefined;
  readonly #rules: ImageRules;
  readonly #pool: ImagePool | undefined;
  /** Whether the pool decodes JPEGs. */
  readonly #native: boolean;
  /** What the pool does to images that sharp has decoded, cropped and recoloured; undefined: nothing. */
  readonly #after: ImageRules | undefined;
  /** What sharp decodes; so many at the same time. */
  readonly #others: Gate;

  constructor(source: SampleSource, plan: BatchPlan, order: Uint32Array | undefined) {
    this.#source = source;
    this.#plan = plan;
    this.#order = order;
    const { augment, color, seed, epoch, erasing } = plan;
    const randAugment = augment === 'randaugment' ? randAugmentation : undefined;
    this.#rules = { ...source.decode, augment, color, seed, epoch, erasing, randAugment };
    // Whole images are those that are evaluated and predicted, which sharp decodes wherever they come from.
    this.#native = augment !== 'none' && imageSupport().native;
    const { height, width } = source.decode;
    const changes = erasing > 0 || randAugment !== undefined;
    this.#after = changes ? { height, width, seed, epoch, erasing, randAugment } : undefined;
    const mixes = plan.mixup > 0 || plan.cutmix > 0;
    if (changes || mixes) needSupport();
    this.#pool = this.#native || changes || mixes ? new ImagePool(plan.workers) : undefined;
    this.#others = new Gate(plan.workers);
  }

  /** Nothing more is begun; what is in work is finished. */
  cancel(): void {
    this.#others.close();
    this.#pool?.cancel();
  }

  /** Ends the threads, once all that was made has settled. */
  async close(): Promise<void> {
    this.cancel();
    await this.#others.drain();
    this.#pool?.close();
  }

  /** Batch number `at`. Rejects with `GateClosed` where it was cancelled. */
  async make(at: number): Promise<MadeBatch> {
    const { batchSize, dropLast } = this.#plan;
    const { decode, length } = this.#source;
    const from = at * batchSize;
    const n = Math.min(batchSize, length - from);
    const stride = decode.height * decode.width * 3;
    const images = unset(n * stride);
    const used: (number | undefined)[] = new Array(n).fill(undefined);
    const failed: SampleFailure[][] = Array.from({ length: n }, () => []);
    let places = Array.from({ length: n }, (_, place) => this.#place(place, this.#own(from + place)));
    for (let attempt = 1; ; attempt++) {
      for (const { place, sample } of places) used[place] = sample;
      for (const { job, error } of await this.#fill(places, images, stride)) {
        failed[job.place]!.push({ index: job.sample, error });
        used[job.place] = undefined;
      }
      places = places.filter(({ place }) => used[place] === undefined);
      if (!dropLast || places.length === 0 || attempt > maxSubstitutes) break;
      places = places.map(({ place }) => this.#place(place, this.#substitute(from + place, attempt)));
    }
    const made = compact(images, stride, used);
    return { ...made, failures: failed.flat(), mix: await this.#mix(at, made) };
  }

  /** Mixes the images of a batch, where that is asked for. */
  async #mix(batch: number, { images, sampleIds }: Pick<MadeBatch, 'images' | 'sampleIds'>) {
    const { seed, epoch, mixup, cutmix } = this.#plan;
    const { height, width } = this.#rules;
    const mix = drawMix({ seed, epoch, batch, mixup, cutmix }, { height, width });
    if (mix !== undefined && sampleIds.length > 0) await this.#pool?.mix(images, height, width, mix);
    return mix;
  }

  #place(place: number, sample: number): Place {
    return { input: this.#source.input(sample), place, sample };
  }

  /** The sample at a place of the epoch. */
  #own(place: number): number {
    return this.#order?.[place] ?? place;
  }

  /** Which sample stands in for an unreadable one at this place of the epoch; any but itself. */
  #substitute(place: number, attempt: number): number {
    const { seed, epoch } = this.#plan;
    const { length } = this.#source;
    const words = randomBlock(seed, Purpose.substitute, epoch, place, attempt);
    return (this.#own(place) + 1 + below(Math.max(1, length - 1), words[0]!)) % length;
  }

  /** Fills the places; returns those whose sample cannot be read. */
  async #fill(places: readonly Place[], images: Uint8Array, stride: number): Promise<Unfilled[]> {
    if (this.#pool === undefined || !this.#native) return await this.#fillFromOther(places, images, stride);
    const left = await this.#pool.make(this.#rules, places, images);
    if (left.some(({ status }) => status === 'cancelled')) throw new GateClosed();
    const unfilled = left.filter(({ status }) => status === 'unreadable');
    const others = left.filter(({ status }) => status === 'other').map(({ job }) => job);
    return [
      ...unfilled.map(({ job, reason }) => ({ job, error: unreadable(job.input, reason) })),
      ...(await this.#fillFromOther(others, images, stride)),
    ];
  }

  /** The same by sharp, on libuv's threads: what is no JPEG, and everything where there is no native library. */
  async #fillFromOther(places: readonly Place[], images: Uint8Array, stride: number): Promise<Unfilled[]> {
    const unfilled: Unfilled[] = [];
    const tasks = places.map(async (job) => {
      try {
        const pixels = await this.#others.run(() => this.#load(job));
        if (this.#after === undefined) images.set(pixels, job.place * stride);
        else await this.#change(pixels, job, images, this.#after);
      } catch (error) {
        if (!(error instanceof UnreadableImageError)) throw error;
        unfilled.push({ job, error });
      }
    });
    await allDone(tasks);
    return unfilled;
  }

  /** Changes finished pixels on their way to their place. */
  async #change(pixels: Uint8Array, job: Place, images: Uint8Array, rules: ImageRules): Promise<void> {
    const { height, width } = rules;
    const input = { pixels, height, width };
    const left = await this.#pool?.make(rules, [{ ...job, input }], images);
    if (left?.some(({ status }) => status === 'cancelled')) throw new GateClosed();
  }

  /** [height, width, 3]. Rejects with an UnreadableImageError where the sample is at fault. */
  async #load({ input, sample }: Place): Promise<Uint8Array> {
    const { augment, color, seed, epoch } = this.#plan;
    const key = { seed, epoch, index: sample };
    const options = {
      ...this.#source.decode,
      crop: augmentationCrop(augment, key),
      flip: augmentationFlip(augment, key),
      color: color ? randomColor(key) : undefined,
    };
    return 'pixels' in input
      ? await transformPixels(input.pixels, input, options)
      : await decodeImage(input, options);
  }
}

/** How strong `randaugment` is: what torchvision does unless told otherwise. */
const randAugmentation = { ops: 2, magnitude: 9 } as const;

/** Throws where there are no native images, which changes and mixes of finished images need. */
function needSupport(): void {
  const support = imageSupport();
  if (support.native) return;
  const what = 'randaugment, erasing, mixup and cutmix need the native image library';
  throw new LoadError(`${what}: ${support.reason}`, { code: 'BACKEND_MISSING', fixes: support.fixes });
}

/** Bytes that nobody has set: zeros would be written on the JavaScript thread. */
function unset(bytes: number): Uint8Array {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, bytes);
}

/** Moves the readable images together. */
function compact(
  images: Uint8Array,
  stride: number,
  used: readonly (number | undefined)[],
): Pick<MadeBatch, 'images' | 'sampleIds'> {
  const sampleIds: number[] = [];
  used.forEach((index, place) => {
    if (index === undefined) return;
    if (place !== sampleIds.length)
      images.copyWithin(sampleIds.length * stride, place * stride, (place + 1) * stride);
    sampleIds.push(index);
  });
  const bytes = sampleIds.length * stride;
  return { images: bytes === images.length ? images : images.slice(0, bytes), sampleIds };
}

/** Waits for all, then throws the first error, so that no task outlives its batch. */
async function allDone(tasks: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(tasks)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
