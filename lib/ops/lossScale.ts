// Dynamic loss scaling, on the device: gradients divided by the scale and checked, the next scale, and the choice between
// values that leaves everything as it was after a step whose gradients overflowed.
//
// Micikevicius et al., "Mixed Precision Training", 2018, arXiv 1710.03740, section 3.2; the rule is that of PyTorch's
// GradScaler.

import { apply, applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { fillBeside } from './shape.ts';
import { expectRange, expectShare, expectWhole, shapeRule } from './shapeRule.ts';

/** select(condition, a, b) → y = condition ≠ 0 ? a : b, as a whole. What is not chosen may be anything, NaN too. */
export const selectOp = defineOp<object>()({
  name: 'select',
  inputs: ['condition', 'a', 'b'],
  outputs: ['y'],
  inPlace: ['a'],
  infer: shapeRule('select', { condition: 'A[]', a: 'T[...]', b: 'T[...]' }, (_, { lead, dtype }) => [
    aval(lead, dtype),
  ]),
  encode: () => [],
  vjp: {
    differentiates: ['a', 'b'],
    reads: { inputs: ['condition'] },
    rule: ({ cotangents: { y: g }, inputs: { condition }, needs }) => {
      const zeros = fillBeside(g!, g!.shape, 0);
      return {
        ...(needs('a') && { a: select(condition, g!, zeros) }),
        ...(needs('b') && { b: select(condition, zeros, g!) }),
      };
    },
  },
});

/** unscale(g, scale) → y = g / scale of the accumulator type; overflow = 1 if an element of g is not finite, else 0. */
export const unscaleOp = defineOp<object>()({
  name: 'unscale',
  inputs: ['g', 'scale'],
  outputs: ['y', 'overflow'],
  inPlace: ['g', undefined],
  infer: shapeRule('unscale', { g: 'T[...]', scale: 'A[]' }, (_, { lead, accumulator }) => [
    aval(lead, accumulator),
    aval([], accumulator),
  ]),
  encode: () => [],
  vjp: { none: 'it ends the way of gradients' },
});

/** How the scale changes: `growth` after `interval` good steps in a row, `backoff` at each overflow. */
export type LossScaleAttributes = {
  readonly growth: number;
  readonly backoff: number;
  readonly interval: number;
};

/**
 * lossScaleUpdate(scale, good, skipped, overflow) → the next three. After an overflow: scale · backoff, good = 0, skipped + 1.
 * Else good + 1, and at `interval` scale · growth, unless that is infinite, and good = 0.
 */
export const lossScaleUpdateOp = defineOp<LossScaleAttributes>()({
  name: 'lossScaleUpdate',
  inputs: ['scale', 'good', 'skipped', 'overflow'],
  outputs: ['scale', 'good', 'skipped'],
  inPlace: ['scale', 'good', 'skipped'],
  infer: shapeRule(
    'lossScaleUpdate',
    { scale: 'A[]', good: 'A[]', skipped: 'A[]', overflow: 'A[]' },
    (_, match, { growth, backoff, interval }) => {
      expectRange(match, 'growth', growth, 1);
      expectShare(match, 'backoff', backoff);
      expectWhole(match, 'interval', [interval], 1);
      return Array.from({ length: 3 }, () => aval([], match.accumulator));
    },
  ),
  encode: ({ growth, backoff, interval }) => [growth, backoff, interval],
  vjp: { none: 'an update is not differentiated' },
});

/**
 * `a` where the condition is not 0, else `b`, as a whole: nothing is computed with the other one.
 * @param condition f32 scalar
 * @param a any shape
 * @param b of a's shape and type
 */
export function select(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  return applyOne(selectOp, [condition, a, b], {});
}

/**
 * Gradients of a loss that was multiplied by `scale`, without it, in f32.
 * @param g any shape, f32, bf16 or f16
 * @param scale f32 scalar
 * @returns `y` of g's shape, and `overflow`, a scalar: 1 if an element of g is infinite or NaN, else 0
 */
export function unscale(g: Tensor, scale: Tensor): { y: Tensor; overflow: Tensor } {
  const [y, overflow] = apply(unscaleOp, [g, scale], {}) as [Tensor, Tensor];
  return { y, overflow };
}

/** State of a loss scale; f32 scalars. */
export interface LossScaleState {
  readonly scale: Tensor;
  /** Steps without overflow since the scale last changed. */
  readonly good: Tensor;
  /** Steps with overflow so far. */
  readonly skipped: Tensor;
}

/** The state after a step; `overflow` is a scalar, not 0 where the step overflowed. The defaults are PyTorch's. */
export function lossScaleUpdate(
  { scale, good, skipped }: LossScaleState,
  overflow: Tensor,
  { growth = 2, backoff = 0.5, interval = 2000 }: Partial<LossScaleAttributes> = {},
): LossScaleState {
  const next = apply(lossScaleUpdateOp, [scale, good, skipped, overflow], { growth, backoff, interval });
  const [newScale, newGood, newSkipped] = next as [Tensor, Tensor, Tensor];
  return { scale: newScale, good: newGood, skipped: newSkipped };
}
