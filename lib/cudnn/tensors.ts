// cuDNN's computations on tensors, one call of cuDNN each: convolution with its gradients, batch normalization, pooling.
// Tensors live on `cuda`. Each function is an op of its own: cuDNN's engine even where depthwise's kernels are faster.

import { apply, applyOne } from '../core/apply.ts';
import { ArgumentError } from '../core/errors.ts';
import { scope } from '../core/scope.ts';
import type { Tensor } from '../core/tensor.ts';
import { batchNormFoldOp } from '../ops/batchNorm.ts';
import type { ConvAttributes } from '../ops/conv2d.ts';
import { fillBeside } from '../ops/shape.ts';
import {
  dilated,
  type PaddingOption,
  type Pair,
  type PairOption,
  pair,
  resolvePadding,
} from '../ops/window.ts';
import {
  cudnnAvgPoolGradOp,
  cudnnAvgPoolOp,
  cudnnBatchNormGradOp,
  cudnnBatchNormInferenceOp,
  cudnnBatchNormTrainingOp,
  cudnnConvolutionInputGradOp,
  cudnnConvolutionOp,
  cudnnConvolutionWeightGradOp,
  cudnnMaxPoolGradOp,
  cudnnMaxPoolOp,
} from './ops.ts';

/** Options of {@link convolution}. A pair is [height, width]. */
export interface ConvolutionOptions {
  /** Default 1. */
  readonly stride?: PairOption;
  /** Default `'valid'`. */
  readonly padding?: PaddingOption;
  /** Distance of neighbouring taps. Default 1. */
  readonly dilation?: PairOption;
  /** Channels are split into this many groups that do not mix. Default 1; depthwise: as many as channels. */
  readonly groups?: number;
}

const sizeOf = ({ shape }: Tensor): Pair => [shape[1] ?? 0, shape[2] ?? 0];

function resolve(options: ConvolutionOptions, size: Pair, kernel: Pair): ConvAttributes {
  const { padding = 'valid', groups = 1 } = options;
  const stride = pair(options.stride ?? 1);
  const dilation = pair(options.dilation ?? 1);
  const span: Pair = [dilated(kernel[0], dilation[0]), dilated(kernel[1], dilation[1])];
  return { stride, padding: resolvePadding('convolution', padding, size, span, stride), dilation, groups };
}

/**
 * Convolution (cross-correlation) by cuDNN.
 * @param x f32, f16 or bf16 [n, h, w, c]
 * @param w the same type, [o, kernel height, kernel width, c / groups]
 * @returns [n, out height, out width, o]
 * @throws ShapeError, DTypeError or ArgumentError for operands that do not fit; UnsupportedError with cuDNN's reason, and
 *   on devices other than `cuda`
 */
export function convolution(x: Tensor, w: Tensor, options: ConvolutionOptions = {}): Tensor {
  return applyOne(cudnnConvolutionOp, [x, w], resolve(options, sizeOf(x), sizeOf(w)));
}

/**
 * Gradient of {@link convolution} with respect to its input.
 * @param g [n, out height, out width, o]
 * @param w [o, kernel height, kernel width, c / groups]
 * @param size [h, w] of the image
 * @returns [n, h, w, c]
 */
export function convolutionInputGrad(
  g: Tensor,
  w: Tensor,
  size: Pair,
  options: ConvolutionOptions = {},
): Tensor {
  return applyOne(cudnnConvolutionInputGradOp, [g, w], { ...resolve(options, size, sizeOf(w)), size });
}

/**
 * Gradient of {@link convolution} with respect to its weight.
 * @param x [n, h, w, c]
 * @param g [n, out height, out width, o]
 * @param kernel [kernel height, kernel width]
 * @returns [o, kernel height, kernel width, c / groups]
 */
export function convolutionWeightGrad(
  x: Tensor,
  g: Tensor,
  kernel: Pair,
  options: ConvolutionOptions = {},
): Tensor {
  return applyOne(cudnnConvolutionWeightGradOp, [x, g], { ...resolve(options, sizeOf(x), kernel), kernel });
}

/** Scale and shift after the normalization, f32 [c]. */
export interface BatchNormParameters {
  readonly gamma: Tensor;
  readonly beta: Tensor;
}

/** What {@link batchNormTraining} takes. */
export interface BatchNormTrainingState extends BatchNormParameters {
  /** f32 [c] */
  readonly runningMean: Tensor;
  /** f32 [c] */
  readonly runningVariance: Tensor;
  /** Default 1e-3. */
  readonly epsilon?: number;
  /** How much of the running statistics stays. Default 0.99. */
  readonly momentum?: number;
}

/** What {@link batchNormTraining} gives. Statistics are f32 [c]. */
export interface BatchNormTrained {
  readonly y: Tensor;
  readonly mean: Tensor;
  /** 1 / sqrt(variance + epsilon), for {@link batchNormGrad}. */
  readonly inverseDeviation: Tensor;
  readonly runningMean: Tensor;
  readonly runningVariance: Tensor;
}

/**
 * Batch normalization with the statistics of the batch: y = (x - mean)·inverseDeviation·gamma + beta (Ioffe, Szegedy 2015,
 * arXiv 1502.03167, algorithm 1). The running variance takes the unbiased variance of the batch, as cuDNN has it.
 * @param x [n, h, w, c]; in 16 bits c is a multiple of 8
 */
export function batchNormTraining(x: Tensor, state: BatchNormTrainingState): BatchNormTrained {
  const { gamma, beta, epsilon = 1e-3, momentum = 0.99 } = state;
  const operands = [x, gamma, beta, state.runningMean, state.runningVariance];
  const outputs = apply(cudnnBatchNormTrainingOp, operands, { epsilon, momentum });
  const [y, mean, inverseDeviation, runningMean, runningVariance] = outputs as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  return { y, mean, inverseDeviation, runningMean, runningVariance };
}

/** What {@link batchNormInference} takes. */
export interface BatchNormInferenceState extends BatchNormParameters {
  /** f32 [c] */
  readonly mean: Tensor;
  /** f32 [c] */
  readonly variance: Tensor;
  /** Default 1e-3. */
  readonly epsilon?: number;
}

/**
 * Batch normalization with statistics that are given.
 * @param x [n, h, w, c]
 * @returns [n, h, w, c]
 */
export function batchNormInference(x: Tensor, state: BatchNormInferenceState): Tensor {
  const { gamma, beta, mean, variance, epsilon = 1e-3 } = state;
  return scope(() => {
    const [one, zero] = [fillBeside(mean, mean.shape, 1), fillBeside(mean, mean.shape, 0)];
    // The scale of a normalization with gamma 1 is the inverse deviation.
    const [inverseDeviation] = apply(batchNormFoldOp, [one, zero, mean, variance], { epsilon });
    return applyOne(cudnnBatchNormInferenceOp, [x, mean, inverseDeviation as Tensor, gamma, beta], {});
  });
}

/**
 * Gradient of {@link batchNormTraining}.
 * @param g of y, [n, h, w, c]
 * @param x [n, h, w, c]
 * @returns `dx` as x; `dGamma` and `dBeta` f32 [c]
 */
export function batchNormGrad(
  g: Tensor,
  x: Tensor,
  state: Pick<BatchNormTrained, 'mean' | 'inverseDeviation'> & Pick<BatchNormParameters, 'gamma'>,
): { readonly dx: Tensor; readonly dGamma: Tensor; readonly dBeta: Tensor } {
  const operands = [g, x, state.mean, state.inverseDeviation, state.gamma];
  const [dx, dGamma, dBeta] = apply(cudnnBatchNormGradOp, operands, {}) as [Tensor, Tensor, Tensor];
  return { dx, dGamma, dBeta };
}

/** Options of pooling. */
export interface PoolingOptions {
  readonly kernel: PairOption;
  /** Default: the kernel. */
  readonly stride?: PairOption;
  /** Default `'valid'`. */
  readonly padding?: PaddingOption;
}

/** Options of average pooling. */
export interface AveragePoolingOptions extends PoolingOptions {
  /** Whether the mean counts the padding's zeros. Default false. */
  readonly countPadding?: boolean;
}

function windowOf(options: PoolingOptions, size: Pair) {
  const kernel = pair(options.kernel);
  const stride = pair(options.stride ?? kernel);
  if (kernel.some((extent) => !(extent >= 1))) {
    throw new ArgumentError(`pooling: kernel expects whole numbers from 1 on, got ${kernel}`);
  }
  return {
    kernel,
    stride,
    padding: resolvePadding('pooling', options.padding ?? 'valid', size, kernel, stride),
  };
}

/**
 * The largest element of each window.
 * @param x [n, h, w, c]
 * @returns `y` [n, out height, out width, c], and `argmax`, u8 of the same shape: row · kernel width + column
 */
export function maxPooling(
  x: Tensor,
  options: PoolingOptions,
): { readonly y: Tensor; readonly argmax: Tensor } {
  const [y, argmax] = apply(cudnnMaxPoolOp, [x], windowOf(options, sizeOf(x))) as [Tensor, Tensor];
  return { y, argmax };
}

/**
 * Gradient of {@link maxPooling}.
 * @param g [n, out height, out width, c]
 * @param argmax as maxPooling gave it
 * @param size [h, w] of the image
 * @returns [n, h, w, c]
 */
export function maxPoolingGrad(g: Tensor, argmax: Tensor, size: Pair, options: PoolingOptions): Tensor {
  return applyOne(cudnnMaxPoolGradOp, [g, argmax], { ...windowOf(options, size), size });
}

/**
 * The mean of each window.
 * @param x [n, h, w, c]
 * @returns [n, out height, out width, c]
 */
export function averagePooling(x: Tensor, options: AveragePoolingOptions): Tensor {
  const { countPadding = false } = options;
  return applyOne(cudnnAvgPoolOp, [x], { ...windowOf(options, sizeOf(x)), countPadding });
}

/**
 * Gradient of {@link averagePooling}.
 * @param g [n, out height, out width, c]
 * @param size [h, w] of the image
 * @returns [n, h, w, c]
 */
export function averagePoolingGrad(g: Tensor, size: Pair, options: AveragePoolingOptions): Tensor {
  const { countPadding = false } = options;
  return applyOne(cudnnAvgPoolGradOp, [g], { ...windowOf(options, size), countPadding, size });
}
