// The table of all ops: native/include/depthwise_ops.h holds the same list, with codes.

import type { AnyOp } from '../core/op.ts';
import { eluGradOp, eluOp, reluGradOp, reluOp, sigmoidGradOp, sigmoidOp } from './activation.ts';
import {
  batchNormFinalizeGradOp,
  batchNormFinalizeOp,
  batchNormFoldGradOp,
  batchNormFoldOp,
  channelAffineOp,
  channelGradSumsOp,
  channelMultiplyOp,
  channelSumsOp,
} from './batchNorm.ts';
import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp } from './conv2d.ts';
import { dropoutOp } from './dropout.ts';
import { addOp, multiplyOp, scaleOp, squareOp, subtractOp } from './elementwise.ts';
import { flattenOp } from './flat.ts';
import {
  affineAddOp,
  affineMaxPoolAddOp,
  affineReluGradOp,
  affineReluOp,
  channelAffine2Op,
  conv2dInputGradAffine2Op,
  conv2dSumsOp,
  conv2dWeightGradAffine2Op,
  depthwiseAffineGradOp,
  depthwiseAffineOp,
  depthwiseReluGradOp,
  depthwiseReluOp,
  maxPoolGradSumsOp,
} from './fused.ts';
import { gradientGateOp } from './gradientGate.ts';
import { normalizeImagesOp } from './images.ts';
import {
  conv2dBiasAddOp,
  conv2dBiasOp,
  conv2dPackedAddOp,
  conv2dPackedOp,
  filterMultiplyOp,
  packFiltersOp,
} from './inference.ts';
import { addBiasOp, linearInputGradOp, linearOp, linearWeightGradOp } from './linear.ts';
import {
  sigmoidCrossEntropyGradOp,
  sigmoidCrossEntropyOp,
  softmaxCrossEntropyGradOp,
  softmaxCrossEntropyOp,
  softmaxGradOp,
  softmaxOp,
} from './loss.ts';
import { lossScaleUpdateOp, selectOp, unscaleOp } from './lossScale.ts';
import {
  avgPoolGradOp,
  avgPoolOp,
  globalAvgPoolGradOp,
  globalAvgPoolOp,
  maxPoolGradOp,
  maxPoolOp,
} from './pool.ts';
import { sumOp } from './reduce.ts';
import { broadcastOp, castOp, concatOp, fillOp, padOp, reshapeOp, sliceOp } from './shape.ts';
import {
  adamUpdateOp,
  momentumUpdateOp,
  polyakUpdateOp,
  rmspropMomentumUpdateOp,
  rmspropUpdateOp,
  sgdUpdateOp,
} from './update.ts';

/** Does not compile unless every key is the name of its op. */
const named = <const T extends { readonly [K in keyof T]: { readonly name: K } }>(table: T): T => table;

/** Every op by name. */
export const opTable = named({
  conv2d: conv2dOp,
  conv2dInputGrad: conv2dInputGradOp,
  conv2dWeightGrad: conv2dWeightGradOp,
  channelSums: channelSumsOp,
  batchNormFinalize: batchNormFinalizeOp,
  batchNormFinalizeGrad: batchNormFinalizeGradOp,
  channelAffine: channelAffineOp,
  channelMultiply: channelMultiplyOp,
  channelGradSums: channelGradSumsOp,
  batchNormFold: batchNormFoldOp,
  batchNormFoldGrad: batchNormFoldGradOp,
  relu: reluOp,
  reluGrad: reluGradOp,
  elu: eluOp,
  eluGrad: eluGradOp,
  sigmoid: sigmoidOp,
  sigmoidGrad: sigmoidGradOp,
  maxPool: maxPoolOp,
  maxPoolGrad: maxPoolGradOp,
  avgPool: avgPoolOp,
  avgPoolGrad: avgPoolGradOp,
  globalAvgPool: globalAvgPoolOp,
  globalAvgPoolGrad: globalAvgPoolGradOp,
  linear: linearOp,
  linearInputGrad: linearInputGradOp,
  linearWeightGrad: linearWeightGradOp,
  addBias: addBiasOp,
  add: addOp,
  subtract: subtractOp,
  multiply: multiplyOp,
  scale: scaleOp,
  square: squareOp,
  sum: sumOp,
  broadcast: broadcastOp,
  fill: fillOp,
  cast: castOp,
  concat: concatOp,
  slice: sliceOp,
  pad: padOp,
  reshape: reshapeOp,
  flatten: flattenOp,
  dropout: dropoutOp,
  softmax: softmaxOp,
  softmaxGrad: softmaxGradOp,
  softmaxCrossEntropy: softmaxCrossEntropyOp,
  softmaxCrossEntropyGrad: softmaxCrossEntropyGradOp,
  sigmoidCrossEntropy: sigmoidCrossEntropyOp,
  sigmoidCrossEntropyGrad: sigmoidCrossEntropyGradOp,
  normalizeImages: normalizeImagesOp,
  sgdUpdate: sgdUpdateOp,
  momentumUpdate: momentumUpdateOp,
  rmspropUpdate: rmspropUpdateOp,
  rmspropMomentumUpdate: rmspropMomentumUpdateOp,
  adamUpdate: adamUpdateOp,
  polyakUpdate: polyakUpdateOp,
  select: selectOp,
  unscale: unscaleOp,
  lossScaleUpdate: lossScaleUpdateOp,
  gradientGate: gradientGateOp,
  depthwiseAffine: depthwiseAffineOp,
  depthwiseRelu: depthwiseReluOp,
  depthwiseAffineGrad: depthwiseAffineGradOp,
  depthwiseReluGrad: depthwiseReluGradOp,
  conv2dSums: conv2dSumsOp,
  channelAffine2: channelAffine2Op,
  conv2dInputGradAffine2: conv2dInputGradAffine2Op,
  conv2dWeightGradAffine2: conv2dWeightGradAffine2Op,
  affineRelu: affineReluOp,
  affineReluGrad: affineReluGradOp,
  affineAdd: affineAddOp,
  affineMaxPoolAdd: affineMaxPoolAddOp,
  maxPoolGradSums: maxPoolGradSumsOp,
  filterMultiply: filterMultiplyOp,
  conv2dBias: conv2dBiasOp,
  conv2dBiasAdd: conv2dBiasAddOp,
  packFilters: packFiltersOp,
  conv2dPacked: conv2dPackedOp,
  conv2dPackedAdd: conv2dPackedAddOp,
});

/** Names of all ops. */
export type OpName = keyof typeof opTable;

/** The table for code that knows no particular op. */
export const allOps: Readonly<Record<OpName, AnyOp>> = opTable;
