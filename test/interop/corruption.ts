// Seeded damage for the tests of file formats: flipped bits and cuts, the same in every run.

import { DepthwiseError } from '../../lib/core/errors.ts';

/** A small generator of numbers (mulberry32): below `limit`, the same sequence for the same seed. */
export function seeded(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
}

export interface Damage {
  readonly what: string;
  readonly bytes: Uint8Array;
}

/** `count` damaged copies of `bytes`: in turn one bit flipped, cut short, and a byte replaced. */
export function* damages(bytes: Uint8Array, count: number, seed: number): Generator<Damage> {
  const below = seeded(seed);
  for (let i = 0; i < count; i++) {
    const at = below(bytes.length);
    if (i % 3 === 1) {
      yield { what: `seed ${seed}, case ${i}: cut at ${at}`, bytes: bytes.slice(0, at) };
      continue;
    }
    const copy = bytes.slice();
    copy[at] = i % 3 === 0 ? (copy[at] as number) ^ (1 << below(8)) : below(256);
    yield { what: `seed ${seed}, case ${i}: byte ${at} is ${copy[at]}`, bytes: copy };
  }
}

/** The error that `action` throws when it is one of this package's; undefined when it returns. */
export function typedError(action: () => unknown): DepthwiseError | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof DepthwiseError) return error;
    throw error;
  }
}

/** The error that a promise rejects with; it must be one of this package's. */
export async function rejection(promise: Promise<unknown>): Promise<DepthwiseError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof DepthwiseError) return error;
    throw error;
  }
  throw new Error('expected a rejection, but the promise was fulfilled');
}
