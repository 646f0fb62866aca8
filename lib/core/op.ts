// What an op is: one object with its operands, shape rule, attribute encoding and gradient.

import type { Aval } from './aval.ts';
import type { Tensor } from './tensor.ts';

/** What a gradient rule gets to see: exactly the values that it declared to read. */
export interface VjpContext<A, I extends string, O extends string, RI extends I, RO extends O> {
  readonly attributes: A;
  /** Gradients of the loss with respect to the outputs; undefined where an output does not reach the loss. */
  readonly cotangents: Readonly<Partial<Record<O, Tensor>>>;
  /** The inputs declared in `reads`. */
  readonly inputs: Readonly<Record<RI, Tensor>>;
  /** The outputs declared in `reads`. */
  readonly outputs: Readonly<Record<RO, Tensor>>;
  /** Shapes of all operands, in the order of `inputs` (variadic ones expanded). */
  readonly inputAvals: readonly Aval[];
  readonly outputAvals: readonly Aval[];
  /** Whether the gradient of this input is wanted; a rule may skip the others. */
  needs(input: I): boolean;
}

/** A reverse-mode rule, written in ops: from the outputs' cotangents to the inputs'. */
export interface Vjp<A, I extends string, O extends string, RI extends I = I, RO extends O = O> {
  /** The inputs that have a gradient; the others (labels, counters, running statistics) have none. */
  readonly differentiates: readonly I[];
  /** Outputs through which gradients pass; all of them unless said otherwise. */
  readonly through?: readonly O[];
  /** The values that the rule reads; the tape keeps exactly these alive. */
  readonly reads: { readonly inputs?: readonly RI[]; readonly outputs?: readonly RO[] };
  /** One cotangent per differentiated input; for a variadic op an array under its input's name. */
  rule(context: VjpContext<A, I, O, RI, RO>): Readonly<Partial<Record<I, Tensor | readonly Tensor[]>>>;
}

/** Says on purpose that an op has no gradient, and why. */
export interface NoGradient {
  readonly none: string;
}

/**
 * One op. `A` are its attributes: a plain object of numbers, booleans, strings and arrays of numbers.
 * `vjp` is not optional: an op without a gradient says so.
 */
export interface Op<A = unknown, I extends string = string, O extends string = string> {
  /** As in native/include/depthwise_ops.h. */
  readonly name: string;
  /** Names of its operands, in order. */
  readonly inputs: readonly I[];
  /** The last input may come any number of times (at least once). */
  readonly variadic?: boolean;
  /** The last input may be left out. */
  readonly optional?: boolean;
  /** Names of its results, in order. */
  readonly outputs: readonly O[];
  /** The output is the same bytes as the first input, under another shape. */
  readonly view?: boolean;
  /** Bound by memory: making the output again costs little next to keeping it. */
  readonly cheap?: boolean;
  /** Output i may take the memory of input `inPlace[i]`, if that input is not used again. */
  readonly inPlace?: readonly (I | undefined)[];
  /**
   * Where the operands lie in the first output, in bytes, for an op that only moves them there: an operand that is there
   * already is not copied. Operands do not overlap.
   */
  readonly places?: (inputs: readonly Aval[]) => readonly number[];
  /** The only shape rule. Throws ShapeError, DTypeError or ArgumentError before anything is allocated. */
  infer(inputs: readonly Aval[], attributes: A): readonly Aval[];
  /** Attributes in a fixed order: native payload, plan-cache key and program format at once. */
  encode(attributes: A): readonly number[];
  /** Its gradient, or why it has none. */
  readonly vjp: Vjp<A, I, O> | NoGradient;
}

/** An op whose attributes are not known at compile time. */
export type AnyOp = Op<unknown, string, string>;

/** How an op is written down: with literal names, so that its gradient rule is checked against them. */
export interface OpDefinition<A, I extends string, O extends string, RI extends I, RO extends O>
  extends Omit<Op<A, I, O>, 'vjp'> {
  /** Operands are named by `inputs` and `outputs` alone: another name here is an error, not one more operand. */
  readonly vjp: Vjp<A, NoInfer<I>, NoInfer<O>, RI, RO> | NoGradient;
}

/** Defines an op: `defineOp<Attributes>()({ name, inputs, outputs, infer, encode, vjp })`. */
export const defineOp =
  <A>() =>
  <
    const N extends string,
    const I extends string,
    const O extends string,
    const RI extends I = never,
    const RO extends O = never,
  >(
    definition: OpDefinition<A, I, O, RI, RO> & { readonly name: N },
  ): Op<A, I, O> & { readonly name: N } =>
    definition as Op<A, I, O> & { readonly name: N };

export const hasGradient = <A, I extends string, O extends string>(
  vjp: Vjp<A, I, O> | NoGradient,
): vjp is Vjp<A, I, O> => !('none' in vjp);
