// Batch normalization in the pieces that fuse: sums, statistics, an affine map; and their gradients.

import { apply, applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import { scope } from '../core/scope.ts';
import type { Tensor } from '../core/tensor.ts';
import { scale as scaleBy } from './elementwise.ts';
import { fillBeside } from './shape.ts';
import { expectRange, expectShare, expectWhole, shapeRule } from './shapeRule.ts';

/*
 * Ioffe, Szegedy: "Batch Normalization", 2015, arXiv 1502.03167, algorithm 1, written with sums, so that a
 * pass over x gives the statistics and a second one applies them:
 *   mean = sum / count, variance = sumSquares / count - mean², r = 1 / sqrt(variance + epsilon),
 *   y = x * scale + shift with scale = gamma r, shift = beta - mean scale.
 * Channels are the last axis. Sums, statistics and parameters have the accumulator type.
 */

/** channelSums(x) → sum, sumSquares. */
export const channelSumsOp = defineOp<object>()({
  name: 'channelSums',
  inputs: ['x'],
  outputs: ['sum', 'sumSquares'],
  infer: shapeRule('channelSums', { x: 'T[...,c]' }, ({ c }, { accumulator }) => [
    aval([c], accumulator),
    aval([c], accumulator),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['x'],
    reads: { inputs: ['x'] },
    // dx = 2 x gSumSquares + gSum
    rule: ({ cotangents: { sum, sumSquares }, inputs: { x } }) =>
      sumSquares === undefined
        ? { x: channelAffine(x, zerosLike(sum!), sum!) }
        : { x: channelAffine(x, scaleBy(sumSquares, 2), sum ?? zerosLike(sumSquares)) },
  },
});

const zerosLike = (x: Tensor): Tensor => fillBeside(x, x.shape, 0);

/**
 * Attributes of batchNormFinalize. `count`: elements per channel. `momentum`: how much of the running
 * statistics stays. `unbiased`: whether the running variance takes the batch's variance times
 * count / (count - 1).
 */
export type BatchNormAttributes = {
  readonly count: number;
  readonly epsilon: number;
  readonly momentum: number;
  readonly unbiased: boolean;
};

/**
 * batchNormFinalize(sum, sumSquares, gamma, beta, running statistics) → statistics, scale and shift, new
 * running statistics. The variance is clamped at 0, below which only rounding can take it; gradients ignore
 * the clamp. They pass through `scale` and `shift` alone.
 */
export const batchNormFinalizeOp = defineOp<BatchNormAttributes>()({
  name: 'batchNormFinalize',
  inputs: ['sum', 'sumSquares', 'gamma', 'beta', 'runningMean', 'runningVariance'],
  outputs: ['mean', 'inverseDeviation', 'scale', 'shift', 'newRunningMean', 'newRunningVariance'],
  inPlace: [undefined, undefined, undefined, undefined, 'runningMean', 'runningVariance'],
  infer: shapeRule(
    'batchNormFinalize',
    {
      sum: 'A[c]',
      sumSquares: 'A[c]',
      gamma: 'A[c]',
      beta: 'A[c]',
      runningMean: 'A[c]',
      runningVariance: 'A[c]',
    },
    ({ c }, match, { count, epsilon, momentum, unbiased }) => {
      expectWhole(match, 'count', [count], unbiased ? 2 : 1);
      expectRange(match, 'epsilon', epsilon, 0);
      expectShare(match, 'momentum', momentum);
      return Array.from({ length: 6 }, () => aval([c], match.accumulator));
    },
  ),
  encode: ({ count, epsilon, momentum, unbiased }) => [count, epsilon, momentum, Number(unbiased)],
  vjp: {
    differentiates: ['sum', 'sumSquares', 'gamma', 'beta'],
    through: ['scale', 'shift'],
    reads: { inputs: ['gamma'], outputs: ['mean', 'inverseDeviation'] },
    rule: ({ attributes, cotangents, inputs: { gamma }, outputs: { mean, inverseDeviation } }) => {
      const { scale = zerosLike(gamma), shift = zerosLike(gamma) } = cotangents;
      const count = attributes.count;
      const grads = apply(batchNormFinalizeGradOp, [scale, shift, mean, inverseDeviation, gamma], { count });
      const [sum, sumSquares, dGamma, dBeta] = grads as [Tensor, Tensor, Tensor, Tensor];
      return { sum, sumSquares, gamma: dGamma, beta: dBeta };
    },
  },
});

/**
 * batchNormFinalizeGrad(gScale, gShift, mean, inverseDeviation r, gamma) → dSum, dSumSquares, dGamma, dBeta:
 *   dGamma = r (gScale - mean gShift), dBeta = gShift,
 *   dVariance = -1/2 gamma r² dGamma, dMean = -gamma r gShift - 2 mean dVariance,
 *   dSum = dMean / count, dSumSquares = dVariance / count.
 */
export const batchNormFinalizeGradOp = defineOp<{ readonly count: number }>()({
  name: 'batchNormFinalizeGrad',
  inputs: ['gScale', 'gShift', 'mean', 'inverseDeviation', 'gamma'],
  outputs: ['dSum', 'dSumSquares', 'dGamma', 'dBeta'],
  infer: shapeRule(
    'batchNormFinalizeGrad',
    { gScale: 'A[c]', gShift: 'A[c]', mean: 'A[c]', inverseDeviation: 'A[c]', gamma: 'A[c]' },
    ({ c }, match, { count }) => {
      expectWhole(match, 'count', [count], 1);
      return Array.from({ length: 4 }, () => aval([c], match.accumulator));
    },
  ),
  encode: ({ count }) => [count],
  vjp: { none: 'second derivatives of batch normalization are not provided' },
});

/** channelAffine(x, scale, shift) → y = x scale + shift, per channel. */
export const channelAffineOp = defineOp<object>()({
  name: 'channelAffine',
  inputs: ['x', 'scale', 'shift'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule(
    'channelAffine',
    { x: 'T[...,c]', scale: 'A[c]', shift: 'A[c]' },
    ({ c }, { lead, dtype }) => [aval([...lead, c], dtype)],
  ),
  encode: () => [],
  vjp: {
    differentiates: ['x', 'scale', 'shift'],
    reads: { inputs: ['x', 'scale'] },
    rule: ({ cotangents: { y: g }, inputs: { x, scale }, needs }) => {
      const parameters = needs('scale') || needs('shift') ? channelGradSums(g!, x) : undefined;
      return {
        ...(needs('x') && { x: channelMultiply(g!, scale) }),
        ...(parameters && { scale: parameters.sumGX, shift: parameters.sumG }),
      };
    },
  },
});

/** channelMultiply(x, scale) → y = x scale, per channel. */
export const channelMultiplyOp = defineOp<object>()({
  name: 'channelMultiply',
  inputs: ['x', 'scale'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('channelMultiply', { x: 'T[...,c]', scale: 'A[c]' }, ({ c }, { lead, dtype }) => [
    aval([...lead, c], dtype),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['x', 'scale'],
    reads: { inputs: ['x', 'scale'] },
    rule: ({ cotangents: { y: g }, inputs: { x, scale }, needs }) => ({
      ...(needs('x') && { x: channelMultiply(g!, scale) }),
      ...(needs('scale') && { scale: channelGradSums(g!, x).sumGX }),
    }),
  },
});

/** channelGradSums(g, x) → sumG = sum of g, sumGX = sum of g x, per channel. */
export const channelGradSumsOp = defineOp<object>()({
  name: 'channelGradSums',
  inputs: ['g', 'x'],
  outputs: ['sumG', 'sumGX'],
  infer: shapeRule('channelGradSums', { g: 'T[...,c]', x: 'T[...,c]' }, ({ c }, { accumulator }) => [
    aval([c], accumulator),
    aval([c], accumulator),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['g', 'x'],
    reads: { inputs: ['g', 'x'] },
    rule: ({ cotangents, inputs: { g, x }, needs }) => {
      const any = (cotangents.sumG ?? cotangents.sumGX)!;
      const { sumG = zerosLike(any), sumGX = zerosLike(any) } = cotangents;
      return {
        ...(needs('g') && { g: channelAffine(x, sumGX, sumG) }),
        ...(needs('x') && { x: channelMultiply(g, sumGX) }),
      };
    },
  },
});

/** Attributes of the ops that fold fixed statistics. */
export type EpsilonAttributes = { readonly epsilon: number };

/** batchNormFold(gamma, beta, mean, variance) → scale, shift: for inference. The statistics are constants. */
export const batchNormFoldOp = defineOp<EpsilonAttributes>()({
  name: 'batchNormFold',
  inputs: ['gamma', 'beta', 'mean', 'variance'],
  outputs: ['scale', 'shift'],
  infer: shapeRule(
    'batchNormFold',
    { gamma: 'A[c]', beta: 'A[c]', mean: 'A[c]', variance: 'A[c]' },
    ({ c }, match, { epsilon }) => {
      expectRange(match, 'epsilon', epsilon, 0);
      return [aval([c], match.accumulator), aval([c], match.accumulator)];
    },
  ),
  encode: ({ epsilon }) => [epsilon],
  vjp: {
    differentiates: ['gamma', 'beta'],
    reads: { inputs: ['mean', 'variance'] },
    rule: ({ attributes, cotangents, inputs: { mean, variance } }) => {
      const { scale = zerosLike(mean), shift = zerosLike(mean) } = cotangents;
      const [gamma, beta] = foldGrad(scale, shift, mean, variance, attributes);
      return { gamma, beta };
    },
  },
});

/** batchNormFoldGrad(gScale, gShift, mean, variance) → dGamma = r (gScale - mean gShift), dBeta = gShift. */
export const batchNormFoldGradOp = defineOp<EpsilonAttributes>()({
  name: 'batchNormFoldGrad',
  inputs: ['gScale', 'gShift', 'mean', 'variance'],
  outputs: ['dGamma', 'dBeta'],
  infer: shapeRule(
    'batchNormFoldGrad',
    { gScale: 'A[c]', gShift: 'A[c]', mean: 'A[c]', variance: 'A[c]' },
    ({ c }, match, { epsilon }) => {
      expectRange(match, 'epsilon', epsilon, 0);
      return [aval([c], match.accumulator), aval([c], match.accumulator)];
    },
  ),
  encode: ({ epsilon }) => [epsilon],
  vjp: {
    differentiates: ['gScale', 'gShift'],
    reads: { inputs: ['mean', 'variance'] },
    // Linear in both; its transpose is the folding itself.
    rule: ({ attributes, cotangents, inputs: { mean, variance } }) => {
      const { dGamma = zerosLike(mean), dBeta = zerosLike(mean) } = cotangents;
      const [gScale, gShift] = fold(dGamma, dBeta, mean, variance, attributes);
      return { gScale, gShift };
    },
  },
});

type Two = [Tensor, Tensor];

/** → scale, shift. */
function fold(gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, a: EpsilonAttributes): Two {
  return apply(batchNormFoldOp, [gamma, beta, mean, variance], a) as Two;
}

/** → dGamma, dBeta. */
function foldGrad(gScale: Tensor, gShift: Tensor, mean: Tensor, variance: Tensor, a: EpsilonAttributes): Two {
  return apply(batchNormFoldGradOp, [gScale, gShift, mean, variance], a) as Two;
}

/** Sum and sum of squares of every channel (the last axis) of `x`, each [c] of the accumulator type. */
export function channelSums(x: Tensor): { sum: Tensor; sumSquares: Tensor } {
  const [sum, sumSquares] = apply(channelSumsOp, [x], {}) as Two;
  return { sum, sumSquares };
}

/** x · scale + shift, per channel (the last axis): x [..., c], scale and shift [c]. */
export function channelAffine(x: Tensor, scale: Tensor, shift: Tensor): Tensor {
  return applyOne(channelAffineOp, [x, scale, shift], {});
}

/** x · scale, per channel (the last axis): x [..., c], scale [c]. */
export function channelMultiply(x: Tensor, scale: Tensor): Tensor {
  return applyOne(channelMultiplyOp, [x, scale], {});
}

/** Sums of g and of g · x over every channel (the last axis), each [c] of the accumulator type. */
export function channelGradSums(g: Tensor, x: Tensor): { sumG: Tensor; sumGX: Tensor } {
  const [sumG, sumGX] = apply(channelGradSumsOp, [g, x], {}) as Two;
  return { sumG, sumGX };
}

/** Scale and shift of a normalization with fixed statistics; all operands [c]. Default epsilon 1e-3. */
export function batchNormFold(
  gamma: Tensor,
  beta: Tensor,
  mean: Tensor,
  variance: Tensor,
  { epsilon = 1e-3 }: { readonly epsilon?: number } = {},
): { scale: Tensor; shift: Tensor } {
  const [scale, shift] = fold(gamma, beta, mean, variance, { epsilon });
  return { scale, shift };
}

/** Options of {@link batchNormTraining}; the defaults are those of Keras' Xception. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-3. */
  readonly epsilon?: number;
  /** How much of the running statistics stays at a step. Default 0.99. */
  readonly momentum?: number;
  /** Whether the running variance takes the unbiased estimate, as in PyTorch. Default false, as in Keras. */
  readonly unbiased?: boolean;
}

/** What batchNormFinalize gives, every one [c]. */
export interface BatchNormStatistics {
  readonly mean: Tensor;
  readonly inverseDeviation: Tensor;
  readonly scale: Tensor;
  readonly shift: Tensor;
  readonly newRunningMean: Tensor;
  readonly newRunningVariance: Tensor;
}

/** Statistics of a batch from the sums over `count` elements per channel; all operands [c]. */
export function batchNormFinalize(
  { sum, sumSquares }: { readonly sum: Tensor; readonly sumSquares: Tensor },
  gamma: Tensor,
  beta: Tensor,
  runningMean: Tensor,
  runningVariance: Tensor,
  count: number,
  { epsilon = 1e-3, momentum = 0.99, unbiased = false }: BatchNormOptions = {},
): BatchNormStatistics {
  const operands = [sum, sumSquares, gamma, beta, runningMean, runningVariance];
  const outputs = apply(batchNormFinalizeOp, operands, { count, epsilon, momentum, unbiased });
  const [mean, inverseDeviation, scale, shift, newRunningMean, newRunningVariance] = outputs as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  return { mean, inverseDeviation, scale, shift, newRunningMean, newRunningVariance };
}

/**
 * Batch normalization with the statistics of the batch.
 * @param x [..., c]; the others [c]
 * @returns the normalized `y` and the new running statistics, which the caller stores
 */
export function batchNormTraining(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  runningMean: Tensor,
  runningVariance: Tensor,
  options: BatchNormOptions = {},
): { y: Tensor; runningMean: Tensor; runningVariance: Tensor } {
  return scope(() => {
    const count = x.shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
    const batch = batchNormFinalize(
      channelSums(x),
      gamma,
      beta,
      runningMean,
      runningVariance,
      count,
      options,
    );
    return {
      y: channelAffine(x, batch.scale, batch.shift),
      runningMean: batch.newRunningMean,
      runningVariance: batch.newRunningVariance,
    };
  });
}

/** Batch normalization with fixed statistics: x [..., c], the others [c]. Default epsilon 1e-3. */
export function batchNormInference(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  mean: Tensor,
  variance: Tensor,
  options: { readonly epsilon?: number } = {},
): Tensor {
  return scope(() => {
    const { scale, shift } = batchNormFold(gamma, beta, mean, variance, options);
    return channelAffine(x, scale, shift);
  });
}
