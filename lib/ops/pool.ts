// Pooling: the largest element or the mean of a window, and the mean of a whole image.

import { apply, applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import { scope } from '../core/scope.ts';
import type { Tensor } from '../core/tensor.ts';
import { type Errors, expectWhole, shapeRule } from './shapeRule.ts';
import {
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

/** Attributes of max pooling. `kernel`: rows and columns of the window. */
export type PoolAttributes = Window & { readonly kernel: Pair };
/** Attributes of average pooling. `countPadding`: whether the mean counts the padding's zeros. */
export type AvgPoolAttributes = PoolAttributes & { readonly countPadding: boolean };
/** `size`: rows and columns of the image, which stride leaves open. */
export type MaxPoolGradAttributes = PoolAttributes & { readonly size: Pair };
export type AvgPoolGradAttributes = AvgPoolAttributes & { readonly size: Pair };

const encode = (a: PoolAttributes) => [...a.kernel, ...encodeWindow(a)];

/** The index within a window is kept in one byte. */
const maxTaps = 256;

/** Every window must hold an element of the image. */
function expectKernel(errors: Errors, { kernel, padding }: PoolAttributes): void {
  expectWhole(errors, 'kernel', kernel, 1);
  const [top, bottom, left, right] = padding;
  if (Math.max(top, bottom) >= kernel[0] || Math.max(left, right) >= kernel[1]) {
    throw errors.argumentError(
      `padding expects to be smaller than the kernel ${kernel.join('x')}, got ${padding}`,
    );
  }
}

function expectMaxKernel(errors: Errors, a: PoolAttributes): void {
  expectKernel(errors, a);
  if (a.kernel[0] * a.kernel[1] > maxTaps) {
    throw errors.argumentError(`kernel expects at most ${maxTaps} elements, got ${a.kernel.join('x')}`);
  }
}

/** maxPool(x) → y, argmax: `row * kernelWidth + column` in the window of the first largest element. */
export const maxPoolOp = defineOp<PoolAttributes>()({
  name: 'maxPool',
  inputs: ['x'],
  outputs: ['y', 'argmax'],
  infer: shapeRule('maxPool', { x: 'T[n,h,w,c]' }, ({ n, h, w, c }, match, a) => {
    expectMaxKernel(match, a);
    const shape = [n, ...windowOutput(match, 'x', [h, w], a.kernel, a), c];
    return [aval(shape, match.dtype), aval(shape, 'u8')];
  }),
  encode,
  vjp: {
    differentiates: ['x'],
    through: ['y'],
    reads: { outputs: ['argmax'] },
    rule: ({ attributes, cotangents: { y: g }, outputs: { argmax }, inputAvals: [x] }) => ({
      x: applyOne(maxPoolGradOp, [g!, argmax], { ...attributes, size: imageSize(x!) }),
    }),
  },
});

/** maxPoolGrad(g, argmax) → dx: each g goes to the element that won. */
export const maxPoolGradOp = defineOp<MaxPoolGradAttributes>()({
  name: 'maxPoolGrad',
  inputs: ['g', 'argmax'],
  outputs: ['dx'],
  infer: shapeRule(
    'maxPoolGrad',
    { g: 'T[n,oh,ow,c]', argmax: 'u8[n,oh,ow,c]' },
    ({ n, oh, ow, c }, match, a) => {
      expectMaxKernel(match, a);
      expectWhole(match, 'size', a.size, 0);
      expectOutput(match, [oh, ow], a.size, a.kernel, a);
      return [aval([n, ...a.size, c], match.dtype)];
    },
  ),
  encode: (a) => [...encode(a), ...a.size],
  vjp: { none: 'second derivatives of max pooling are not provided' },
});

/** avgPool(x) → y: the mean of each window. */
export const avgPoolOp = defineOp<AvgPoolAttributes>()({
  name: 'avgPool',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('avgPool', { x: 'T[n,h,w,c]' }, ({ n, h, w, c }, match, a) => {
    expectKernel(match, a);
    return [aval([n, ...windowOutput(match, 'x', [h, w], a.kernel, a), c], match.dtype)];
  }),
  encode: (a) => [...encode(a), Number(a.countPadding)],
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ attributes, cotangents: { y: g }, inputAvals: [x] }) => ({
      x: applyOne(avgPoolGradOp, [g!], { ...attributes, size: imageSize(x!) }),
    }),
  },
});

/** avgPoolGrad(g) → dx: the adjoint of avgPool. */
export const avgPoolGradOp = defineOp<AvgPoolGradAttributes>()({
  name: 'avgPoolGrad',
  inputs: ['g'],
  outputs: ['dx'],
  infer: shapeRule('avgPoolGrad', { g: 'T[n,oh,ow,c]' }, ({ n, oh, ow, c }, match, a) => {
    expectKernel(match, a);
    expectWhole(match, 'size', a.size, 0);
    expectOutput(match, [oh, ow], a.size, a.kernel, a);
    return [aval([n, ...a.size, c], match.dtype)];
  }),
  encode: (a) => [...encode(a), Number(a.countPadding), ...a.size],
  vjp: {
    differentiates: ['g'],
    reads: {},
    rule: ({ attributes: { size: _, ...a }, cotangents: { dx } }) => ({ g: average(dx!, a) }),
  },
});

/** globalAvgPool(x) → y: the mean of each channel of each image. */
export const globalAvgPoolOp = defineOp<object>()({
  name: 'globalAvgPool',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('globalAvgPool', { x: 'T[n,h,w,c]' }, ({ n, h, w, c }, { dtype, shapeError }) => {
    if (h * w === 0) throw shapeError('x expects at least one row and column');
    return [aval([n, c], dtype)];
  }),
  encode: () => [],
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ cotangents: { y: g }, inputAvals: [x] }) => ({ x: globalAvgPoolGrad(g!, imageSize(x!)) }),
  },
});

/** globalAvgPoolGrad(g) → dx = g / (h w): the adjoint of globalAvgPool. */
export const globalAvgPoolGradOp = defineOp<{ readonly size: Pair }>()({
  name: 'globalAvgPoolGrad',
  inputs: ['g'],
  outputs: ['dx'],
  infer: shapeRule('globalAvgPoolGrad', { g: 'T[n,c]' }, ({ n, c }, match, { size }) => {
    expectWhole(match, 'size', size, 1);
    return [aval([n, ...size, c], match.dtype)];
  }),
  encode: ({ size }) => size,
  vjp: {
    differentiates: ['g'],
    reads: {},
    rule: ({ cotangents: { dx } }) => ({ g: globalAvgPool(dx!) }),
  },
});

const imageSize = ({ shape }: { readonly shape: readonly number[] }): Pair => [shape[1] ?? 0, shape[2] ?? 0];

function average(x: Tensor, a: AvgPoolAttributes): Tensor {
  return applyOne(avgPoolOp, [x], a);
}

/** Options of pooling. A pair is [height, width]. */
export interface PoolOptions {
  /** Rows and columns of the window. */
  readonly kernel: PairOption;
  /** Default: the kernel, so that windows do not overlap. */
  readonly stride?: PairOption;
  /** Default `'valid'`. Smaller than the kernel. */
  readonly padding?: PaddingOption;
}

/** Options of {@link avgPool}. */
export interface AvgPoolOptions extends PoolOptions {
  /** Whether the mean counts the padding's zeros. Default false, as in TensorFlow; PyTorch's is true. */
  readonly countPadding?: boolean;
}

function resolve(op: string, x: Tensor, options: PoolOptions): PoolAttributes {
  const kernel = pair(options.kernel);
  const stride = pair(options.stride ?? kernel);
  const padding = resolvePadding(op, options.padding ?? 'valid', imageSize(x), kernel, stride);
  return { kernel, stride, padding };
}

/** Largest element of each window: x [n, h, w, c] → [n, out height, out width, c]. Padding never wins. */
export function maxPool(x: Tensor, options: PoolOptions): Tensor {
  return scope(() => applyOne(maxPoolOp, [x], resolve('maxPool', x, options)));
}

/** As {@link maxPool}, with the place of each winner in its window: u8, `row * kernelWidth + column`. */
export function maxPoolWithArgmax(x: Tensor, options: PoolOptions): { y: Tensor; argmax: Tensor } {
  const [y, argmax] = apply(maxPoolOp, [x], resolve('maxPool', x, options)) as [Tensor, Tensor];
  return { y, argmax };
}

/** Mean of each window: x [n, h, w, c] → [n, out height, out width, c]. */
export function avgPool(x: Tensor, options: AvgPoolOptions): Tensor {
  return average(x, { ...resolve('avgPool', x, options), countPadding: options.countPadding ?? false });
}

/** Mean of each channel of each image: x [n, h, w, c] → [n, c]. */
export function globalAvgPool(x: Tensor): Tensor {
  return applyOne(globalAvgPoolOp, [x], {});
}

/** Adjoint of {@link globalAvgPool}: g [n, c] spread evenly over images of `size` [h, w] → [n, h, w, c]. */
export function globalAvgPoolGrad(g: Tensor, size: Pair): Tensor {
  return applyOne(globalAvgPoolGradOp, [g], { size });
}
