// The loader: from samples decoded one by one to batches; unreadable ones are left out and counted.
import { DataError } from '../core/errors.ts';
import { augmentationCrop, augmentationFlip, randomColor } from './augment.ts';
import type { Batch, BatchPlan } from './batch.ts';
import { type DecodeOptions, decodeImage, transformPixels, UnreadableImageError } from './decode.ts';
import { type Gate, prefetch } from './prefetch.ts';
import { below, Purpose, permutation, randomBlock } from './random.ts';
import type { SampleSource } from './source.ts';

/** What becomes of samples that cannot be read. */
export interface BadImagePolicy {
  /** 'skip' leaves them out and counts them; 'fail' ends with the first. */
  readonly onBadImage: 'skip' | 'fail';
  /**
   * More than this fraction of the samples (but more than one, in a small set) is an error, even when
   * skipping.
   */
  readonly maxSkippedFraction: number;
  readonly onSkip: ((name: string, reason: string) => void) | undefined;
}

/**
 * Substitutes tried in place of an unreadable sample; even with half of them unreadable, 32 fail once in
 * 10^9.
 */
const SUBSTITUTES = 32;

/** Names of unreadable files shown in an error. */
const NAMES_SHOWN = 3;

/** The samples left out so far, and when that is too many. */
export class SkipLedger {
  readonly skipped = new Map<string, string>();
  readonly #source: SampleSource;
  readonly #policy: BadImagePolicy;

  constructor(source: SampleSource, policy: BadImagePolicy) {
    this.#source = source;
    this.#policy = policy;
  }

  /** Records one unreadable sample; throws a DataError where the policy says so. */
  record(error: UnreadableImageError, index: number): void {
    const { onBadImage, maxSkippedFraction, onSkip } = this.#policy;
    if (onBadImage === 'fail') throw error;
    const name = this.#source.sampleName(index);
    if (this.skipped.has(name)) return;
    this.skipped.set(name, error.reason);
    onSkip?.(name, error.reason);
    const { length } = this.#source;
    if (this.skipped.size > Math.max(1, maxSkippedFraction * length))
      throw this.#tooMany(length, maxSkippedFraction);
  }

  #tooMany(length: number, fraction: number): DataError {
    const count = this.skipped.size;
    const shown = [...this.skipped].slice(0, NAMES_SHOWN).map(([name, reason]) => `${name} (${reason})`);
    const rest = count > NAMES_SHOWN ? `, and ${count - NAMES_SHOWN} more` : '';
    return new DataError(
      `${this.#source.name}: ${count} of ${length} images cannot be read, more than ${fraction * 100} %: ` +
        `${shown.join(', ')}${rest}`,
      { code: 'TOO_MANY_UNREADABLE', file: this.#source.name },
    );
  }
}

/** A batch as decoded, before its unreadable samples are booked. */
interface Decoded {
  readonly images: Uint8Array;
  readonly sampleIds: number[];
  readonly failures: { readonly index: number; readonly error: UnreadableImageError }[];
}

/**
 * The batches of one epoch. Failures are booked in the order of the batches, not of decoding, so that errors,
 * too, come at the same place however many workers there are.
 */
export async function* loadBatches(
  source: SampleSource,
  plan: BatchPlan,
  ledger: SkipLedger,
): AsyncGenerator<Batch, void, undefined> {
  const { batchSize, dropLast, startBatch, workers, signal } = plan;
  const count = batchCount(source, plan);
  const order = plan.shuffle ? shuffled(source, plan) : undefined;

  const make = async (at: number, gate: Gate): Promise<Decoded> => {
    const from = at * batchSize;
    const places = Math.min(batchSize, source.length - from);
    const { height, width } = source.decode;
    const stride = height * width * 3;
    const images = new Uint8Array(places * stride);
    const used: (number | undefined)[] = new Array(places).fill(undefined);
    const failed: Decoded['failures'][] = [];
    await allDone(
      Array.from({ length: places }, async (_, i) => {
        const failures: Decoded['failures'] = [];
        failed[i] = failures;
        const own = order?.[from + i] ?? from + i;
        for (let attempt = 0; attempt <= (dropLast ? SUBSTITUTES : 0); attempt++) {
          const index = attempt === 0 ? own : substitute(source, plan, from + i, own, attempt);
          try {
            images.set(
              await gate.run(() => loadSample(source, index, sampleOptions(source, plan, index))),
              i * stride,
            );
            used[i] = index;
            return;
          } catch (error) {
            if (!(error instanceof UnreadableImageError)) throw error;
            failures.push({ index, error });
          }
        }
      }),
    );
    return compact(images, stride, used, failed.flat());
  };

  for await (const batch of prefetch(startBatch, count, make, { workers, depth: plan.prefetch, signal })) {
    for (const { index, error } of batch.failures) ledger.record(error, index);
    const { images, sampleIds } = batch;
    const n = sampleIds.length;
    if (dropLast && n < batchSize) {
      throw new DataError(
        `${source.name}: no readable image found in place of ${batch.failures[0]?.error.message}`,
        {
          code: 'TOO_MANY_UNREADABLE',
          file: source.name,
        },
      );
    }
    if (n === 0) continue; // all of them unreadable, and few enough to go on
    const { height, width } = source.decode;
    yield { images, shape: [n, height, width, 3], labels: source.labels(sampleIds), sampleIds };
  }
}

/** Place -> sample of this epoch. */
function shuffled(source: SampleSource, { seed, epoch }: BatchPlan): Uint32Array {
  return source.order?.(seed, epoch) ?? permutation(source.length, seed, epoch);
}

/** [height, width, 3]. Rejects with an UnreadableImageError where the sample is at fault. */
async function loadSample(source: SampleSource, index: number, options: DecodeOptions): Promise<Uint8Array> {
  const input = source.input(index);
  return 'pixels' in input
    ? await transformPixels(input.pixels, input, options)
    : await decodeImage(input, options);
}

/** How many batches an epoch has. */
export function batchCount(source: Pick<SampleSource, 'name' | 'length'>, plan: BatchPlan): number {
  const { batchSize, dropLast } = plan;
  if (!dropLast) return Math.ceil(source.length / batchSize);
  if (source.length < batchSize) {
    throw new DataError(`${source.name}: ${source.length} images do not fill one batch of ${batchSize}`, {
      code: 'TOO_FEW_SAMPLES',
      file: source.name,
    });
  }
  return Math.floor(source.length / batchSize);
}

/** Which sample stands in for the unreadable one, `own`, at this place of the order; any but itself. */
function substitute(
  source: SampleSource,
  plan: BatchPlan,
  place: number,
  own: number,
  attempt: number,
): number {
  const words = randomBlock(plan.seed, Purpose.substitute, plan.epoch, place, attempt);
  const others = Math.max(1, source.length - 1);
  return (own + 1 + below(others, words[0]!)) % source.length;
}

function sampleOptions(source: SampleSource, plan: BatchPlan, index: number): DecodeOptions {
  const key = { seed: plan.seed, epoch: plan.epoch, index };
  return {
    ...source.decode,
    crop: augmentationCrop(plan.augment, key),
    flip: augmentationFlip(plan.augment, key),
    color: plan.color ? randomColor(key) : undefined,
  };
}

/** Moves the readable images together. */
function compact(
  images: Uint8Array,
  stride: number,
  used: readonly (number | undefined)[],
  failures: Decoded['failures'],
): Decoded {
  const sampleIds: number[] = [];
  used.forEach((index, place) => {
    if (index === undefined) return;
    if (place !== sampleIds.length)
      images.copyWithin(sampleIds.length * stride, place * stride, (place + 1) * stride);
    sampleIds.push(index);
  });
  const bytes = sampleIds.length * stride;
  return { images: bytes === images.length ? images : images.slice(0, bytes), sampleIds, failures };
}

/** Waits for all, then throws the first error, so that no task outlives its batch. */
async function allDone(tasks: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(tasks)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
