// The one way an op comes to be: infer, then run it now or record it in the trace, then note it on the tapes.

import { dispatch } from './eager.ts';
import { ArgumentError } from './errors.ts';
import type { AnyOp, Op } from './op.ts';
import { noteOnTapes } from './tape.ts';
import type { Tensor } from './tensor.ts';
import { currentTrace } from './traceState.ts';

/**
 * Applies `op`. Throws the shape rule's errors before anything is allocated, and DisposedError for a dead operand.
 * Returns one tensor per output of the op.
 */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Tensor[] {
  const least = op.inputs.length;
  if (inputs.length < least || (op.variadic !== true && inputs.length > least)) {
    throw new ArgumentError(
      `${op.name}: expected ${least} operands (${op.inputs.join(', ')}), got ${inputs.length}`,
    );
  }
  for (const input of inputs) input.assertUsable(op.name);
  const anyOp = op as AnyOp;
  const trace = currentTrace();
  const outputs =
    trace === undefined
      ? dispatch(anyOp, inputs, attributes)
      : trace.record(
          anyOp,
          inputs,
          attributes,
          op.infer(
            inputs.map((input) => input.aval),
            attributes,
          ),
        );
  noteOnTapes(anyOp, attributes, inputs, outputs);
  return outputs;
}

/** {@link apply} for an op with one output. */
export function applyOne<A>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  return apply(op, inputs, attributes)[0] as Tensor;
}
