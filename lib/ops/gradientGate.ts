// The gate of a training step: whether it may change anything, and by what its gradient is multiplied before the update.

import { apply } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { expectRange, expectWhole, shapeRule } from './shapeRule.ts';

export type GradientGateAttributes = {
  /** Largest norm of a gradient that is not shortened; 0: none is. */
  readonly clipNorm: number;
  /** Batches whose gradients were added up. */
  readonly count: number;
};

/**
 * gradientGate(g, loss) → factor, norm, skip, with norm = |g| / count. Where norm or loss is not finite: factor = NaN, skip = 1.
 * Else skip = 0 and factor = min(1, clipNorm / norm) / count, or 1 / count where clipNorm is 0.
 * Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks, 2013, algorithm 1.
 */
export const gradientGateOp = defineOp<GradientGateAttributes>()({
  name: 'gradientGate',
  inputs: ['g', 'loss'],
  outputs: ['factor', 'norm', 'skip'],
  infer: shapeRule('gradientGate', { g: 'A[...]', loss: 'A[]' }, (_, match, { clipNorm, count }) => {
    expectRange(match, 'clipNorm', clipNorm, 0);
    expectWhole(match, 'count', [count], 1);
    return Array.from({ length: 3 }, () => aval([], match.dtype));
  }),
  encode: ({ clipNorm, count }) => [clipNorm, count],
  vjp: { none: 'it ends the way of gradients' },
});

/** What {@link gradientGate} says; scalars. */
export interface GradientGateResult {
  /** Of the gradient in an update (`factor` of its options); NaN: nothing is updated. */
  readonly factor: Tensor;
  /** Euclidean norm of g / count. */
  readonly norm: Tensor;
  /** 1 where nothing is to change, else 0. */
  readonly skip: Tensor;
}

/**
 * Looks at a loss and a gradient before they change anything: what is not finite is to be skipped, what is long to be shortened.
 *
 * @param g the gradients of all parameters, any shape; the sum of those of `count` batches
 * @param loss scalar of g's type, that of those batches
 * @param options clipNorm: gradients are shortened to this norm, default 0: they are not; count default 1
 */
export function gradientGate(
  g: Tensor,
  loss: Tensor,
  { clipNorm = 0, count = 1 }: Partial<GradientGateAttributes> = {},
): GradientGateResult {
  const [factor, norm, skip] = apply(gradientGateOp, [g, loss], { clipNorm, count }) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return { factor, norm, skip };
}
