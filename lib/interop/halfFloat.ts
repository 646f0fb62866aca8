// 16-bit floating point patterns to numbers: IEEE 754 binary16 and bfloat16.

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
