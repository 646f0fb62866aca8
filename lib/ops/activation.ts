// Activations and their gradients, written in terms of the output, so that the input need not stay.

import { applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { add, multiply, scale, subtract } from './elementwise.ts';
import { expectRange, shapeRule } from './shapeRule.ts';

/** relu(x) → y = max(x, 0). */
export const reluOp = defineOp<object>()({
  name: 'relu',
  inputs: ['x'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('relu', { x: 'T[...]' }, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['x'],
    reads: { outputs: ['y'] },
    rule: ({ cotangents: { y: g }, outputs: { y } }) => ({ x: reluGrad(g!, y) }),
  },
});

/** reluGrad(g, y) → dx = y > 0 ? g : 0. Constant in y wherever it has a derivative. */
export const reluGradOp = defineOp<object>()({
  name: 'reluGrad',
  inputs: ['g', 'y'],
  outputs: ['dx'],
  inPlace: ['g'],
  infer: shapeRule('reluGrad', { g: 'T[...]', y: 'T[...]' }, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['g'],
    reads: { inputs: ['y'] },
    rule: ({ cotangents: { dx }, inputs: { y } }) => ({ g: reluGrad(dx!, y) }),
  },
});

/** Attributes of elu: the value -alpha is approached for small x. */
export type EluAttributes = { readonly alpha: number };

/** elu(x) → y = x > 0 ? x : alpha (exp(x) - 1). Clevert et al., 2015, arXiv 1511.07289, equation 15. */
export const eluOp = defineOp<EluAttributes>()({
  name: 'elu',
  inputs: ['x'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('elu', { x: 'T[...]' }, (_, match, { alpha }) => {
    expectRange(match, 'alpha', alpha, 0);
    return [aval(match.lead, match.dtype)];
  }),
  encode: ({ alpha }) => [alpha],
  vjp: {
    differentiates: ['x'],
    reads: { outputs: ['y'] },
    rule: ({ attributes, cotangents: { y: g }, outputs: { y } }) => ({ x: eluGrad(g!, y, attributes) }),
  },
});

/** eluGrad(g, y) → dx = y > 0 ? g : g (y + alpha). */
export const eluGradOp = defineOp<EluAttributes>()({
  name: 'eluGrad',
  inputs: ['g', 'y'],
  outputs: ['dx'],
  inPlace: ['g'],
  infer: shapeRule('eluGrad', { g: 'T[...]', y: 'T[...]' }, (_, match, { alpha }) => {
    expectRange(match, 'alpha', alpha, 0);
    return [aval(match.lead, match.dtype)];
  }),
  encode: ({ alpha }) => [alpha],
  vjp: {
    differentiates: ['g', 'y'],
    reads: { inputs: ['g', 'y'] },
    rule: ({ attributes, cotangents: { dx }, inputs: { g, y }, needs }) => ({
      ...(needs('g') && { g: eluGrad(dx!, y, attributes) }),
      // d/dy is g where y <= 0, else 0: what reluGrad leaves of g dx.
      ...(needs('y') && { y: whereNotPositive(multiply(g, dx!), y) }),
    }),
  },
});

const whereNotPositive = (x: Tensor, y: Tensor): Tensor => subtract(x, reluGrad(x, y));

/** sigmoid(x) → y = 1 / (1 + exp(-x)). */
export const sigmoidOp = defineOp<object>()({
  name: 'sigmoid',
  inputs: ['x'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('sigmoid', { x: 'T[...]' }, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['x'],
    reads: { outputs: ['y'] },
    rule: ({ cotangents: { y: g }, outputs: { y } }) => ({ x: sigmoidGrad(g!, y) }),
  },
});

/** sigmoidGrad(g, y) → dx = g y (1 - y). */
export const sigmoidGradOp = defineOp<object>()({
  name: 'sigmoidGrad',
  inputs: ['g', 'y'],
  outputs: ['dx'],
  inPlace: ['g'],
  infer: shapeRule('sigmoidGrad', { g: 'T[...]', y: 'T[...]' }, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['g', 'y'],
    reads: { inputs: ['g', 'y'] },
    rule: ({ cotangents: { dx }, inputs: { g, y }, needs }) => ({
      ...(needs('g') && { g: sigmoidGrad(dx!, y) }),
      ...(needs('y') && { y: multiply(multiply(g, dx!), add(scale(y, -2), 1)) }),
    }),
  },
});

/** max(x, 0) by elements. */
export function relu(x: Tensor): Tensor {
  return applyOne(reluOp, [x], {});
}

/** Gradient of {@link relu} from its output `y`: `g` where y > 0, else 0. */
export function reluGrad(g: Tensor, y: Tensor): Tensor {
  return applyOne(reluGradOp, [g, y], {});
}

/** Exponential linear unit: x where positive, else alpha (exp(x) - 1). Default alpha 1. */
export function elu(x: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor {
  return applyOne(eluOp, [x], { alpha });
}

/** Gradient of {@link elu} from its output `y`. Default alpha 1. */
export function eluGrad(g: Tensor, y: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor {
  return applyOne(eluGradOp, [g, y], { alpha });
}

/** 1 / (1 + exp(-x)) by elements. */
export function sigmoid(x: Tensor): Tensor {
  return applyOne(sigmoidOp, [x], {});
}

/** Gradient of {@link sigmoid} from its output `y`. */
export function sigmoidGrad(g: Tensor, y: Tensor): Tensor {
  return applyOne(sigmoidGradOp, [g, y], {});
}
