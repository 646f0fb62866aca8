// 16-bit floating point: from patterns to numbers and back, by arithmetic. IEEE 754 binary16, and bfloat16.

import type { TensorData } from './dtype.ts';

/** The 16-bit floating types. */
export type Half = 'f16' | 'bf16';

/** Whether a type is a 16-bit floating one, whose patterns are held in a Uint16Array. */
export const isHalf = (dtype: string): dtype is Half => dtype === 'f16' || dtype === 'bf16';

/**
 * The value of a binary16 pattern (1 sign, 5 exponent, 10 fraction bits): exact, including subnormals and
 * NaN.
 */
export function float16ToFloat32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const word = new Uint32Array(1);
const wordAsFloat = new Float32Array(word.buffer);

/** The value of a bfloat16 pattern, which is the upper half of a float32. */
export function bfloat16ToFloat32(bits: number): number {
  word[0] = bits << 16;
  return wordAsFloat[0] as number;
}

/** Bits of the fraction, exponent of the smallest normal number, bias, pattern of infinity. */
const formats = { f16: [10, -14, 15, 0x7c00], bf16: [7, -126, 127, 0x7f80] } as const;

/** To the nearest whole number, ties to the even one. */
function roundEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

const float = new Float64Array(1);
const floatWords = new Uint32Array(float.buffer);

/** floor(log2(x)) of a normal float64, from its exponent bits. */
function exponentOf(x: number): number {
  float[0] = x;
  return (((floatWords[1] as number) >>> 20) & 0x7ff) - 1023;
}

/** The pattern of the nearest number, ties to even; beyond the largest it is infinity. */
export function halfBits(half: Half, value: number): number {
  const [fraction, least, bias, infinity] = formats[half];
  if (Number.isNaN(value)) return infinity + (1 << (fraction - 1));
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  const exponent = Math.max(least, exponentOf(size));
  // In units of the last place. A carry into the exponent comes by itself.
  const units = roundEven(size / 2 ** (exponent - fraction));
  const bits = units < 2 ** fraction ? units : ((exponent + bias) << fraction) + units - 2 ** fraction;
  return sign + Math.min(exponent > bias ? infinity : bits, infinity);
}

/** The numbers of patterns. */
export function fromHalf(half: Half, patterns: TensorData): Float64Array<ArrayBuffer> {
  const value = half === 'f16' ? float16ToFloat32 : bfloat16ToFloat32;
  return Float64Array.from(patterns, value);
}

/** The patterns of numbers, each rounded once. */
export function toHalf(half: Half, values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  return Uint16Array.from(values, (value) => halfBits(half, value));
}
