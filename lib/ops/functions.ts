// The functions that users call: the namespace `ops`.

export {
  elu,
  eluGrad,
  relu,
  reluGrad,
  sigmoid,
  sigmoidGrad,
} from './activation.ts';
export {
  type BatchNormOptions,
  type BatchNormStatistics,
  batchNormFinalize,
  batchNormFold,
  batchNormInference,
  batchNormTraining,
  channelAffine,
  channelGradSums,
  channelMultiply,
  channelSums,
} from './batchNorm.ts';
export { type Conv2dOptions, conv2d, conv2dInputGrad, conv2dWeightGrad } from './conv2d.ts';
export { dropout } from './dropout.ts';
export { add, multiply, type Operand, scale, square, subtract } from './elementwise.ts';
export { flatten } from './flat.ts';
export { type GradientGateResult, gradientGate } from './gradientGate.ts';
export { normalizeImages } from './images.ts';
export { addBias, linear, linearInputGrad, linearWeightGrad } from './linear.ts';
export {
  type LossOptions,
  sigmoidCrossEntropy,
  sigmoidCrossEntropyGrad,
  softmax,
  softmaxCrossEntropy,
  softmaxCrossEntropyGrad,
  softmaxGrad,
} from './loss.ts';
export { type LossScaleState, lossScaleUpdate, select, unscale } from './lossScale.ts';
export {
  type AvgPoolOptions,
  avgPool,
  globalAvgPool,
  globalAvgPoolGrad,
  maxPool,
  maxPoolWithArgmax,
  type PoolOptions,
} from './pool.ts';
export { mean, type ReduceOptions, sum } from './reduce.ts';
export { broadcast, cast, concat, fill, ones, pad, reshape, slice, zeros } from './shape.ts';
export {
  type AdamOptions,
  adamUpdate,
  momentumUpdate,
  polyakUpdate,
  type RmspropOptions,
  rmspropMomentumUpdate,
  rmspropUpdate,
  sgdUpdate,
  type UpdateOptions,
} from './update.ts';
export type { PaddingOption, Pair, PairOption } from './window.ts';
