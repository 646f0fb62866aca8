// Softmax, and the two classification losses per example, with their gradients.

import { applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { sigmoid, sigmoidGrad } from './activation.ts';
import { multiply, scale, subtract } from './elementwise.ts';
import { sum } from './reduce.ts';
import { broadcast, castIfNeeded, fillBeside, reshape } from './shape.ts';
import { expectRange, shapeRule } from './shapeRule.ts';

/** softmax(x) → y over the last axis, computed after subtracting the row's maximum. */
export const softmaxOp = defineOp<object>()({
  name: 'softmax',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('softmax', { x: 'T[n,c]' }, ({ n, c }, { dtype }) => [aval([n, c], dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['x'],
    reads: { outputs: ['y'] },
    rule: ({ cotangents: { y: g }, outputs: { y } }) => ({ x: softmaxGrad(g!, y) }),
  },
});

/** softmaxGrad(g, y) → dx = y (g - sum over the row of g y). */
export const softmaxGradOp = defineOp<object>()({
  name: 'softmaxGrad',
  inputs: ['g', 'y'],
  outputs: ['dx'],
  infer: shapeRule('softmaxGrad', { g: 'T[n,c]', y: 'T[n,c]' }, ({ n, c }, { dtype }) => [
    aval([n, c], dtype),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['g', 'y'],
    reads: { inputs: ['g', 'y'] },
    // With <.,.> over a row: dx = y (g - <g, y>), so d<G, dx>/dy = G (g - <g, y>) - g <G, y>.
    rule: ({ cotangents: { dx }, inputs: { g, y }, needs }) => ({
      ...(needs('g') && { g: softmaxGrad(dx!, y) }),
      ...(needs('y') && {
        y: subtract(
          multiply(dx!, subtract(g, rowSum(multiply(g, y)))),
          multiply(g, rowSum(multiply(dx!, y))),
        ),
      }),
    }),
  },
});

const rowSum = (x: Tensor): Tensor => sum(x, { axes: 1, keepDims: true });

/** Attributes of the losses: how much of the target is spread evenly over the classes. */
export type SmoothingAttributes = { readonly smoothing: number };

/**
 * softmaxCrossEntropy(logits, labels) → loss = log sum exp(logits) - sum of target * logits, with
 * target = (1 - smoothing) onehot + smoothing / c. Szegedy et al., 2015, arXiv 1512.00567, section 7.
 */
export const softmaxCrossEntropyOp = defineOp<SmoothingAttributes>()({
  name: 'softmaxCrossEntropy',
  inputs: ['logits', 'labels'],
  outputs: ['loss'],
  infer: shapeRule(
    'softmaxCrossEntropy',
    { logits: 'T[n,c]', labels: 'i32[n]' },
    ({ n }, match, { smoothing }) => {
      expectRange(match, 'smoothing', smoothing, 0, 1);
      return [aval([n], match.accumulator)];
    },
  ),
  encode: ({ smoothing }) => [smoothing],
  vjp: {
    differentiates: ['logits'],
    reads: { inputs: ['logits', 'labels'] },
    rule: ({ attributes, cotangents: { loss: g }, inputs: { logits, labels } }) => ({
      logits: softmaxCrossEntropyGrad(g!, logits, labels, attributes),
    }),
  },
});

/** softmaxCrossEntropyGrad(g, logits, labels) → dlogits = g (softmax(logits) - target). */
export const softmaxCrossEntropyGradOp = defineOp<SmoothingAttributes>()({
  name: 'softmaxCrossEntropyGrad',
  inputs: ['g', 'logits', 'labels'],
  outputs: ['dlogits'],
  infer: shapeRule(
    'softmaxCrossEntropyGrad',
    { g: 'A[n]', logits: 'T[n,c]', labels: 'i32[n]' },
    ({ n, c }, match, { smoothing }) => {
      expectRange(match, 'smoothing', smoothing, 0, 1);
      return [aval([n, c], match.dtype)];
    },
  ),
  encode: ({ smoothing }) => [smoothing],
  vjp: {
    differentiates: ['g', 'logits'],
    reads: { inputs: ['g', 'logits', 'labels'] },
    rule: ({ attributes, cotangents: { dlogits }, inputs: { g, logits, labels }, needs }) => ({
      ...(needs('g') && {
        g: alongRows(dlogits!, softmaxCrossEntropyGrad(onesLike(g), logits, labels, attributes), g),
      }),
      ...(needs('logits') && { logits: softmaxGrad(timesRows(dlogits!, g), softmax(logits)) }),
    }),
  },
});

/**
 * sigmoidCrossEntropy(logits x, targets) → loss: the mean over c of max(x, 0) - x t + log(1 + exp(-|x|)),
 * with t = targets (1 - smoothing) + smoothing / 2.
 */
export const sigmoidCrossEntropyOp = defineOp<SmoothingAttributes>()({
  name: 'sigmoidCrossEntropy',
  inputs: ['logits', 'targets'],
  outputs: ['loss'],
  infer: shapeRule(
    'sigmoidCrossEntropy',
    { logits: 'T[n,c]', targets: 'A[n,c]' },
    ({ n }, match, { smoothing }) => {
      expectRange(match, 'smoothing', smoothing, 0, 1);
      return [aval([n], match.accumulator)];
    },
  ),
  encode: ({ smoothing }) => [smoothing],
  vjp: {
    differentiates: ['logits'],
    reads: { inputs: ['logits', 'targets'] },
    rule: ({ attributes, cotangents: { loss: g }, inputs: { logits, targets } }) => ({
      logits: sigmoidCrossEntropyGrad(g!, logits, targets, attributes),
    }),
  },
});

/** sigmoidCrossEntropyGrad(g, logits, targets) → dlogits = g / c (sigmoid(logits) - t). */
export const sigmoidCrossEntropyGradOp = defineOp<SmoothingAttributes>()({
  name: 'sigmoidCrossEntropyGrad',
  inputs: ['g', 'logits', 'targets'],
  outputs: ['dlogits'],
  infer: shapeRule(
    'sigmoidCrossEntropyGrad',
    { g: 'A[n]', logits: 'T[n,c]', targets: 'A[n,c]' },
    ({ n, c }, match, { smoothing }) => {
      expectRange(match, 'smoothing', smoothing, 0, 1);
      return [aval([n, c], match.dtype)];
    },
  ),
  encode: ({ smoothing }) => [smoothing],
  vjp: {
    differentiates: ['g', 'logits'],
    reads: { inputs: ['g', 'logits', 'targets'] },
    rule: ({ attributes, cotangents: { dlogits }, inputs: { g, logits, targets }, needs }) => ({
      ...(needs('g') && {
        g: alongRows(dlogits!, sigmoidCrossEntropyGrad(onesLike(g), logits, targets, attributes), g),
      }),
      ...(needs('logits') && {
        logits: sigmoidGrad(scale(timesRows(dlogits!, g), 1 / logits.shape[1]!), sigmoid(logits)),
      }),
    }),
  },
});

const onesLike = (x: Tensor): Tensor => fillBeside(x, x.shape, 1);

/** Row sums of a · b, in the type of `like` [n]. */
const alongRows = (a: Tensor, b: Tensor, like: Tensor): Tensor =>
  castIfNeeded(sum(multiply(a, b), { axes: 1 }), like.dtype);

/** Every row of x [n, c] times its element of g [n]. */
const timesRows = (x: Tensor, g: Tensor): Tensor =>
  multiply(x, broadcast(reshape(castIfNeeded(g, x.dtype), [g.size, 1]), x.shape));

/** Softmax over the last axis: x [n, c]. */
export function softmax(x: Tensor): Tensor {
  return applyOne(softmaxOp, [x], {});
}

/** Gradient of {@link softmax} from its output `y`. */
export function softmaxGrad(g: Tensor, y: Tensor): Tensor {
  return applyOne(softmaxGradOp, [g, y], {});
}

/** Options of the losses. */
export interface LossOptions {
  /** Label smoothing, in [0, 1). Default 0. */
  readonly smoothing?: number;
}

/**
 * Cross-entropy of softmax(logits) against one class per example.
 * @param logits [n, c]
 * @param labels i32 [n], from 0 to c - 1; another value is an error of the device, thrown at the next read
 * @returns the loss of each example, [n], in nats
 */
export function softmaxCrossEntropy(
  logits: Tensor,
  labels: Tensor,
  { smoothing = 0 }: LossOptions = {},
): Tensor {
  return applyOne(softmaxCrossEntropyOp, [logits, labels], { smoothing });
}

/** Gradient of {@link softmaxCrossEntropy}: g [n] → [n, c]. */
export function softmaxCrossEntropyGrad(
  g: Tensor,
  logits: Tensor,
  labels: Tensor,
  { smoothing = 0 }: LossOptions = {},
): Tensor {
  return applyOne(softmaxCrossEntropyGradOp, [g, logits, labels], { smoothing });
}

/**
 * Cross-entropy of sigmoid(logits) against independent targets, for several labels per example.
 * @param logits [n, c]
 * @param targets [n, c], from 0 to 1, of the accumulator type
 * @returns the mean over the classes for each example, [n], in nats
 */
export function sigmoidCrossEntropy(
  logits: Tensor,
  targets: Tensor,
  { smoothing = 0 }: LossOptions = {},
): Tensor {
  return applyOne(sigmoidCrossEntropyOp, [logits, targets], { smoothing });
}

/** Gradient of {@link sigmoidCrossEntropy}: g [n] → [n, c]. */
export function sigmoidCrossEntropyGrad(
  g: Tensor,
  logits: Tensor,
  targets: Tensor,
  { smoothing = 0 }: LossOptions = {},
): Tensor {
  return applyOne(sigmoidCrossEntropyGradOp, [g, logits, targets], { smoothing });
}
