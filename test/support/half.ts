// Numbers as 16-bit patterns, rounded to the nearest with ties to even: by arithmetic, unlike the native code.

import type { TensorData } from '../../lib/core/dtype.ts';
import { bfloat16ToFloat32, float16ToFloat32 } from '../../lib/core/half.ts';

export type Half = 'f16' | 'bf16';

/** Fraction bits, smallest normal exponent, bias. */
const formats = { f16: [10, -14, 15], bf16: [7, -126, 127] } as const;

/** The distance from 1 to the next number, halved: what rounding loses at most, as a part of the number. */
export const roundoff = (half: Half): number => 2 ** -(formats[half][0] + 1);

const roundEven = (x: number): number => {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
};

/** The pattern of a number that does not overflow. */
export function halfBits(half: Half, value: number): number {
  const [fraction, least, bias] = formats[half];
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === 0) return sign;
  const exponent = Math.max(least, Math.floor(Math.log2(size)));
  // As a multiple of the last place; the carry into the next exponent comes by itself.
  const units = roundEven(size / 2 ** (exponent - fraction));
  return sign + (units < 2 ** fraction ? units : ((exponent + bias) << fraction) + units - 2 ** fraction);
}

/** The number of a pattern. */
export const halfValue = (half: Half, bits: number): number =>
  half === 'f16' ? float16ToFloat32(bits) : bfloat16ToFloat32(bits);

export const toHalf = (half: Half, values: ArrayLike<number>): Uint16Array =>
  Uint16Array.from(values, (value) => halfBits(half, value));

export const fromHalf = (half: Half, data: TensorData): Float64Array =>
  Float64Array.from(data, (bits) => halfValue(half, bits));
