// Random numbers of the data side: functions of (seed, purpose, epoch, index, draw) and nothing else.
import { philox4x32Into, seedKey } from '../core/philox.ts';

/** What a random block is for; the last counter word, so that no two purposes share a number. */
export const Purpose = {
  shuffle: 0x64617400,
  crop: 0x64617401,
  flip: 0x64617402,
  color: 0x64617403,
  substitute: 0x64617404,
  // 05 to 07 are RandAugment's and erasing's, in native/images/draws.h.
  mix: 0x64617408,
  shards: 0x64617410,
  shardBuffer: 0x64617411,
} as const;
export type Purpose = (typeof Purpose)[keyof typeof Purpose];

/** Four random words for the given purpose. `index` is a sample or a place; `draw` counts the tries. */
export function randomBlock(
  seed: number,
  purpose: Purpose,
  epoch: number,
  index: number,
  draw = 0,
): Uint32Array {
  const out = new Uint32Array(4);
  const [k0, k1] = seedKey(seed);
  philox4x32Into(out, index, epoch, draw, purpose, k0, k1);
  return out;
}

/**
 * A random word as an integer from 0 to n - 1. The largest deviation from a uniform distribution is n / 2^32
 * of a value's probability, which nothing here could notice.
 */
export function below(n: number, word: number): number {
  return Math.floor((word / 2 ** 32) * n);
}

/** The order of an epoch: place -> sample. A Fisher-Yates shuffle that depends on (n, seed, epoch) alone. */
export function permutation(
  n: number,
  seed: number,
  epoch: number,
  purpose: Purpose = Purpose.shuffle,
): Uint32Array {
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  const [k0, k1] = seedKey(seed);
  const words = new Uint32Array(4);
  for (let last = n - 1, used = 4; last > 0; last--, used++) {
    if (used === 4) {
      philox4x32Into(words, last, epoch, 0, purpose, k0, k1);
      used = 0;
    }
    const other = below(last + 1, words[used]!);
    const kept = order[last]!;
    order[last] = order[other]!;
    order[other] = kept;
  }
  return order;
}
