// Sums and means over axes.

import { applyOne } from '../core/apply.ts';
import { aval, type Shape, sameShape } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import { scope } from '../core/scope.ts';
import type { Tensor } from '../core/tensor.ts';
import { scale } from './elementwise.ts';
import { broadcast, reshape } from './shape.ts';
import { shapeRule } from './shapeRule.ts';

/** Attributes of sum: `axes` in ascending order; `keepDims` leaves them with extent 1. */
export type SumAttributes = { readonly axes: readonly number[]; readonly keepDims: boolean };

const reduced = (shape: Shape, { axes, keepDims }: SumAttributes): Shape =>
  keepDims
    ? shape.map((extent, i) => (axes.includes(i) ? 1 : extent))
    : shape.filter((_, i) => !axes.includes(i));

/** sum(x) → y, of x's type; accumulated in the accumulator type. */
export const sumOp = defineOp<SumAttributes>()({
  name: 'sum',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('sum', { x: 'T[...]' }, (_, { lead, dtype, argumentError }, a) => {
    const ascending = a.axes.every((axis, i) => Number.isInteger(axis) && axis > (a.axes[i - 1] ?? -1));
    if (!ascending || (a.axes.at(-1) ?? -1) >= lead.length) {
      throw argumentError(
        `axes expects different ones from 0 to ${lead.length - 1} in ascending order, got [${a.axes}]`,
      );
    }
    return [aval(reduced(lead, a), dtype)];
  }),
  encode: ({ axes, keepDims }) => [Number(keepDims), ...axes],
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ attributes: { axes }, cotangents: { y: g }, inputAvals: [x] }) => ({
      x: broadcast(reshape(g!, reduced(x!.shape, { axes, keepDims: true })), x!.shape),
    }),
  },
});

/** Options of {@link sum} and {@link mean}. */
export interface ReduceOptions {
  /** One axis or several, negative ones counted from the end. Default: all. */
  readonly axes?: number | readonly number[];
  /** Leave reduced axes with extent 1. Default false. */
  readonly keepDims?: boolean;
}

function resolve(x: Tensor, { axes, keepDims = false }: ReduceOptions): SumAttributes {
  const rank = x.shape.length;
  if (axes === undefined) return { axes: x.shape.map((_, i) => i), keepDims };
  const list = (typeof axes === 'number' ? [axes] : axes).map((axis) => (axis < 0 ? axis + rank : axis));
  return { axes: list.toSorted((a, b) => a - b), keepDims };
}

/** Sum over axes, by default over all, to a scalar. The result has x's type. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  return applyOne(sumOp, [x], resolve(x, options));
}

/** Mean over axes, by default over all, to a scalar. The mean of nothing is NaN. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  const count = resolve(x, options).axes.reduce((product, axis) => product * (x.shape[axis] ?? 1), 1);
  return scope(() => scale(sum(x, options), 1 / count));
}

/** Sums `g` down to `shape`, from which it was broadcast. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  const missing = g.shape.length - shape.length;
  const axes = g.shape.flatMap((extent, i) => (i < missing || shape[i - missing] !== extent ? [i] : []));
  const total = axes.length === 0 ? g : sum(g, { axes });
  return sameShape(total.shape, shape) ? total : reshape(total, shape);
}
