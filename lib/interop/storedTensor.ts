// A tensor as it lies in a file: type of number, shape and elements. Knows no format and no model.

import { bfloat16ToFloat32, float16ToFloat32 } from '../core/half.ts';

/** What each stored type is held as in JavaScript; `f16` and `bf16` are 16-bit patterns, `bool` is 0 or 1. */
const storage = {
  f64: { bytes: 8, array: Float64Array },
  f32: { bytes: 4, array: Float32Array },
  f16: { bytes: 2, array: Uint16Array },
  bf16: { bytes: 2, array: Uint16Array },
  i64: { bytes: 8, array: BigInt64Array },
  i32: { bytes: 4, array: Int32Array },
  i16: { bytes: 2, array: Int16Array },
  i8: { bytes: 1, array: Int8Array },
  u64: { bytes: 8, array: BigUint64Array },
  u32: { bytes: 4, array: Uint32Array },
  u16: { bytes: 2, array: Uint16Array },
  u8: { bytes: 1, array: Uint8Array },
  bool: { bytes: 1, array: Uint8Array },
} as const;

/** Types of number that files may hold. Wider than the types that can be computed with. */
export type StoredDType = keyof typeof storage;

/** Typed arrays that hold stored elements. */
export type StoredData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | BigUint64Array
  | Uint32Array
  | Uint16Array
  | Uint8Array;

/** Elements in C order (the last axis is contiguous); `data.length` is the product of `shape`. */
export interface StoredTensor {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly data: StoredData;
}

/** Tensors by name, in no meaningful order. */
export type StoredTensors = Map<string, StoredTensor>;

/** A tensor of weights: float32 elements in C order. */
export interface WeightTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Bytes of one element of `dtype`. */
export const storedBytes = (dtype: StoredDType): number => storage[dtype].bytes;

/** Number of elements of a shape; 1 for a scalar. */
export const elementCount = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** The bytes behind a stored tensor, without a copy. */
export const bytesOf = (data: StoredData): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/**
 * Views `bytes` as elements of `dtype`, without a copy where the alignment allows it.
 * The length must be a whole number of elements. Elements are little-endian, as on every machine supported.
 */
export function viewStored(dtype: StoredDType, bytes: Uint8Array): StoredData {
  const { bytes: size, array } = storage[dtype];
  // Not `slice`, which of a Buffer copies nothing.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size);
}

/**
 * The elements as float32: `f32` as it is (not copied), `f16` and `bf16` exactly, everything else rounded to
 * the nearest float32.
 */
export function toFloat32(tensor: StoredTensor): Float32Array {
  const { dtype, data } = tensor;
  if (data instanceof Float32Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number);
  if (dtype === 'f16') return Float32Array.from(data, float16ToFloat32);
  if (dtype === 'bf16') return Float32Array.from(data, bfloat16ToFloat32);
  return Float32Array.from(data);
}
