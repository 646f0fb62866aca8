// Recordings: what a function did with traced tensors, as the draft of a program, and the concrete tensors that it
// reached outside.

import { type Aval, byteLength, showAval, sizeOf } from './aval.ts';
import type { DeviceBuffer } from './buffer.ts';
import { ArgumentError } from './errors.ts';
import { FlatVariable, flatOps } from './flat.ts';
import type { AnyOp } from './op.ts';
import type { Draft } from './passes/graph.ts';
import type { Instruction, Part, ValueId } from './program.ts';
import { Tensor, Variable } from './tensor.ts';
import { currentNote, recording, type Trace } from './traceState.ts';

/** A concrete tensor from outside that a program reads: a variable by reference, any other as an alias. */
export interface Captured {
  readonly value: ValueId;
  readonly tensor: Tensor;
}

/** A recording in progress. */
export class Recorder implements Trace {
  readonly #values: Aval[] = [];
  readonly #arguments: ValueId[] = [];
  readonly #instructions: Instruction[] = [];
  readonly #captured: Captured[] = [];
  readonly #captureOf = new Map<Tensor | DeviceBuffer, ValueId>();
  /** What variables were assigned; for flat ones also in place of what their parts were before. */
  readonly #assigned = new Map<Variable, ValueId>();
  /** Parts taken out of assigned flat variables. */
  readonly #partOf = new Map<Variable, ValueId>();

  argument(a: Aval): Tensor {
    const value = this.#newValue(a);
    this.#arguments.push(value);
    return this.#traced(a, value);
  }

  record(op: AnyOp, inputs: readonly Tensor[], attributes: unknown, outputs: readonly Aval[]): Tensor[] {
    const from = inputs.map((input) => this.valueOf(input, op.name));
    const to = this.#emit(op, from, attributes, outputs);
    return outputs.map((a, i) => this.#traced(a, to[i] as ValueId));
  }

  lift(tensor: Tensor): Tensor {
    const value = this.valueOf(tensor, 'alias');
    return new Tensor(tensor.aval, { kind: 'traced', trace: this, value }, { id: tensor.id, owned: false });
  }

  assign(variable: Variable, value: Tensor): void {
    this.valueOf(variable, 'assign'); // so that the variable is an input, whose memory the new value may take
    this.#assigned.set(variable, this.valueOf(value, 'assign'));
    this.#partOf.delete(variable);
    if (variable instanceof FlatVariable) {
      for (const part of variable.parts) {
        this.#assigned.delete(part);
        this.#partOf.delete(part);
      }
    }
  }

  /** The value that stands for a tensor, capturing it if it comes from outside. */
  valueOf(tensor: Tensor, operation: string): ValueId {
    const current = tensor instanceof Variable ? this.#assignedTo(tensor) : undefined;
    if (current !== undefined) return current;
    const { state } = tensor;
    if (state.kind === 'traced') {
      if (state.trace !== this)
        throw new ArgumentError(`${operation}: ${showAval(tensor.aval)} is of another trace`);
      return state.value;
    }
    return this.#capture(tensor, operation);
  }

  #capture(tensor: Tensor, operation: string): ValueId {
    const key = tensor instanceof Variable ? tensor : tensor.buffer(operation);
    const known = this.#captureOf.get(key);
    if (known !== undefined && showAval(this.#values[known] as Aval) === showAval(tensor.aval)) return known;
    const value = this.#newValue(tensor.aval);
    this.#captureOf.set(key, value);
    this.#captured.push({ value, tensor: tensor instanceof Variable ? tensor : tensor.share() });
    return value;
  }

  /** The value that a variable was assigned in this trace: itself, or as a part or as the whole of what was. */
  #assignedTo(variable: Variable): ValueId | undefined {
    if (variable instanceof FlatVariable && variable.parts.some((part) => this.#assigned.has(part))) {
      this.#capture(variable, 'flat variable'); // its memory is for the new values
      const parts = variable.parts.map((part) => this.valueOf(part, 'flat variable'));
      const [whole] = this.#emit(flatOps().flatten, parts, {}, [variable.aval]) as [ValueId];
      this.#assigned.set(variable, whole);
      for (const part of variable.parts) this.#assigned.delete(part);
      return whole;
    }
    const { whole } = variable;
    const assigned = this.#assigned.get(variable);
    if (assigned !== undefined || !(whole instanceof FlatVariable)) return assigned;
    const flat = this.#assigned.get(whole);
    if (flat === undefined) return undefined;
    let value = this.#partOf.get(variable);
    if (value === undefined) {
      const start = whole.starts[whole.parts.indexOf(variable)] as number;
      const part = recording(this, () =>
        flatOps().part(this.#traced(whole.aval, flat), start, variable.shape),
      );
      value = this.valueOf(part, 'part');
      this.#partOf.set(variable, value);
    }
    return value;
  }

  /**
   * What was recorded, with `returned` as its first outputs, then the values of the variables that were assigned. A
   * captured variable whose flat variable was captured too is a part of that.
   */
  finish(returned: readonly ValueId[]): Recording {
    const flats = this.#captured.filter(({ tensor }) => tensor instanceof FlatVariable);
    const parts: Part[] = [];
    const places = new Map<Tensor, Omit<Part, 'value'>>();
    for (const { value: of, tensor } of flats) {
      const flat = tensor as FlatVariable;
      flat.parts.forEach((part, i) => {
        if (places.has(part)) {
          throw new ArgumentError(
            `compile: ${showAval(part.aval)} is updated as a part of two flat variables; ` +
              'use one optimizer for each parameter',
          );
        }
        const bytesBefore = (byteLength(flat.aval) / sizeOf(flat.shape)) * (flat.starts[i] as number);
        places.set(part, { of, offset: bytesBefore });
      });
    }
    const captured = this.#captured.filter(({ value, tensor }) => {
      const place = places.get(tensor);
      if (place !== undefined) parts.push({ value, ...place });
      return place === undefined;
    });
    const draft = {
      values: this.#values,
      inputs: [...this.#arguments, ...captured.map(({ value }) => value)],
      outputs: [...returned, ...this.#assigned.values()],
      instructions: this.#instructions,
      ...(parts.length > 0 && { parts }),
    };
    return { draft: withDistinctOutputs(draft), captured, assigned: [...this.#assigned.keys()] };
  }

  release(): void {
    for (const { tensor } of this.#captured) if (!(tensor instanceof Variable)) tensor.dispose();
  }

  #emit(op: AnyOp, inputs: readonly ValueId[], attributes: unknown, outputs: readonly Aval[]): ValueId[] {
    const to = outputs.map((a) => this.#newValue(a));
    const note = currentNote();
    const instruction = { op, attributes, inputs, outputs: to };
    this.#instructions.push(note === undefined ? instruction : { ...instruction, note });
    return to;
  }

  #newValue(a: Aval): ValueId {
    return this.#values.push(a) - 1;
  }

  #traced(a: Aval, value: ValueId): Tensor {
    return new Tensor(a, { kind: 'traced', trace: this, value });
  }
}

/** A recording that has come to its end. */
export interface Recording {
  /** Its inputs are the arguments, then what was captured. */
  readonly draft: Draft;
  readonly captured: readonly Captured[];
  /** The variables of the last outputs, in their order. */
  readonly assigned: readonly Variable[];
}

/** Every output of a program is a value of its own that an instruction makes: inputs and repeats pass through a copy. */
function withDistinctOutputs(draft: Draft): Draft {
  const values = [...draft.values];
  const instructions = [...draft.instructions];
  const seen = new Set<ValueId>([...draft.inputs, ...(draft.parts ?? []).map(({ value }) => value)]);
  const distinct = draft.outputs.map((value) => {
    if (!seen.has(value)) {
      seen.add(value);
      return value;
    }
    const a = values[value] as Aval;
    const copy = values.push(a) - 1;
    instructions.push({
      op: copyOp(),
      attributes: { shape: a.shape },
      inputs: [value],
      outputs: [copy],
      note: 'copy',
    });
    return copy;
  });
  return { ...draft, values, outputs: distinct, instructions };
}

let identity: AnyOp | undefined;

/** lib/ops names the op that copies its input (reshape to the same shape), which core does not know by itself. */
export function registerCopyOp(op: AnyOp): void {
  identity = op;
}

function copyOp(): AnyOp {
  if (identity === undefined) throw new ArgumentError('compile: lib/ops is not loaded');
  return identity;
}
