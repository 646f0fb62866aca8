// What ops cost in arithmetic: multiply-adds of the products of matrices and convolutions. Everything else is memory.

import { type Aval, sizeOf } from '../core/aval.ts';
import type { PackedAttributes } from './inference.ts';

const size = (a: Aval | undefined): number => (a === undefined ? 0 : sizeOf(a.shape));

/** Multiply-adds per element of a convolution's output: the size of one filter. */
const perFilter = (w: Aval | undefined): number => size(w) / (w?.shape[0] ?? 1);

/** From operands, results and attributes to multiply-adds. */
type Cost = (inputs: readonly Aval[], outputs: readonly Aval[], attributes: unknown) => number;

/** Packed filters are bytes: their shape is among the attributes. */
const packed: Cost = (_, [y], attributes) =>
  size(y) * sizeOf((attributes as PackedAttributes).filters.slice(1));

/** By op; those that are not here have none. */
const costs: Readonly<Record<string, Cost>> = {
  conv2d: ([, w], [y]) => size(y) * perFilter(w),
  conv2dInputGrad: ([g, w]) => size(g) * perFilter(w),
  conv2dWeightGrad: ([, g], [dw]) => size(g) * perFilter(dw),
  conv2dInputGradAffine2: ([g, , , , , w]) => size(g) * perFilter(w),
  conv2dWeightGradAffine2: ([, g], [dw]) => size(g) * perFilter(dw),
  conv2dSums: ([, w], [y]) => size(y) * perFilter(w),
  conv2dBias: ([, w], [y]) => size(y) * perFilter(w),
  conv2dBiasAdd: ([, w], [y]) => size(y) * perFilter(w),
  conv2dPacked: packed,
  conv2dPackedAdd: packed,
  depthwiseAffine: ([, , , w], [y]) => size(y) * perFilter(w),
  depthwiseRelu: ([, w], [y]) => size(y) * perFilter(w),
  depthwiseAffineGrad: ([g, , , , w]) => 2 * size(g) * perFilter(w),
  depthwiseReluGrad: ([g, , w]) => 2 * size(g) * perFilter(w),
  linear: ([x, w]) => size(x) * (w?.shape[0] ?? 0),
  linearInputGrad: ([g, w]) => size(g) * (w?.shape[1] ?? 0),
  linearWeightGrad: ([x, g]) => size(x) * (g?.shape[1] ?? 0),
};

/** Multiply-adds of one op on operands of these shapes. */
export const multiplyAddsOf = (
  op: string,
  inputs: readonly Aval[],
  outputs: readonly Aval[],
  attributes: unknown,
): number => costs[op]?.(inputs, outputs, attributes) ?? 0;
