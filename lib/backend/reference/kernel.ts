// What a reference kernel is: plain loops from operands to operands, attributes as encoded numbers.

import { type Aval, type Shape, sizeOf } from '../../core/aval.ts';
import { arrayFor, type DType, type TensorData } from '../../core/dtype.ts';
import { isHalf } from '../../core/half.ts';

/**
 * The elements of one operand. Storing into `data` rounds to its type; sums are kept in float64. Those of 16-bit types
 * are numbers here, in float64, and rounded when the kernel has run.
 */
export interface Operand {
  readonly data: TensorData;
  readonly shape: Shape;
  readonly dtype: DType;
}

/**
 * Computes the outputs, which start at zero and share no memory with the inputs. Attributes are the numbers
 * of the op table, as native code gets them. Throws what a device would report.
 */
export type Kernel = (
  inputs: readonly Operand[],
  outputs: readonly Operand[],
  attributes: readonly number[],
) => void;

export const zeroed = ({ shape, dtype }: Aval): Operand => ({
  data: arrayFor(isHalf(dtype) ? 'f64' : dtype, sizeOf(shape)),
  shape,
  dtype,
});

/** Operand `i`; programs are checked before they are prepared, so a missing one is a bug here. */
export function operand(operands: readonly Operand[], i: number): Operand {
  const found = operands[i];
  if (found === undefined) throw new RangeError(`reference: no operand ${i} of ${operands.length}`);
  return found;
}

/** A kernel that computes every element of its one output from the same element of its inputs. */
export const elementwise =
  (f: (values: readonly number[], attributes: readonly number[]) => number): Kernel =>
  (inputs, outputs, attributes) => {
    const y = operand(outputs, 0).data;
    for (let i = 0; i < y.length; i++) {
      y[i] = f(
        inputs.map(({ data }) => data[i]!),
        attributes,
      );
    }
  };

/** Steps of a row-major index per axis. */
export const stridesOf = (shape: Shape): number[] => shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));

/** Calls `visit` for every index of `shape`, in row-major order, with its position. */
export function forEachIndex(shape: Shape, visit: (index: readonly number[], at: number) => void): void {
  const index = shape.map(() => 0);
  for (let at = 0; at < sizeOf(shape); at++) {
    visit(index, at);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]! += 1;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}

/** Row-major position of an index. */
export const positionOf = (index: readonly number[], strides: readonly number[]): number =>
  index.reduce((at, i, axis) => at + i * strides[axis]!, 0);
