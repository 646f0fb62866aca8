// Flat memory: many tensors as one of one axis, for optimizers.

import { applyOne } from '../core/apply.ts';
import { aval, type Shape, sizeOf } from '../core/aval.ts';
import { bytesPerElement } from '../core/dtype.ts';
import { flatLayout } from '../core/flat.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { reshape, slice } from './shape.ts';
import { errorsOf } from './shapeRule.ts';

/** flatten(xs…) → y: the elements of each, in order, from a multiple of 32 elements on; zeros in between. */
export const flattenOp = defineOp<object>()({
  name: 'flatten',
  inputs: ['xs'],
  variadic: true,
  outputs: ['y'],
  infer: (inputs) => {
    const { typeError, argumentError } = errorsOf('flatten', ['xs'], inputs);
    const [first] = inputs;
    if (first === undefined) throw argumentError('expects at least one operand');
    const { dtype } = first;
    const other = inputs.find((x) => x.dtype !== dtype);
    if (other !== undefined) throw typeError(`xs expects ${dtype} as the first has, got ${other.dtype}`);
    return [aval([flatLayout(inputs.map(({ shape }) => shape)).size], dtype)];
  },
  places: (inputs) => {
    const { starts } = flatLayout(inputs.map(({ shape }) => shape));
    return starts.map((start, i) => start * bytesPerElement(inputs[i]!.dtype));
  },
  encode: () => [],
  vjp: { none: 'it moves gradients to where an optimizer reads them' },
});

/** Tensors of one type one after the other in one of one axis, each from a multiple of 32 elements on. */
export function flatten(xs: readonly Tensor[]): Tensor {
  return applyOne(flattenOp, xs, {});
}

/** The elements of a flat tensor from `start` on, as a tensor of `shape`. */
export const flatPart = (flat: Tensor, start: number, shape: Shape): Tensor =>
  reshape(slice(flat, [start], [sizeOf(shape)]), shape);
