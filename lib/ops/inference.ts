// Ops of inference programs: convolutions with normalization folded into their filters, and what follows them in their
// epilogue. Rewriting makes them where the weights hold still between runs (foldings.ts); they have no gradient.

import { type Aval, aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import { type ConvAttributes, conv2dOp } from './conv2d.ts';
import { shapeRule } from './shapeRule.ts';

const none = { none: 'an op of inference programs, made after differentiation' } as const;

/** filterMultiply(w, scale) → each filter w[o] times scale[o]. */
export const filterMultiplyOp = defineOp<object>()({
  name: 'filterMultiply',
  inputs: ['w', 'scale'],
  outputs: ['y'],
  infer: shapeRule('filterMultiply', { w: 'T[o,kh,kw,d]', scale: 'A[o]' }, ({ o, kh, kw, d }, { dtype }) => [
    aval([o, kh, kw, d], dtype),
  ]),
  encode: () => [],
  vjp: none,
});

/** `relu`: whether a ReLU is the last thing done. */
export type EpilogueAttributes = ConvAttributes & { readonly relu: boolean };

const encodeEpilogue = (a: EpilogueAttributes) => [...conv2dOp.encode(a), Number(a.relu)];

const biasRule = shapeRule('conv2dBias', { y: 'T[n,h,w,o]', bias: 'A[o]' }, () => []);

function convolved([x, w, bias]: readonly Aval[], a: EpilogueAttributes): readonly Aval[] {
  const [y] = conv2dOp.infer([x as Aval, w as Aval], a);
  biasRule([y as Aval, bias as Aval], a);
  return [y as Aval];
}

/** conv2dBias(x, w, bias) → relu?(conv2d(x, w) + bias). */
export const conv2dBiasOp = defineOp<EpilogueAttributes>()({
  name: 'conv2dBias',
  inputs: ['x', 'w', 'bias'],
  outputs: ['y'],
  infer: convolved,
  encode: encodeEpilogue,
  vjp: none,
});

/** conv2dBiasAdd(x, w, bias, residual) → relu?(conv2d(x, w) + bias + residual). */
export const conv2dBiasAddOp = defineOp<EpilogueAttributes>()({
  name: 'conv2dBiasAdd',
  inputs: ['x', 'w', 'bias', 'residual'],
  outputs: ['y'],
  inPlace: ['residual'],
  infer: convolved,
  encode: encodeEpilogue,
  vjp: none,
});
