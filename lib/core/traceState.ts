// Which trace is being recorded, if any: the one thing that tensors and `apply` must know of tracing.

import type { Aval } from './aval.ts';
import type { AnyOp } from './op.ts';
import type { Tensor, Variable } from './tensor.ts';

/** A recording in progress. */
export interface Trace {
  /** Appends an instruction and returns its outputs as traced tensors. */
  record(op: AnyOp, inputs: readonly Tensor[], attributes: unknown, outputs: readonly Aval[]): Tensor[];
  /** A traced tensor with the identity of `tensor` and the value that it has now. */
  lift(tensor: Tensor): Tensor;
  /** Notes that `variable` has `value` from here on. */
  assign(variable: Variable, value: Tensor): void;
}

let active: Trace | undefined;

export const currentTrace = (): Trace | undefined => active;

/** Runs `body` while `trace` records. */
export function recording<T>(trace: Trace, body: () => T): T {
  const outer = active;
  active = trace;
  try {
    return body();
  } finally {
    active = outer;
  }
}
