// Fused ops: several ops in one pass over memory. They exist only in rewritten programs (fusions.ts makes them), so they
// have no gradient; each says which ops it stands for. A backend says which it supports.

import { type Aval, aval, sameShape, showAval } from '../core/aval.ts';
import { accumulatorType } from '../core/dtype.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
import { defineOp } from '../core/op.ts';
import {
  type ConvAttributes,
  type ConvInputGradAttributes,
  type ConvWeightGradAttributes,
  conv2dInputGradOp,
  conv2dOp,
  conv2dWeightGradOp,
} from './conv2d.ts';
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

/** The convolution's output, for one with a filter of its own for each channel. */
function depthwiseConvolved(op: string, x: Aval, w: Aval, a: ConvAttributes): Aval {
  const y = convolved(x, w, a);
  if (a.groups !== x.shape[3]) {
    throw new ArgumentError(`${op}: groups expects the ${x.shape[3]} channels of x, got ${a.groups}`);
  }
  return y;
}

/** Refuses a gradient that is not of the shape and type of the convolution's output. */
function expectGradient(op: string, g: Aval, x: Aval, w: Aval, a: ConvAttributes): void {
  const y = depthwiseConvolved(op, x, w, a);
  if (!sameShape(g.shape, y.shape) || g.dtype !== y.dtype) {
    throw new ShapeError(`${op}: g expects ${showAval(y)}, got ${showAval(g)}`);
  }
}

const affinePattern = { x: 'T[...,c]', scale: 'A[c]', shift: 'A[c]' } as const;
/** Refuses a scale and a shift that do not go with x, of the op called `name`. */
const affineRule = (name: string) => shapeRule(name, affinePattern, () => []);

const depthwiseAffineRule = affineRule('depthwiseAffine');
const depthwiseAffineGradRule = affineRule('depthwiseAffineGrad');
const affineMaxPoolAddRule = affineRule('affineMaxPoolAdd');

/** Per-channel sums over x: [c] of the accumulator type. */
const totals = (x: Aval): Aval => aval(x.shape.slice(-1), accumulatorType(x.dtype));

/** depthwiseAffine(x, scale, shift, w) → y = conv2d(relu?(x·scale + shift), w). Padding is zero after the ReLU. */
export const depthwiseAffineOp = defineOp<DepthwiseAttributes>()({
  name: 'depthwiseAffine',
  inputs: ['x', 'scale', 'shift', 'w'],
  outputs: ['y'],
  cheap: true,
  infer: (inputs, a) => {
    const [x, scale, shift, w] = inputs as [Aval, Aval, Aval, Aval];
    depthwiseAffineRule([x, scale, shift], a);
    return [depthwiseConvolved('depthwiseAffine', x, w, a)];
  },
  encode: encodeDepthwise,
  vjp: none,
});

/** depthwiseRelu(x, w) → y = conv2d(relu(x), w). */
export const depthwiseReluOp = defineOp<DepthwiseAttributes>()({
  name: 'depthwiseRelu',
  inputs: ['x', 'w'],
  outputs: ['y'],
  cheap: true,
  infer: ([x, w], a) => [depthwiseConvolved('depthwiseRelu', x as Aval, w as Aval, a)],
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
  infer: (inputs, a) => {
    const [g, x, scale, shift, w] = inputs as [Aval, Aval, Aval, Aval, Aval];
    depthwiseAffineGradRule([x, scale, shift], a);
    expectGradient('depthwiseAffineGrad', g, x, w, a);
    return [x, w, totals(x), totals(x)];
  },
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
  inPlace: ['residual', undefined],
  infer: (inputs, a) => {
    const [g, x, w, residual] = inputs as [Aval, Aval, Aval, Aval];
    expectGradient('depthwiseReluGrad', g, x, w, a);
    depthwiseResidualRule([x, residual], a);
    return [x, w];
  },
  encode: encodeDepthwise,
  vjp: none,
});

const depthwiseResidualRule = shapeRule(
  'depthwiseReluGrad',
  { x: 'T[n,h,w,c]', residual: 'T[n,h,w,c]' },
  () => [],
);

/** conv2dSums(x, w) → y = conv2d(x, w), and channelSums(y). */
export const conv2dSumsOp = defineOp<ConvAttributes>()({
  name: 'conv2dSums',
  inputs: ['x', 'w'],
  outputs: ['y', 'sum', 'sumSquares'],
  infer: ([x, w], a) => {
    const y = convolved(x as Aval, w as Aval, a);
    return [y, totals(y), totals(y)];
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

const affine2Pattern = { g: 'T[...,c]', y: 'T[...,c]', p: 'A[c]', q: 'A[c]', r: 'A[c]' } as const;
/** Refuses operands that channelAffine2 would refuse, of the op called `name`. */
const affine2Rule = (name: string) => shapeRule(name, affine2Pattern, () => []);

const inputGradAffine2Rule = affine2Rule('conv2dInputGradAffine2');
const weightGradAffine2Rule = affine2Rule('conv2dWeightGradAffine2');

/**
 * conv2dInputGradAffine2(g, y, p, q, r, w) → dx = conv2dInputGrad(g·p + y·q + r, w): the gradient of the normalization
 * after a convolution is taken as it is read.
 */
export const conv2dInputGradAffine2Op = defineOp<ConvInputGradAttributes>()({
  name: 'conv2dInputGradAffine2',
  inputs: ['g', 'y', 'p', 'q', 'r', 'w'],
  outputs: ['dx'],
  infer: (inputs, a) => {
    const [g, , , , , w] = inputs as [Aval, Aval, Aval, Aval, Aval, Aval];
    inputGradAffine2Rule(inputs.slice(0, 5), a);
    return conv2dInputGradOp.infer([g, w], a);
  },
  encode: conv2dInputGradOp.encode,
  vjp: none,
});

/** conv2dWeightGradAffine2(x, g, y, p, q, r) → dw = conv2dWeightGrad(x, g·p + y·q + r). */
export const conv2dWeightGradAffine2Op = defineOp<ConvWeightGradAttributes>()({
  name: 'conv2dWeightGradAffine2',
  inputs: ['x', 'g', 'y', 'p', 'q', 'r'],
  outputs: ['dw'],
  infer: (inputs, a) => {
    const [x, g] = inputs as [Aval, Aval];
    weightGradAffine2Rule(inputs.slice(1), a);
    return conv2dWeightGradOp.infer([x, g], a);
  },
  encode: conv2dWeightGradOp.encode,
  vjp: none,
});

/** affineRelu(x, scale, shift) → y = relu(x·scale + shift). */
export const affineReluOp = defineOp<object>()({
  name: 'affineRelu',
  inputs: ['x', 'scale', 'shift'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule(
    'affineRelu',
    { x: 'T[...,c]', scale: 'A[c]', shift: 'A[c]' },
    ({ c }, { lead, dtype }) => [aval([...lead, c], dtype)],
  ),
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
  inPlace: ['residual', undefined],
  infer: (inputs, a) => {
    const [x, scale, shift, residual] = inputs as [Aval, Aval, Aval, Aval];
    affineMaxPoolAddRule([x, scale, shift], a);
    const [y, argmax] = maxPoolOp.infer([x], a) as [Aval, Aval];
    if (!sameShape(residual.shape, y.shape) || residual.dtype !== y.dtype) {
      throw new ShapeError(`affineMaxPoolAdd: residual expects ${showAval(y)}, got ${showAval(residual)}`);
    }
    return [y, argmax];
  },
  encode: maxPoolOp.encode,
  vjp: none,
});

/** maxPoolGradSums(g, argmax, x) → dx = maxPoolGrad(g, argmax), and sums of dx and of dx·x per channel. */
export const maxPoolGradSumsOp = defineOp<MaxPoolGradAttributes>()({
  name: 'maxPoolGradSums',
  inputs: ['g', 'argmax', 'x'],
  outputs: ['dx', 'sumG', 'sumGX'],
  infer: (inputs, a) => {
    const [g, argmax, x] = inputs as [Aval, Aval, Aval];
    const [dx] = maxPoolGradOp.infer([g, argmax], a) as [Aval];
    if (!sameShape(x.shape, dx.shape) || x.dtype !== dx.dtype) {
      throw new ShapeError(`maxPoolGradSums: x expects ${showAval(dx)}, got ${showAval(x)}`);
    }
    return [dx, totals(x), totals(x)];
  },
  encode: maxPoolGradOp.encode,
  vjp: none,
});
