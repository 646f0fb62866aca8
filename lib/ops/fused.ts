// Fused ops: several ops in one pass over memory. They exist only in rewritten programs (fusions.ts makes them), so they
// have no gradient; each says which ops it stands for. A backend says which it supports.

import type { Aval } from '../core/aval.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import { type ConvAttributes, conv2dOp } from './conv2d.ts';
import { type MaxPoolGradAttributes, maxPoolGradOp, maxPoolOp, type PoolAttributes } from './pool.ts';
import { shapeRule } from './shapeRule.ts';
import { encodeWindow } from './window.ts';

const none = { none: 'a fused op is made after differentiation' } as const;

/** Attributes of the fused depthwise ops. `relu`: whether the convolution's input passes a ReLU first. */
export type DepthwiseAttributes = ConvAttributes & { readonly relu: boolean };

const encodeDepthwise = (a: DepthwiseAttributes) => [
  ...encodeWindow(a),
  ...a.dilation,
  a.groups,
  Number(a.relu),
];

const convolved = (x: Aval, w: Aval, a: ConvAttributes): Aval => conv2dOp.infer([x, w], a)[0] as Aval;

/** depthwiseAffine(x, scale, shift, w) → y = conv2d(relu?(x·scale + shift), w). Padding is zero after the ReLU. */
export const depthwiseAffineOp = defineOp<DepthwiseAttributes>()({
  name: 'depthwiseAffine',
  inputs: ['x', 'scale', 'shift', 'w'],
  outputs: ['y'],
  infer: (inputs, a) => {
    const [x, , , w] = inputs as [Aval, Aval, Aval, Aval];
    affineRule(inputs.slice(0, 3), a);
    return [convolved(x, w, a)];
  },
  encode: encodeDepthwise,
  vjp: none,
});

const affineRule = shapeRule('depthwiseAffine', { x: 'T[n,h,w,c]', scale: 'A[c]', shift: 'A[c]' }, () => []);

/** depthwiseRelu(x, w) → y = conv2d(relu(x), w). */
export const depthwiseReluOp = defineOp<DepthwiseAttributes>()({
  name: 'depthwiseRelu',
  inputs: ['x', 'w'],
  outputs: ['y'],
  infer: ([x, w], a) => [convolved(x as Aval, w as Aval, a)],
  encode: encodeDepthwise,
  vjp: none,
});

/**
 * depthwiseAffineGrad(g, x, scale, shift, w) → dx, dw, sumG, sumGX, with a = x·scale + shift:
 * dx = conv2dInputGrad(g, w), where a > 0 if `relu`; dw = conv2dWeightGrad(relu?(a), g); sums of dx and dx·x per channel.
 */
export const depthwiseAffineGradOp = defineOp<DepthwiseAttributes>()({
  name: 'depthwiseAffineGrad',
  inputs: ['g', 'x', 'scale', 'shift', 'w'],
  outputs: ['dx', 'dw', 'sumG', 'sumGX'],
  infer: ([, x, scale, , w]) => [x as Aval, w as Aval, scale as Aval, scale as Aval],
  encode: encodeDepthwise,
  vjp: none,
});

/**
 * depthwiseReluGrad(g, x, w, residual) → dx, dw: dx = residual + (conv2dInputGrad(g, w) where x > 0);
 * dw = conv2dWeightGrad(relu(x), g).
 */
export const depthwiseReluGradOp = defineOp<DepthwiseAttributes>()({
  name: 'depthwiseReluGrad',
  inputs: ['g', 'x', 'w', 'residual'],
  outputs: ['dx', 'dw'],
  infer: ([, x, w]) => [x as Aval, w as Aval],
  encode: encodeDepthwise,
  vjp: none,
});

/** conv2dSums(x, w) → y = conv2d(x, w), and channelSums(y). */
export const conv2dSumsOp = defineOp<ConvAttributes>()({
  name: 'conv2dSums',
  inputs: ['x', 'w'],
  outputs: ['y', 'sum', 'sumSquares'],
  infer: ([x, w], a) => {
    const y = convolved(x as Aval, w as Aval, a);
    const channels = aval([y.shape[3] as number], y.dtype === 'f64' ? 'f64' : 'f32');
    return [y, channels, channels];
  },
  encode: conv2dOp.encode,
  vjp: none,
});

/** channelAffine2(a, b, p, q, r) → y = a·p + b·q + r per channel: the gradient of batch normalization, applied. */
export const channelAffine2Op = defineOp<object>()({
  name: 'channelAffine2',
  inputs: ['a', 'b', 'p', 'q', 'r'],
  outputs: ['y'],
  inPlace: ['a'],
  infer: shapeRule(
    'channelAffine2',
    { a: 'T[...,c]', b: 'T[...,c]', p: 'A[c]', q: 'A[c]', r: 'A[c]' },
    ({ c }, { lead, dtype }) => [aval([...lead, c], dtype)],
  ),
  encode: () => [],
  vjp: none,
});

/** affineRelu(x, scale, shift) → y = relu(x·scale + shift). */
export const affineReluOp = defineOp<object>()({
  name: 'affineRelu',
  inputs: ['x', 'scale', 'shift'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('affineRelu', { x: 'T[...,c]', scale: 'A[c]', shift: 'A[c]' }, ({ c }, { lead, dtype }) => [
    aval([...lead, c], dtype),
  ]),
  encode: () => [],
  vjp: none,
});

/** affineReluGrad(g, x, scale, shift) → dx = g where x·scale + shift > 0; sums of dx and of dx·x per channel. */
export const affineReluGradOp = defineOp<object>()({
  name: 'affineReluGrad',
  inputs: ['g', 'x', 'scale', 'shift'],
  outputs: ['dx', 'sumG', 'sumGX'],
  inPlace: ['g', undefined, undefined],
  infer: shapeRule(
    'affineReluGrad',
    { g: 'T[...,c]', x: 'T[...,c]', scale: 'A[c]', shift: 'A[c]' },
    ({ c }, { lead, dtype, accumulator }) => [
      aval([...lead, c], dtype),
      aval([c], accumulator),
      aval([c], accumulator),
    ],
  ),
  encode: () => [],
  vjp: none,
});

/** affineAdd(x, scale, shift, residual) → y = x·scale + shift + residual. */
export const affineAddOp = defineOp<object>()({
  name: 'affineAdd',
  inputs: ['x', 'scale', 'shift', 'residual'],
  outputs: ['y'],
  inPlace: ['residual'],
  infer: shapeRule(
    'affineAdd',
    { x: 'T[...,c]', scale: 'A[c]', shift: 'A[c]', residual: 'T[...,c]' },
    ({ c }, { lead, dtype }) => [aval([...lead, c], dtype)],
  ),
  encode: () => [],
  vjp: none,
});

/** affineMaxPoolAdd(x, scale, shift, residual) → y = maxPool(x·scale + shift) + residual, argmax. */
export const affineMaxPoolAddOp = defineOp<PoolAttributes>()({
  name: 'affineMaxPoolAdd',
  inputs: ['x', 'scale', 'shift', 'residual'],
  outputs: ['y', 'argmax'],
  infer: ([x], a) => maxPoolOp.infer([x as Aval], a),
  encode: maxPoolOp.encode,
  vjp: none,
});

/** maxPoolGradSums(g, argmax, x) → dx = maxPoolGrad(g, argmax), and sums of dx and of dx·x per channel. */
export const maxPoolGradSumsOp = defineOp<MaxPoolGradAttributes>()({
  name: 'maxPoolGradSums',
  inputs: ['g', 'argmax', 'x'],
  outputs: ['dx', 'sumG', 'sumGX'],
  infer: ([g, argmax, x], a) => {
    const [dx] = maxPoolGradOp.infer([g as Aval, argmax as Aval], a) as [Aval];
    const channels = aval([dx.shape[3] as number], (x as Aval).dtype === 'f64' ? 'f64' : 'f32');
    return [dx, channels, channels];
  },
  encode: maxPoolGradOp.encode,
  vjp: none,
});
