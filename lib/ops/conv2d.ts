// Convolution with groups, and its two gradients: closed under differentiation.

import { applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { type Errors, expectWhole, shapeRule } from './shapeRule.ts';
import {
  dilated,
  encodeWindow,
  expectOutput,
  type PaddingOption,
  type Pair,
  type PairOption,
  pair,
  resolvePadding,
  type Window,
  windowOutput,
} from './window.ts';

/*
 * y[n,i,j,o] = sum over p, q, d of
 *   x[n, i*stride - top + p*dilation, j*stride - left + q*dilation, g*D + d] * w[o,p,q,d]
 * with D = c/groups channels per group and g = floor(o / (O/groups)); x is 0 outside.
 * A cross-correlation, as in every deep learning library.
 */

/** Attributes of the three convolution ops, all explicit. */
export type ConvAttributes = Window & { readonly dilation: Pair; readonly groups: number };
/** `size`: rows and columns of the image, which stride leaves open. */
export type ConvInputGradAttributes = ConvAttributes & { readonly size: Pair };
/** `kernel`: rows and columns of the weight. */
export type ConvWeightGradAttributes = ConvAttributes & { readonly kernel: Pair };

const encode = (a: ConvAttributes) => [...encodeWindow(a), ...a.dilation, a.groups];

const span = (a: ConvAttributes, kernel: Pair): Pair => [
  dilated(kernel[0], a.dilation[0]),
  dilated(kernel[1], a.dilation[1]),
];

function expectGroups(errors: Errors, a: ConvAttributes, channels: number, outputs: number): void {
  expectWhole(errors, 'dilation', a.dilation, 1);
  expectWhole(errors, 'groups', [a.groups], 1);
  if (channels % a.groups !== 0 || outputs % a.groups !== 0) {
    throw errors.shapeError(
      `groups = ${a.groups} expects to divide ${channels} input and ${outputs} output channels`,
    );
  }
}

// In a rule, a cotangent is there (`g!`): rules run only once a cotangent of some output has come.

/** conv2d(x, w) → y. */
export const conv2dOp = defineOp<ConvAttributes>()({
  name: 'conv2d',
  inputs: ['x', 'w'],
  outputs: ['y'],
  infer: shapeRule(
    'conv2d',
    { x: 'T[n,h,w,c]', w: 'T[o,kh,kw,d]' },
    ({ n, h, w, c, o, kh, kw, d }, match, a) => {
      expectGroups(match, a, c, o);
      if (d * a.groups !== c) {
        const came = a.groups === 1 ? `${c}` : `${c / a.groups} (${c} in ${a.groups} groups)`;
        throw match.shapeError(`w expects ${d} input channels per group, x has ${came}`);
      }
      return [aval([n, ...windowOutput(match, 'x', [h, w], span(a, [kh, kw]), a), o], match.dtype)];
    },
  ),
  encode,
  vjp: {
    differentiates: ['x', 'w'],
    reads: { inputs: ['x', 'w'] },
    // The weight's first: what goes on is the input's, which is then still in the caches (Xception at 299 pixels, batch
    // 8: the depthwise gradients that read it took 79 ms of a step the other way round, and 32 ms this way).
    rule: ({ attributes, cotangents: { y: g }, inputs: { x, w }, needs }) => ({
      ...(needs('w') && { w: weightGrad(x, g!, attributes, sizeOfImage(w)) }),
      ...(needs('x') && { x: inputGrad(g!, w, attributes, sizeOfImage(x)) }),
    }),
  },
});

/** conv2dInputGrad(g, w) → dx: the adjoint of conv2d in x. */
export const conv2dInputGradOp = defineOp<ConvInputGradAttributes>()({
  name: 'conv2dInputGrad',
  inputs: ['g', 'w'],
  outputs: ['dx'],
  infer: shapeRule(
    'conv2dInputGrad',
    { g: 'T[n,oh,ow,o]', w: 'T[o,kh,kw,d]' },
    ({ n, oh, ow, o, kh, kw, d }, match, a) => {
      expectGroups(match, a, d * a.groups, o);
      expectWhole(match, 'size', a.size, 0);
      expectOutput(match, [oh, ow], a.size, span(a, [kh, kw]), a);
      return [aval([n, ...a.size, d * a.groups], match.dtype)];
    },
  ),
  encode: (a) => [...encode(a), ...a.size],
  vjp: {
    differentiates: ['g', 'w'],
    reads: { inputs: ['g', 'w'] },
    rule: ({ attributes: { size: _, ...a }, cotangents: { dx }, inputs: { g, w }, needs }) => ({
      ...(needs('g') && { g: forward(dx!, w, a) }),
      ...(needs('w') && { w: weightGrad(dx!, g, a, sizeOfImage(w)) }),
    }),
  },
});

/** conv2dWeightGrad(x, g) → dw: the adjoint of conv2d in w. */
export const conv2dWeightGradOp = defineOp<ConvWeightGradAttributes>()({
  name: 'conv2dWeightGrad',
  inputs: ['x', 'g'],
  outputs: ['dw'],
  infer: shapeRule(
    'conv2dWeightGrad',
    { x: 'T[n,h,w,c]', g: 'T[n,oh,ow,o]' },
    ({ h, w, c, oh, ow, o }, match, a) => {
      expectGroups(match, a, c, o);
      expectWhole(match, 'kernel', a.kernel, 1);
      expectOutput(match, [oh, ow], [h, w], span(a, a.kernel), a);
      return [aval([o, ...a.kernel, c / a.groups], match.dtype)];
    },
  ),
  encode: (a) => [...encode(a), ...a.kernel],
  vjp: {
    differentiates: ['x', 'g'],
    reads: { inputs: ['x', 'g'] },
    rule: ({ attributes: { kernel: _, ...a }, cotangents: { dw }, inputs: { x, g }, needs }) => ({
      ...(needs('x') && { x: inputGrad(g, dw!, a, sizeOfImage(x)) }),
      ...(needs('g') && { g: forward(x, dw!, a) }),
    }),
  },
});

const sizeOfImage = ({ shape }: Tensor): Pair => [shape[1] ?? 0, shape[2] ?? 0];

function forward(x: Tensor, w: Tensor, a: ConvAttributes): Tensor {
  return applyOne(conv2dOp, [x, w], a);
}

function inputGrad(g: Tensor, w: Tensor, a: ConvAttributes, size: Pair): Tensor {
  return applyOne(conv2dInputGradOp, [g, w], { ...a, size });
}

function weightGrad(x: Tensor, g: Tensor, a: ConvAttributes, kernel: Pair): Tensor {
  return applyOne(conv2dWeightGradOp, [x, g], { ...a, kernel });
}

/** Options of {@link conv2d}. A pair is [height, width]. */
export interface Conv2dOptions {
  /** Default 1. */
  readonly stride?: PairOption;
  /** Default `'valid'`. */
  readonly padding?: PaddingOption;
  /** Distance of neighbouring taps. Default 1. */
  readonly dilation?: PairOption;
  /** Channels are split into this many groups that do not mix. Default 1; depthwise: as many as channels. */
  readonly groups?: number;
}

function resolve(options: Conv2dOptions, size: Pair, kernel: Pair): ConvAttributes {
  const { padding = 'valid', groups = 1 } = options;
  const stride = pair(options.stride ?? 1);
  const dilation = pair(options.dilation ?? 1);
  const extent: Pair = [dilated(kernel[0], dilation[0]), dilated(kernel[1], dilation[1])];
  return { stride, padding: resolvePadding('conv2d', padding, size, extent, stride), dilation, groups };
}

/**
 * Convolution (cross-correlation).
 * @param x [n, h, w, c]
 * @param w [o, kernel height, kernel width, c / groups]
 * @returns [n, out height, out width, o]
 * @throws ShapeError, DTypeError or ArgumentError for operands that do not fit
 */
export function conv2d(x: Tensor, w: Tensor, options: Conv2dOptions = {}): Tensor {
  return forward(x, w, resolve(options, sizeOfImage(x), sizeOfImage(w)));
}

/**
 * Gradient of {@link conv2d} with respect to its input; also the transposed convolution.
 * @param g [n, out height, out width, o]
 * @param w [o, kernel height, kernel width, c / groups]
 * @param size [h, w] of the image
 * @returns [n, h, w, c]
 */
export function conv2dInputGrad(g: Tensor, w: Tensor, size: Pair, options: Conv2dOptions = {}): Tensor {
  return inputGrad(g, w, resolve(options, size, sizeOfImage(w)), size);
}

/**
 * Gradient of {@link conv2d} with respect to its weight.
 * @param x [n, h, w, c]
 * @param g [n, out height, out width, o]
 * @param kernel [kernel height, kernel width]
 * @returns [o, kernel height, kernel width, c / groups]
 */
export function conv2dWeightGrad(x: Tensor, g: Tensor, kernel: Pair, options: Conv2dOptions = {}): Tensor {
  return weightGrad(x, g, resolve(options, sizeOfImage(x), kernel), kernel);
}
