// Foldings: rewriting rules for programs whose weights hold still between runs. Normalization with fixed statistics goes
// into the filters of the convolution before it, and what follows goes into the convolution's epilogue. What depends on
// the weights alone is then computed once, not at each run (core/passes/hoist.ts).

import { operandOf, outputOf } from '../core/passes/graph.ts';
import type { Rewriter, Rule } from '../core/passes/rewrite.ts';
import type { Instruction, ValueId } from '../core/program.ts';
import type { ConvAttributes } from './conv2d.ts';
import {
  conv2dBiasAddOp,
  conv2dBiasOp,
  conv2dPackedAddOp,
  conv2dPackedOp,
  type EpilogueAttributes,
  filterMultiplyOp,
  packFiltersOp,
} from './inference.ts';
import { castOp } from './shape.ts';

/** w·scale; where w is a cast in 16 bits, of what it was before, so that the product is rounded but once. */
function multipliedFilters(
  { graph, emit }: Rewriter,
  conv: Instruction,
  w: ValueId,
  scale: ValueId,
): ValueId | undefined {
  const cast = graph.maker(w, castOp.name);
  const exact = cast === undefined ? undefined : operandOf(cast, 'x');
  if (exact === undefined || graph.aval(exact).dtype !== graph.aval(scale).dtype) {
    return emit(filterMultiplyOp, [w, scale], {}, conv)?.[0];
  }
  const product = emit(filterMultiplyOp, [exact, scale], {}, conv);
  return product && emit(castOp, product, { dtype: graph.aval(w).dtype }, conv)?.[0];
}

/** conv2d(x, w)·scale + shift = conv2d(x, w·scale) + shift. */
const foldNormalization: Rule = {
  name: 'fold normalization',
  root: 'channelAffine',
  apply(affine, rewriter) {
    const { graph } = rewriter;
    const y = operandOf(affine, 'x');
    const conv = graph.maker(y, 'conv2d');
    const [scale, shift] = [operandOf(affine, 'scale'), operandOf(affine, 'shift')];
    if (conv === undefined || !graph.hasOneUse(y)) return;
    const w = operandOf(conv, 'w');
    if (![w, scale, shift].every((value) => graph.holdsStill(value))) return;
    const filters = multipliedFilters(rewriter, conv, w, scale);
    if (filters === undefined) return;
    const attributes = { ...(conv.attributes as ConvAttributes), relu: false };
    const made = rewriter.emit(conv2dBiasOp, [operandOf(conv, 'x'), filters, shift], attributes, conv);
    if (made !== undefined) rewriter.replace(outputOf(affine, 'y'), made[0] as ValueId);
  },
};

/** A residual is added in the epilogue. */
const biasAndAdd: Rule = {
  name: 'bias and add',
  root: 'add',
  apply(add, rewriter) {
    const { graph } = rewriter;
    const operand = add.inputs.findIndex(
      (value) => graph.maker(value, 'conv2dBias') && graph.hasOneUse(value),
    );
    const conv = graph.maker(add.inputs[operand] ?? -1);
    if (conv === undefined || (conv.attributes as EpilogueAttributes).relu) return;
    const residual = add.inputs[1 - operand] as ValueId;
    const made = rewriter.emit(
      conv2dBiasAddOp,
      [...conv.inputs, residual],
      conv.attributes as EpilogueAttributes,
      conv,
    );
    if (made !== undefined) rewriter.replace(outputOf(add, 'y'), made[0] as ValueId);
  },
};

/** A ReLU is taken in the epilogue, where nothing needs what was before it. */
const biasAndRelu: Rule = {
  name: 'bias and relu',
  root: 'relu',
  apply(relu, rewriter) {
    const { graph } = rewriter;
    const x = operandOf(relu, 'x');
    const conv = graph.maker(x, 'conv2dBias');
    if (conv === undefined || !graph.hasOneUse(x)) return;
    const attributes = { ...(conv.attributes as EpilogueAttributes), relu: true };
    const made = rewriter.emit(conv2dBiasOp, conv.inputs, attributes, conv);
    if (made !== undefined) rewriter.replace(outputOf(relu, 'y'), made[0] as ValueId);
  },
};

/** Filters that hold still are put into the backend's own layout once, if it has one. */
const packing = (add: boolean): Rule => ({
  name: add ? 'pack filters of sums' : 'pack filters',
  root: add ? conv2dBiasAddOp.name : conv2dBiasOp.name,
  apply(conv, rewriter) {
    const { graph } = rewriter;
    const w = operandOf(conv, 'w');
    if (!graph.holdsStill(w)) return;
    const bytes = rewriter.packedBytes(conv);
    if (bytes === undefined) return;
    const attributes = conv.attributes as EpilogueAttributes;
    const [n, height, width] = graph.aval(operandOf(conv, 'x')).shape as [number, number, number];
    const [, rows, columns] = graph.aval(outputOf(conv, 'y')).shape as [number, number, number];
    const filters = graph.aval(w).shape as readonly [number, number, number, number];
    const made = { ...attributes, image: [n, height, width], size: [rows, columns], add, bytes } as const;
    const packed = rewriter.emit(packFiltersOp, [w], made);
    if (packed === undefined) return;
    const inputs = conv.inputs.map((value) => (value === w ? (packed[0] as ValueId) : value));
    const y = rewriter.emit(add ? conv2dPackedAddOp : conv2dPackedOp, inputs, { ...attributes, filters });
    if (y !== undefined) rewriter.replace(outputOf(conv, 'y'), y[0] as ValueId);
  },
});

/** After all others, which know nothing of packed filters. */
export const packings: readonly Rule[] = [packing(false), packing(true)];

/** Before the fusions: a normalization that is folded is not there to be fused. */
export const foldings: readonly Rule[] = [foldNormalization, biasAndAdd, biasAndRelu];
