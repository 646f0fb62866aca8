// Types of numbers: names, sizes, typed arrays, and the codes that native code uses for them.

import { DTypeError } from './errors.ts';

/** Codes are part of the native interface (`DW_F32` … in depthwise.h): append, never renumber. */
const table = {
  f32: { code: 0, bytes: 4, floating: true, array: Float32Array },
  f64: { code: 1, bytes: 8, floating: true, array: Float64Array },
  f16: { code: 2, bytes: 2, floating: true, array: Uint16Array },
  bf16: { code: 3, bytes: 2, floating: true, array: Uint16Array },
  i32: { code: 4, bytes: 4, floating: false, array: Int32Array },
  u8: { code: 5, bytes: 1, floating: false, array: Uint8Array },
} as const;

/** `f64` exists on the reference backend only; `f16` and `bf16` are held as 16-bit patterns in JavaScript. */
export type DType = keyof typeof table;

/** The types that a network's activations can have. */
export type ComputeType = 'f32' | 'bf16' | 'f16';

/** The typed arrays that hold tensor data on the JavaScript side. */
export type TensorData = Float32Array | Float64Array | Uint16Array | Int32Array | Uint8Array;

export const dtypes = Object.keys(table) as readonly DType[];

export const bytesPerElement = (dtype: DType): number => table[dtype].bytes;
export const dtypeCode = (dtype: DType): number => table[dtype].code;
export const isFloating = (dtype: DType): boolean => table[dtype].floating;

/** The type in which sums, statistics and losses over `dtype` are kept: f32, or f64 for f64. */
export const accumulatorType = (dtype: DType): DType => (dtype === 'f64' ? 'f64' : 'f32');

/** A zeroed typed array of `length` elements for `dtype`. */
export const arrayFor = (dtype: DType, length: number): TensorData => new table[dtype].array(length);

/** Whether data are a typed array as {@link arrayFor} makes it. */
export const isArrayFor = (dtype: DType, data: TensorData | readonly number[]): data is TensorData =>
  data.constructor === table[dtype].array;

/** Views bytes (aligned, of the right length) as elements of `dtype`. */
export function viewAs(dtype: DType, bytes: Uint8Array): TensorData {
  const { array, bytes: size } = table[dtype];
  if (bytes.byteLength % size !== 0) {
    throw new DTypeError(`viewAs: ${bytes.byteLength} bytes are not a whole number of ${dtype} elements`);
  }
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size);
}

/** The type of number a typed array holds; a Uint16Array is ambiguous and needs an explicit dtype. */
export function dtypeOf(data: TensorData | readonly number[]): DType {
  if (data instanceof Float32Array || Array.isArray(data)) return 'f32';
  if (data instanceof Float64Array) return 'f64';
  if (data instanceof Int32Array) return 'i32';
  if (data instanceof Uint8Array) return 'u8';
  throw new DTypeError('tensor: a Uint16Array needs dtype "f16" or "bf16" beside it');
}
