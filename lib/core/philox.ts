// Philox4x32-10, the counter-based random generator: the same numbers in TypeScript and C++.

/*
 * A counter-based generator has no state: a random number is a function of (key, counter). So dropout,
 * shuffling and augmentation depend on seed, step and index alone, never on how many workers ran or where a
 * run was resumed.
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3.
 */

import { ArgumentError } from './errors.ts';

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9; // golden ratio
const WEYL_1 = 0xbb67ae85; // square root of 3, less 1
const ROUNDS = 10;

/** The high 32 bits of the 64-bit product of two unsigned 32-bit integers, as a signed 32-bit integer. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16); // below 2^32: (2^16 - 1)^2 + 2^16 - 1
  const cross = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(cross / 0x10000)) | 0;
}

/**
 * Philox4x32-10 without an allocation: writes the block of counter (c0, c1, c2, c3) under key (k0, k1) to
 * `out[0..3]`. Arguments are taken modulo 2^32.
 */
export function philox4x32Into(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): void {
  let x0 = c0 | 0;
  let x1 = c1 | 0;
  let x2 = c2 | 0;
  let x3 = c3 | 0;
  let key0 = k0 | 0;
  let key1 = k1 | 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, x0);
    const low0 = Math.imul(MULTIPLIER_0, x0);
    const high1 = multiplyHigh(MULTIPLIER_1, x2);
    const low1 = Math.imul(MULTIPLIER_1, x2);
    x0 = high1 ^ x1 ^ key0;
    x1 = low1;
    x2 = high0 ^ x3 ^ key1;
    x3 = low0;
    key0 = (key0 + WEYL_0) | 0;
    key1 = (key1 + WEYL_1) | 0;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
}

/**
 * One block of Philox4x32-10: four independent, uniformly distributed unsigned 32-bit integers.
 *
 * @param counter four unsigned 32-bit words, least significant first as in Random123
 * @param key two unsigned 32-bit words
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): Uint32Array {
  const out = new Uint32Array(4);
  philox4x32Into(out, counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
  return out;
}

/**
 * The Philox key of a seed: its low and its high 32 bits.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * @throws ArgumentError for anything else
 */
export function seedKey(seed: number): readonly [number, number] {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new ArgumentError(`seed: expected an integer from 0 to ${Number.MAX_SAFE_INTEGER}, got ${seed}`);
  }
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}

/** A random word as a number in [0, 1): its upper 24 bits, so that float32 holds it exactly. */
export function unitInterval(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/**
 * A uniformly distributed number in [0, 1), a multiple of 2^-24: the first word of the block of up to four
 * counters (absent ones are 0) under the key of `seed`.
 */
export function uniform(seed: number, ...counters: readonly number[]): number {
  if (counters.length > 4)
    throw new ArgumentError(`uniform: expected at most 4 counters, got ${counters.length}`);
  const [c0 = 0, c1 = 0, c2 = 0, c3 = 0] = counters;
  return unitInterval(philox4x32([c0, c1, c2, c3], seedKey(seed))[0]!);
}
