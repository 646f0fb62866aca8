// The loader: from samples decoded one by one to batches; unreadable ones are left out and counted.
import { DataError } from '../core/errors.ts';
import type { Batch, BatchPlan } from './batch.ts';
import { BatchMaker } from './batchMaker.ts';
import type { UnreadableImageError } from './decode.ts';
import { prefetch } from './prefetch.ts';
import { permutation } from './random.ts';
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

/**
 * The batches of one epoch. Failures are booked in the order of the batches, not of decoding, so that errors,
 * too, come at the same place however many workers there are.
 */
export async function* loadBatches(
  source: SampleSource,
  plan: BatchPlan,
  ledger: SkipLedger,
): AsyncGenerator<Batch, void, undefined> {
  const { batchSize, dropLast, startBatch, signal, seed, epoch } = plan;
  const count = batchCount(source, plan);
  const order = plan.shuffle
    ? (source.order?.(seed, epoch) ?? permutation(source.length, seed, epoch))
    : undefined;
  const maker = new BatchMaker(source, plan, order);
  const made = prefetch(startBatch, count, (at, gate) => gate.run(() => maker.make(at)), {
    workers: plan.prefetch + 1, // all that are asked for: the maker's threads have a queue
    depth: plan.prefetch,
    signal,
    onEnd: () => maker.cancel(),
  });
  try {
    for await (const batch of made) {
      for (const { index, error } of batch.failures) ledger.record(error, index);
      const { images, sampleIds } = batch;
      const n = sampleIds.length;
      if (dropLast && n < batchSize) {
        throw new DataError(
          `${source.name}: no readable image found in place of ${batch.failures[0]?.error.message}`,
          { code: 'TOO_MANY_UNREADABLE', file: source.name },
        );
      }
      if (n === 0) continue; // all of them unreadable, and few enough to go on
      const { height, width } = source.decode;
      const { share } = batch.mix ?? {};
      const labels = source.labels(sampleIds);
      yield {
        ...{ images, shape: [n, height, width, 3], labels, sampleIds },
        ...(share !== undefined && {
          mix: { labels: source.labels(before(sampleIds)), shares: new Float32Array(n).fill(share) },
        }),
      };
    }
  } finally {
    await maker.close();
  }
}

/** Each place's neighbour: the one before it, and the last one of the first. */
const before = (ids: readonly number[]): number[] => ids.map((_, i) => ids.at(i - 1) as number);

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
