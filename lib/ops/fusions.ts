// Fusions: the rewriting rules that turn what differentiation and the layers wrote down into fewer passes over memory.
// The table of the design: normalize on load of a depthwise convolution; channel sums in a convolution's epilogue;
// a depthwise convolution's two gradients, its ReLU mask and the sums of the next normalization gradient in one; the
// normalization gradient applied in one pass.

import { operandOf, outputOf } from '../core/passes/graph.ts';
import type { Rewriter, Rule } from '../core/passes/rewrite.ts';
import type { Instruction, ValueId } from '../core/program.ts';
import {
  type ConvAttributes,
  type ConvInputGradAttributes,
  type ConvWeightGradAttributes,
  conv2dOp,
} from './conv2d.ts';
import {
  affineAddOp,
  affineMaxPoolAddOp,
  affineReluGradOp,
  affineReluOp,
  channelAffine2Op,
  conv2dInputGradAffine2Op,
  conv2dSumsOp,
  conv2dWeightGradAffine2Op,
  depthwiseAffineGradOp,
  depthwiseAffineOp,
  depthwiseReluGradOp,
  depthwiseReluOp,
  maxPoolGradSumsOp,
} from './fused.ts';
import type { MaxPoolGradAttributes, PoolAttributes } from './pool.ts';

/** A convolution with one filter per channel. */
const isDepthwise = ({ attributes }: Instruction, channels: number): boolean =>
  (attributes as ConvAttributes).groups === channels && channels > 1;

/** Whether what is read as a convolution's input is relu?(affine?(x)), and of which x. */
interface Activation {
  readonly x: ValueId;
  readonly affine: { readonly scale: ValueId; readonly shift: ValueId } | undefined;
  readonly relu: boolean;
}

function activationOf({ graph }: Rewriter, value: ValueId): Activation {
  const relu = graph.maker(value, 'relu');
  const inner = relu === undefined ? value : operandOf(relu, 'x');
  const affine = graph.maker(inner, 'channelAffine');
  if (affine === undefined) return { x: inner, affine: undefined, relu: relu !== undefined };
  return {
    x: operandOf(affine, 'x'),
    affine: { scale: operandOf(affine, 'scale'), shift: operandOf(affine, 'shift') },
    relu: relu !== undefined,
  };
}

/** channelAffine → relu → depthwise convolution: the convolution normalizes on load. */
const normalizeOnLoad: Rule = {
  name: 'normalize on load',
  root: 'conv2d',
  apply(conv, rewriter) {
    const input = operandOf(conv, 'x');
    const channels = rewriter.graph.aval(input).shape[3] as number;
    if (!isDepthwise(conv, channels)) return;
    const { x, affine, relu } = activationOf(rewriter, input);
    const w = operandOf(conv, 'w');
    const attributes = { ...(conv.attributes as ConvAttributes), relu };
    let made: readonly ValueId[] | undefined;
    if (affine !== undefined)
      made = rewriter.emit(depthwiseAffineOp, [x, affine.scale, affine.shift, w], attributes);
    else if (relu) made = rewriter.emit(depthwiseReluOp, [x, w], attributes);
    if (made !== undefined) rewriter.replace(outputOf(conv, 'y'), made[0] as ValueId);
  },
};

/** Whether a weight gradient is that of a convolution with these attributes and rows and columns of its weight. */
function isWeightGradOf(
  { attributes }: Instruction,
  convolution: ConvAttributes,
  kernel: readonly number[],
): boolean {
  const a = attributes as ConvWeightGradAttributes;
  const wanted = [...conv2dOp.encode(convolution), ...kernel];
  return [...conv2dOp.encode(a), ...a.kernel].every((value, i) => value === wanted[i]);
}

/**
 * The two gradients of a depthwise convolution, the mask of the ReLU before it, and the sums over the masked gradient, in
 * one kernel that recomputes the activation from what was before the normalization.
 */
const depthwiseBackward: Rule = {
  name: 'depthwise backward',
  root: 'conv2dInputGrad',
  apply(inputGrad, rewriter) {
    const { graph } = rewriter;
    const dx = outputOf(inputGrad, 'dx');
    const channels = graph.aval(dx).shape[3] as number;
    if (!isDepthwise(inputGrad, channels) || !graph.hasOneUse(dx)) return;
    const [mask] = graph.users(dx, 'reluGrad', 'g');
    if (mask === undefined) return;
    const activated = operandOf(mask, 'y');
    const { x, affine, relu } = activationOf(rewriter, activated);
    if (!relu) return;
    const g = operandOf(inputGrad, 'g');
    const w = operandOf(inputGrad, 'w');
    const { size: _, ...convolution } = inputGrad.attributes as ConvInputGradAttributes;
    const [, ...kernel] = graph.aval(w).shape.slice(0, 3);
    const weightGrad = graph
      .users(g, 'conv2dWeightGrad', 'g')
      .find(
        (candidate) =>
          operandOf(candidate, 'x') === activated && isWeightGradOf(candidate, convolution, kernel),
      );
    if (weightGrad === undefined) return;
    const attributes = { ...convolution, relu };
    const masked = outputOf(mask, 'dx');
    if (affine !== undefined) {
      const sums = graph
        .users(masked, 'channelGradSums', 'g')
        .find((candidate) => operandOf(candidate, 'x') === x);
      if (sums === undefined) return;
      const made = rewriter.emit(depthwiseAffineGradOp, [g, x, affine.scale, affine.shift, w], attributes);
      if (made === undefined) return;
      const [newDx, dw, sumG, sumGX] = made as [ValueId, ValueId, ValueId, ValueId];
      rewriter.replace(masked, newDx);
      rewriter.replace(outputOf(weightGrad, 'dw'), dw);
      rewriter.replace(outputOf(sums, 'sumG'), sumG);
      rewriter.replace(outputOf(sums, 'sumGX'), sumGX);
      return;
    }
    // At the start of a residual module the other path's gradient is added.
    const [sum] = graph.hasOneUse(masked) ? graph.uses(masked) : [];
    if (sum?.instruction.op.name !== 'add') return;
    const residual = sum.instruction.inputs[1 - sum.operand] as ValueId;
    const made = rewriter.emit(depthwiseReluGradOp, [g, x, w, residual], attributes);
    if (made === undefined) return;
    rewriter.replace(outputOf(sum.instruction, 'y'), made[0] as ValueId);
    rewriter.replace(outputOf(weightGrad, 'dw'), made[1] as ValueId);
  },
};

/** convolution → channelSums: the sums are taken while the output is in cache. */
const sumsInEpilogue: Rule = {
  name: 'sums in epilogue',
  root: 'channelSums',
  apply(sums, rewriter) {
    const conv = rewriter.graph.maker(operandOf(sums, 'x'), 'conv2d');
    if (conv === undefined) return;
    const made = rewriter.emit(
      conv2dSumsOp,
      [operandOf(conv, 'x'), operandOf(conv, 'w')],
      conv.attributes as ConvAttributes,
      conv,
    );
    if (made === undefined) return;
    rewriter.replace(outputOf(conv, 'y'), made[0] as ValueId);
    rewriter.replace(outputOf(sums, 'sum'), made[1] as ValueId);
    rewriter.replace(outputOf(sums, 'sumSquares'), made[2] as ValueId);
  },
};

/** channelMultiply(g, p) + channelAffine(x, q, r): the gradient of batch normalization in one pass. */
const normalizationGradient: Rule = {
  name: 'normalization gradient',
  root: 'add',
  apply(add, rewriter) {
    const { graph } = rewriter;
    const [first, second] = add.inputs as [ValueId, ValueId];
    const multiply = graph.maker(first, 'channelMultiply') ?? graph.maker(second, 'channelMultiply');
    const affine = graph.maker(first, 'channelAffine') ?? graph.maker(second, 'channelAffine');
    if (multiply === undefined || affine === undefined) return;
    if (!graph.hasOneUse(outputOf(multiply, 'y')) || !graph.hasOneUse(outputOf(affine, 'y'))) return;
    const made = rewriter.emit(
      channelAffine2Op,
      [
        operandOf(multiply, 'x'),
        operandOf(affine, 'x'),
        operandOf(multiply, 'scale'),
        operandOf(affine, 'scale'),
        operandOf(affine, 'shift'),
      ],
      {},
    );
    if (made !== undefined) rewriter.replace(outputOf(add, 'y'), made[0] as ValueId);
  },
};

/**
 * channelAffine2 → the two gradients of the convolution before the normalization: both take it as they read, and its
 * result is never written. One of the two alone would read more than it saves. A backend that supports these does so
 * because it gains: on a CPU products are bound by arithmetic, and the transformation slows them by more than the pass
 * takes.
 */
const normalizationGradientOnLoad: Rule = {
  name: 'normalization gradient on load',
  root: 'channelAffine2',
  apply(affine, rewriter) {
    const { graph } = rewriter;
    const y = outputOf(affine, 'y');
    const [inputGrad, ...otherInputGrads] = graph.users(y, 'conv2dInputGrad', 'g');
    const [weightGrad, ...otherWeightGrads] = graph.users(y, 'conv2dWeightGrad', 'g');
    if (inputGrad === undefined || weightGrad === undefined) return;
    if (otherInputGrads.length + otherWeightGrads.length > 0) return;
    if (graph.isOutput(y) || graph.uses(y).length !== 2) return;
    const inputs = affine.inputs as readonly ValueId[];
    const dw = rewriter.emit(
      conv2dWeightGradAffine2Op,
      [operandOf(weightGrad, 'x'), ...inputs],
      weightGrad.attributes as ConvWeightGradAttributes,
      weightGrad,
    );
    if (dw === undefined) return;
    const dx = rewriter.emit(
      conv2dInputGradAffine2Op,
      [...inputs, operandOf(inputGrad, 'w')],
      inputGrad.attributes as ConvInputGradAttributes,
      inputGrad,
    );
    if (dx === undefined) return;
    rewriter.replace(outputOf(inputGrad, 'dx'), dx[0] as ValueId);
    rewriter.replace(outputOf(weightGrad, 'dw'), dw[0] as ValueId);
  },
};

/** maxPool(channelAffine) + residual: the end of a module that halves the image. */
const affinePoolAdd: Rule = {
  name: 'affine, pool, add',
  root: 'maxPool',
  apply(pool, rewriter) {
    const { graph } = rewriter;
    const affine = graph.maker(operandOf(pool, 'x'), 'channelAffine');
    const y = outputOf(pool, 'y');
    if (affine === undefined || !graph.hasOneUse(operandOf(pool, 'x')) || !graph.hasOneUse(y)) return;
    const [use] = graph.uses(y);
    if (use?.instruction.op.name !== 'add') return;
    const residual = use.instruction.inputs[1 - use.operand] as ValueId;
    const made = rewriter.emit(
      affineMaxPoolAddOp,
      [operandOf(affine, 'x'), operandOf(affine, 'scale'), operandOf(affine, 'shift'), residual],
      pool.attributes as PoolAttributes,
    );
    if (made === undefined) return;
    rewriter.replace(outputOf(use.instruction, 'y'), made[0] as ValueId);
    rewriter.replace(outputOf(pool, 'argmax'), made[1] as ValueId);
  },
};

/** maxPoolGrad → channelGradSums. */
const poolGradientSums: Rule = {
  name: 'pool gradient with sums',
  root: 'maxPoolGrad',
  apply(pool, rewriter) {
    const dx = outputOf(pool, 'dx');
    const [sums] = rewriter.graph.users(dx, 'channelGradSums', 'g');
    if (sums === undefined) return;
    const made = rewriter.emit(
      maxPoolGradSumsOp,
      [operandOf(pool, 'g'), operandOf(pool, 'argmax'), operandOf(sums, 'x')],
      pool.attributes as MaxPoolGradAttributes,
    );
    if (made === undefined) return;
    rewriter.replace(dx, made[0] as ValueId);
    rewriter.replace(outputOf(sums, 'sumG'), made[1] as ValueId);
    rewriter.replace(outputOf(sums, 'sumGX'), made[2] as ValueId);
  },
};

/** channelAffine + residual. */
const affineAdd: Rule = {
  name: 'affine and add',
  root: 'add',
  apply(add, rewriter) {
    const { graph } = rewriter;
    const operand = add.inputs.findIndex(
      (value) => graph.maker(value, 'channelAffine') && graph.hasOneUse(value),
    );
    const affine = graph.maker(add.inputs[operand] ?? -1);
    if (affine === undefined) return;
    const made = rewriter.emit(
      affineAddOp,
      [
        operandOf(affine, 'x'),
        operandOf(affine, 'scale'),
        operandOf(affine, 'shift'),
        add.inputs[1 - operand] as ValueId,
      ],
      {},
    );
    if (made !== undefined) rewriter.replace(outputOf(add, 'y'), made[0] as ValueId);
  },
};

/** reluGrad → channelGradSums, with the mask recomputed from what was before the normalization. */
const affineReluBackward: Rule = {
  name: 'relu gradient with sums',
  root: 'reluGrad',
  apply(mask, rewriter) {
    const { graph } = rewriter;
    const { x, affine } = activationOf(rewriter, operandOf(mask, 'y'));
    if (affine === undefined) return;
    const dx = outputOf(mask, 'dx');
    const sums = graph.users(dx, 'channelGradSums', 'g').find((candidate) => operandOf(candidate, 'x') === x);
    if (sums === undefined) return;
    const made = rewriter.emit(affineReluGradOp, [operandOf(mask, 'g'), x, affine.scale, affine.shift], {});
    if (made === undefined) return;
    rewriter.replace(dx, made[0] as ValueId);
    rewriter.replace(outputOf(sums, 'sumG'), made[1] as ValueId);
    rewriter.replace(outputOf(sums, 'sumGX'), made[2] as ValueId);
  },
};

/** channelAffine → relu, where the activation itself is needed. */
const affineRelu: Rule = {
  name: 'affine and relu',
  root: 'relu',
  apply(relu, rewriter) {
    const affine = rewriter.graph.maker(operandOf(relu, 'x'), 'channelAffine');
    if (affine === undefined) return;
    const made = rewriter.emit(
      affineReluOp,
      [operandOf(affine, 'x'), operandOf(affine, 'scale'), operandOf(affine, 'shift')],
      {},
    );
    if (made !== undefined) rewriter.replace(outputOf(relu, 'y'), made[0] as ValueId);
  },
};

/** In the order in which they are applied: a later rule sees what earlier ones made. */
export const fusions: readonly Rule[] = [
  depthwiseBackward,
  normalizeOnLoad,
  affineReluBackward,
  normalizationGradient,
  normalizationGradientOnLoad,
  affinePoolAdd,
  poolGradientSums,
  affineAdd,
  affineRelu,
  sumsInEpilogue,
];
