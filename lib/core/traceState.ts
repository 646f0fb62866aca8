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

let note: string | undefined;

/** What is being traced, for the printer: the path of a module, as far as modules say so. */
export const currentNote = (): string | undefined => note;

/** Runs `body` with what it records noted as `text`. */
export function noting<T>(text: string | undefined, body: () => T): T {
  const outer = note;
  note = text;
  try {
    return body();
  } finally {
    note = outer;
  }
}

/** Runs `body` inside the module `name`; an empty name adds nothing to the path. */
export function insideModule<T>(name: string, body: () => T): T {
  if (name === '') return body();
  return noting(note === undefined ? name : `${note}.${name}`, body);
}
