// Collecting the batches of a data set, for tests that compare whole epochs.
import { createHash } from 'node:crypto';
import type { Batch, BatchOptions, Dataset } from '../../lib/data/batch.ts';

export async function collect(dataset: Dataset, options: BatchOptions): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of dataset.batches(options)) batches.push(batch);
  return batches;
}

/** One line per batch that changes with any byte of it. */
export function fingerprints(batches: readonly Batch[]): string[] {
  return batches.map(({ images, shape, labels, sampleIds }) => {
    const bytes = new Uint8Array(images.buffer, images.byteOffset, images.byteLength);
    return `[${shape}] ${sampleIds} ${labels} ${createHash('sha256').update(bytes).digest('hex')}`;
  });
}

/** What the iteration throws. */
export async function failureOf(run: () => Promise<unknown>): Promise<unknown> {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
