// Dropout: random, but a function of its inputs, so that eager, compiled and resumed runs agree bit for bit.

import { applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { expectRange, shapeRule } from './shapeRule.ts';

/** Attributes of dropout. `stream` tells the layers of a network apart: a 32-bit number. */
export type DropoutAttributes = { readonly rate: number; readonly stream: number };

/**
 * dropout(x, counter = [seed, step]) → y. Element i is kept when word i mod 4 of
 * Philox4x32-10(counter = {lo(i/4), hi(i/4), step, 0}, key = {seed, stream}) is at least floor(rate 2³²), and
 * then multiplied by 1 / (1 - rate). Srivastava et al., JMLR 15, 2014; scaled while training, so that
 * inference does nothing.
 */
export const dropoutOp = defineOp<DropoutAttributes>()({
  name: 'dropout',
  inputs: ['x', 'counter'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('dropout', { x: 'T[...]', counter: 'i32[two]' }, ({ two }, match, { rate, stream }) => {
    if (two !== 2) throw match.shapeError(`counter expects 2 elements, seed and step; got ${two}`);
    expectRange(match, 'rate', rate, 0, 1);
    if (stream !== stream >>> 0) {
      throw match.argumentError(`stream expects a whole number from 0 to below 2^32, got ${stream}`);
    }
    return [aval(match.lead, match.dtype)];
  }),
  encode: ({ rate, stream }) => [rate, stream],
  vjp: {
    differentiates: ['x'],
    reads: { inputs: ['counter'] },
    rule: ({ attributes, cotangents: { y: g }, inputs: { counter } }) => ({
      x: dropout(g!, counter, attributes),
    }),
  },
});

/**
 * Sets elements to 0 with probability `rate` and multiplies the others by 1 / (1 - rate).
 * @param x any shape
 * @param counter i32 [2]: seed and step. The same counter, rate and stream give the same mask.
 * @param options `rate` in [0, 1); `stream`, default 0: another one for each layer
 */
export function dropout(
  x: Tensor,
  counter: Tensor,
  { rate, stream = 0 }: { readonly rate: number; readonly stream?: number },
): Tensor {
  return applyOne(dropoutOp, [x, counter], { rate, stream });
}
