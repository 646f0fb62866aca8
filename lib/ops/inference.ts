// Ops of inference programs: convolutions with normalization folded into their filters, and what follows them in their
// epilogue. Rewriting makes them where the weights hold still between runs (foldings.ts); they have no gradient.

import { type Aval, aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import { type ConvAttributes, conv2dOp } from './conv2d.ts';
import { expectWhole, shapeRule } from './shapeRule.ts';
import type { Pair } from './window.ts';

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

/** What filters are packed for: the convolution of these images, which determines a backend's layout. */
export type PackAttributes = EpilogueAttributes & {
  /** Images, rows and columns of its input. */
  readonly image: readonly [number, number, number];
  /** Rows and columns of its output. */
  readonly size: Pair;
  /** Whether a residual is added. */
  readonly add: boolean;
  /** Bytes that the backend asks for. */
  readonly bytes: number;
};

/** packFilters(w) → u8[bytes]: filters in the layout that the backend computes with. */
export const packFiltersOp = defineOp<PackAttributes>()({
  name: 'packFilters',
  inputs: ['w'],
  outputs: ['packed'],
  infer: shapeRule('packFilters', { w: 'T[o,kh,kw,d]' }, (_, match, { bytes }) => {
    expectWhole(match, 'bytes', [bytes], 1);
    return [aval([bytes], 'u8')];
  }),
  encode: (a) => [...encodeEpilogue(a), ...a.image, ...a.size, Number(a.add), a.bytes],
  vjp: none,
});

/** `filters`: shape [o, kernel height, kernel width, channels per group] of the filters before they were packed. */
export type PackedAttributes = EpilogueAttributes & {
  readonly filters: readonly [number, number, number, number];
};

const packedRule = shapeRule(
  'conv2dPacked',
  { x: 'T[n,h,w,c]', packed: 'u8[bytes]', bias: 'A[o]' },
  () => [],
);

function convolvedPacked(inputs: readonly Aval[], a: PackedAttributes): readonly Aval[] {
  const [x, packed, bias] = inputs as [Aval, Aval, Aval];
  packedRule([x, packed, bias], a);
  return convolved([x, aval(a.filters, x.dtype), bias], a);
}

const encodePacked = (a: PackedAttributes) => [...encodeEpilogue(a), ...a.filters];

/** conv2dPacked(x, packed, bias) → conv2dBias with the filters that were packed. */
export const conv2dPackedOp = defineOp<PackedAttributes>()({
  name: 'conv2dPacked',
  inputs: ['x', 'packed', 'bias'],
  outputs: ['y'],
  infer: convolvedPacked,
  encode: encodePacked,
  vjp: none,
});

/** conv2dPackedAdd(x, packed, bias, residual) → conv2dBiasAdd with the filters that were packed. */
export const conv2dPackedAddOp = defineOp<PackedAttributes>()({
  name: 'conv2dPackedAdd',
  inputs: ['x', 'packed', 'bias', 'residual'],
  outputs: ['y'],
  inPlace: ['residual'],
  infer: convolvedPacked,
  encode: encodePacked,
  vjp: none,
});
