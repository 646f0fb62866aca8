// Abstract values: what is known of a tensor without its data: a shape and a type.

import { bytesPerElement, type DType, isFloating } from './dtype.ts';
import { ShapeError } from './errors.ts';

/** Extents, outermost first: images are [n, height, width, channels]. */
export type Shape = readonly number[];

/** Shape and type of a tensor. Layout is NHWC, row-major and dense. */
export interface Aval {
  /** Extents, outermost first; at most six. */
  readonly shape: Shape;
  /** Type of the elements. */
  readonly dtype: DType;
}

/** The native side holds shapes in fixed arrays of this rank. */
export const maxRank = 6;

export const aval = (shape: Shape, dtype: DType): Aval => ({ shape, dtype });

/** Number of elements; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

export const byteLength = (a: Aval): number => sizeOf(a.shape) * bytesPerElement(a.dtype);

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((extent, axis) => extent === b[axis]);

/** `f32[32,35,35,96]`, as errors and printed programs show it. */
export const showAval = (a: Aval): string => `${a.dtype}[${a.shape.join(',')}]`;

/** `x f32[2,3], w f32[4,3]` for an error message. */
export const showNamed = (names: readonly string[], avals: readonly Aval[]): string =>
  avals.map((a, i) => `${names[Math.min(i, names.length - 1)] ?? 'x'} ${showAval(a)}`).join(', ');

/** Throws unless every extent is a whole number of at least 0 and the rank is at most {@link maxRank}. */
export function checkShape(what: string, shape: Shape): void {
  if (shape.length > maxRank) throw new ShapeError(`${what}: rank ${shape.length} is above ${maxRank}`);
  for (const extent of shape) {
    if (!Number.isSafeInteger(extent) || extent < 0) {
      throw new ShapeError(`${what}: expected whole extents of at least 0, got [${shape.join(',')}]`);
    }
  }
}

/** What a loss is: one floating number. */
export const isScalarFloat = (a: Aval): boolean => a.shape.length === 0 && isFloating(a.dtype);
