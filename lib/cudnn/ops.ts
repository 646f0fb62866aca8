// The ops of this entry: cuDNN's own computations on tensors, with the shape rules and attributes of the ops that they
// compute. native/include/depthwise_cudnn_ops.h holds the same list, with codes.

import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import {
  type ConvAttributes,
  type ConvInputGradAttributes,
  type ConvWeightGradAttributes,
  conv2dInputGradOp,
  conv2dOp,
  conv2dWeightGradOp,
} from '../ops/conv2d.ts';
import {
  type AvgPoolAttributes,
  type AvgPoolGradAttributes,
  avgPoolGradOp,
  avgPoolOp,
  type MaxPoolGradAttributes,
  maxPoolGradOp,
  maxPoolOp,
  type PoolAttributes,
} from '../ops/pool.ts';
import { expectRange, expectShare, shapeRule } from '../ops/shapeRule.ts';

const none = { none: 'depthwise/cudnn has its gradients as functions of their own' } as const;

/** cudnnConvolution(x, w) → y. */
export const cudnnConvolutionOp = defineOp<ConvAttributes>()({
  name: 'cudnnConvolution',
  inputs: ['x', 'w'],
  outputs: ['y'],
  infer: conv2dOp.infer,
  encode: conv2dOp.encode,
  vjp: none,
});

/** cudnnConvolutionInputGrad(g, w) → dx. */
export const cudnnConvolutionInputGradOp = defineOp<ConvInputGradAttributes>()({
  name: 'cudnnConvolutionInputGrad',
  inputs: ['g', 'w'],
  outputs: ['dx'],
  infer: conv2dInputGradOp.infer,
  encode: conv2dInputGradOp.encode,
  vjp: none,
});

/** cudnnConvolutionWeightGrad(x, g) → dw. */
export const cudnnConvolutionWeightGradOp = defineOp<ConvWeightGradAttributes>()({
  name: 'cudnnConvolutionWeightGrad',
  inputs: ['x', 'g'],
  outputs: ['dw'],
  infer: conv2dWeightGradOp.infer,
  encode: conv2dWeightGradOp.encode,
  vjp: none,
});

const perChannel = {
  gamma: 'A[c]',
  beta: 'A[c]',
  mean: 'A[c]',
  inverseDeviation: 'A[c]',
  runningMean: 'A[c]',
  runningVariance: 'A[c]',
} as const;

/** Attributes of {@link cudnnBatchNormTrainingOp}. */
export type BatchNormTrainingAttributes = { readonly epsilon: number; readonly momentum: number };

/** cudnnBatchNormTraining(x, gamma, beta, running statistics) → y, statistics, new running statistics. */
export const cudnnBatchNormTrainingOp = defineOp<BatchNormTrainingAttributes>()({
  name: 'cudnnBatchNormTraining',
  inputs: ['x', 'gamma', 'beta', 'runningMean', 'runningVariance'],
  outputs: ['y', 'mean', 'inverseDeviation', 'newRunningMean', 'newRunningVariance'],
  infer: shapeRule(
    'cudnnBatchNormTraining',
    {
      x: 'T[n,h,w,c]',
      gamma: perChannel.gamma,
      beta: perChannel.beta,
      runningMean: perChannel.runningMean,
      runningVariance: perChannel.runningVariance,
    },
    ({ n, h, w, c }, match, { epsilon, momentum }) => {
      expectRange(match, 'epsilon', epsilon, 0);
      expectShare(match, 'momentum', momentum);
      return [
        aval([n, h, w, c], match.dtype),
        ...Array.from({ length: 4 }, () => aval([c], match.accumulator)),
      ];
    },
  ),
  encode: ({ epsilon, momentum }) => [epsilon, momentum],
  vjp: none,
});

/** cudnnBatchNormInference(x, mean, inverseDeviation, gamma, beta) → y. */
export const cudnnBatchNormInferenceOp = defineOp<object>()({
  name: 'cudnnBatchNormInference',
  inputs: ['x', 'mean', 'inverseDeviation', 'gamma', 'beta'],
  outputs: ['y'],
  infer: shapeRule(
    'cudnnBatchNormInference',
    {
      x: 'T[n,h,w,c]',
      mean: perChannel.mean,
      inverseDeviation: perChannel.inverseDeviation,
      gamma: perChannel.gamma,
      beta: perChannel.beta,
    },
    ({ n, h, w, c }, { dtype }) => [aval([n, h, w, c], dtype)],
  ),
  encode: () => [],
  vjp: none,
});

/** cudnnBatchNormGrad(g, x, mean, inverseDeviation, gamma) → dx, dGamma, dBeta. */
export const cudnnBatchNormGradOp = defineOp<object>()({
  name: 'cudnnBatchNormGrad',
  inputs: ['g', 'x', 'mean', 'inverseDeviation', 'gamma'],
  outputs: ['dx', 'dGamma', 'dBeta'],
  infer: shapeRule(
    'cudnnBatchNormGrad',
    {
      g: 'T[n,h,w,c]',
      x: 'T[n,h,w,c]',
      mean: perChannel.mean,
      inverseDeviation: perChannel.inverseDeviation,
      gamma: perChannel.gamma,
    },
    ({ n, h, w, c }, { dtype, accumulator }) => [
      aval([n, h, w, c], dtype),
      aval([c], accumulator),
      aval([c], accumulator),
    ],
  ),
  encode: () => [],
  vjp: none,
});

/** cudnnMaxPool(x) → y, argmax. */
export const cudnnMaxPoolOp = defineOp<PoolAttributes>()({
  name: 'cudnnMaxPool',
  inputs: ['x'],
  outputs: ['y', 'argmax'],
  infer: maxPoolOp.infer,
  encode: maxPoolOp.encode,
  vjp: none,
});

/** cudnnMaxPoolGrad(g, argmax) → dx. */
export const cudnnMaxPoolGradOp = defineOp<MaxPoolGradAttributes>()({
  name: 'cudnnMaxPoolGrad',
  inputs: ['g', 'argmax'],
  outputs: ['dx'],
  infer: maxPoolGradOp.infer,
  encode: maxPoolGradOp.encode,
  vjp: none,
});

/** cudnnAvgPool(x) → y. */
export const cudnnAvgPoolOp = defineOp<AvgPoolAttributes>()({
  name: 'cudnnAvgPool',
  inputs: ['x'],
  outputs: ['y'],
  infer: avgPoolOp.infer,
  encode: avgPoolOp.encode,
  vjp: none,
});

/** cudnnAvgPoolGrad(g) → dx. */
export const cudnnAvgPoolGradOp = defineOp<AvgPoolGradAttributes>()({
  name: 'cudnnAvgPoolGrad',
  inputs: ['g'],
  outputs: ['dx'],
  infer: avgPoolGradOp.infer,
  encode: avgPoolGradOp.encode,
  vjp: none,
});
