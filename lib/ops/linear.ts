// Fully connected layers: the product with a weight, its two gradients, and the bias.

import { applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import { scope } from '../core/scope.ts';
import type { Tensor } from '../core/tensor.ts';
import { sum } from './reduce.ts';
import { shapeRule } from './shapeRule.ts';

/** linear(x, w) → y = x wᵀ. */
export const linearOp = defineOp<object>()({
  name: 'linear',
  inputs: ['x', 'w'],
  outputs: ['y'],
  infer: shapeRule('linear', { x: 'T[n,i]', w: 'T[o,i]' }, ({ n, o }, { dtype }) => [aval([n, o], dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['x', 'w'],
    reads: { inputs: ['x', 'w'] },
    rule: ({ cotangents: { y: g }, inputs: { x, w }, needs }) => ({
      ...(needs('x') && { x: linearInputGrad(g!, w) }),
      ...(needs('w') && { w: linearWeightGrad(x, g!) }),
    }),
  },
});

/** linearInputGrad(g, w) → dx = g w. */
export const linearInputGradOp = defineOp<object>()({
  name: 'linearInputGrad',
  inputs: ['g', 'w'],
  outputs: ['dx'],
  infer: shapeRule('linearInputGrad', { g: 'T[n,o]', w: 'T[o,i]' }, ({ n, i }, { dtype }) => [
    aval([n, i], dtype),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['g', 'w'],
    reads: { inputs: ['g', 'w'] },
    rule: ({ cotangents: { dx }, inputs: { g, w }, needs }) => ({
      ...(needs('g') && { g: product(dx!, w) }),
      ...(needs('w') && { w: linearWeightGrad(dx!, g) }),
    }),
  },
});

/** linearWeightGrad(x, g) → dw = gᵀ x. */
export const linearWeightGradOp = defineOp<object>()({
  name: 'linearWeightGrad',
  inputs: ['x', 'g'],
  outputs: ['dw'],
  infer: shapeRule('linearWeightGrad', { x: 'T[n,i]', g: 'T[n,o]' }, ({ i, o }, { dtype }) => [
    aval([o, i], dtype),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['x', 'g'],
    reads: { inputs: ['x', 'g'] },
    rule: ({ cotangents: { dw }, inputs: { x, g }, needs }) => ({
      ...(needs('x') && { x: linearInputGrad(g, dw!) }),
      ...(needs('g') && { g: product(x, dw!) }),
    }),
  },
});

/** addBias(x, b) → y = x + b, along the last axis. */
export const addBiasOp = defineOp<object>()({
  name: 'addBias',
  inputs: ['x', 'b'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('addBias', { x: 'T[...,c]', b: 'T[c]' }, ({ c }, { lead, dtype }) => [
    aval([...lead, c], dtype),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['x', 'b'],
    reads: {},
    rule: ({ cotangents: { y: g }, inputAvals: [x], needs }) => ({
      x: g!,
      ...(needs('b') && { b: sum(g!, { axes: x!.shape.slice(1).map((_, axis) => axis) }) }),
    }),
  },
});

function product(x: Tensor, w: Tensor): Tensor {
  return applyOne(linearOp, [x, w], {});
}

/**
 * x wᵀ, plus a bias if there is one.
 * @param x [n, in]
 * @param w [out, in]
 * @param b [out]
 * @returns [n, out]
 */
export function linear(x: Tensor, w: Tensor, b?: Tensor): Tensor {
  return b === undefined ? product(x, w) : scope(() => addBias(product(x, w), b));
}

/** Gradient of {@link linear} with respect to x: g [n, out], w [out, in] → [n, in]. */
export function linearInputGrad(g: Tensor, w: Tensor): Tensor {
  return applyOne(linearInputGradOp, [g, w], {});
}

/** Gradient of {@link linear} with respect to w: x [n, in], g [n, out] → [out, in]. */
export function linearWeightGrad(x: Tensor, g: Tensor): Tensor {
  return applyOne(linearWeightGradOp, [x, g], {});
}

/** x + b along the last axis: x [..., c], b [c]. */
export function addBias(x: Tensor, b: Tensor): Tensor {
  return applyOne(addBiasOp, [x, b], {});
}
