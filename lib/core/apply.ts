// The one way an op comes to be: infer, then run it now or record it in the trace, then note it on the tapes.

import { dispatch } from './eager.ts';
import { ArgumentError } from './errors.ts';
import type { AnyOp, Op } from './op.ts';
import { noteOnTapes } from './tape.ts';
import type { Tensor } from './tensor.ts';
import { currentTrace } from './traceState.ts';

/** Gets to see an op that has been applied eagerly. */
export type Observer = (op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[]) => void;

let observer: Observer | undefined;

/** Runs `body` while `seen` sees every op that it applies, in order; what it applies itself, it does not see. */
export function observing<T>(seen: Observer, body: () => T): T {
  const outer = observer;
  observer = (...applied) => {
    const inner = observer;
    observer = undefined;
    try {
      seen(...applied);
    } finally {
      observer = inner;
    }
  };
  try {
    return body();
  } finally {
    observer = outer;
  }
}

/**
 * Applies `op`. Throws the shape rule's errors before anything is allocated, and DisposedError for a dead operand.
 * Returns one tensor per output of the op.
 */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Tensor[] {
  const count = op.inputs.length;
  const least = op.optional === true ? count - 1 : count;
  if (inputs.length < least || (op.variadic !== true && inputs.length > count)) {
    throw new ArgumentError(
      `${op.name}: expected ${count} operands (${op.inputs.join(', ')}), got ${inputs.length}`,
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
  if (trace === undefined) observer?.(anyOp, inputs, outputs);
  return outputs;
}

/** {@link apply} for an op with one output. */
export function applyOne<A>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  return apply(op, inputs, attributes)[0] as Tensor;
}
