// compile: runs a function once with traced tensors, keeps what it did as a program, and from then on runs the program
// with one call to the backend.

import type { Backend, PreparedHandle } from '../backend/backend.ts';
import { type Aval, byteLength, showAval } from './aval.ts';
import { DeviceBuffer } from './buffer.ts';
import { defaultBackend } from './device.ts';
import { ArgumentError, DisposedError } from './errors.ts';
import type { AnyOp } from './op.ts';
import type { Draft } from './passes/graph.ts';
import { hoist } from './passes/hoist.ts';
import { planMemory } from './passes/memoryPlan.ts';
import { disabledPasses, hoisting, inPlaceReuse, optimize, type PassSelection } from './passes/pipeline.ts';
import type { Rewriting } from './passes/rewrite.ts';
import {
  checkProgram,
  type Instruction,
  inPlaceOperand,
  liveness,
  type Program,
  type ValueId,
} from './program.ts';
import { scope } from './scope.ts';
import { Tensor, Variable } from './tensor.ts';
import { currentNote, currentTrace, recording, type Trace } from './traceState.ts';
import { isPlainObject, mapTensors, tensorsIn, treeKey } from './tree.ts';

/** A recording: instructions so far, and the concrete tensors that they reach outside the traced function. */
class Recorder implements Trace {
  readonly values: Aval[] = [];
  /** The arguments, then what is captured, in the order of `captured`. */
  readonly inputs: ValueId[] = [];
  readonly instructions: Instruction[] = [];
  /** Tensors from outside, by value: variables by reference, others as aliases that keep them alive. */
  readonly captured: { readonly value: ValueId; readonly tensor: Tensor }[] = [];
  readonly assigned = new Map<Variable, ValueId>();
  readonly #captureOf = new Map<Tensor | DeviceBuffer, ValueId>();

  argument(a: Aval): Tensor {
    const value = this.#newValue(a);
    this.inputs.push(value);
    return this.#traced(a, value);
  }

  record(op: AnyOp, inputs: readonly Tensor[], attributes: unknown, outputs: readonly Aval[]): Tensor[] {
    const from = inputs.map((input) => this.valueOf(input, op.name));
    const to = outputs.map((a) => this.#newValue(a));
    const note = currentNote();
    const instruction = { op, attributes, inputs: from, outputs: to };
    this.instructions.push(note === undefined ? instruction : { ...instruction, note });
    return outputs.map((a, i) => this.#traced(a, to[i] as ValueId));
  }

  lift(tensor: Tensor): Tensor {
    const value = this.valueOf(tensor, 'alias');
    return new Tensor(tensor.aval, { kind: 'traced', trace: this, value }, { id: tensor.id, owned: false });
  }

  assign(variable: Variable, value: Tensor): void {
    this.valueOf(variable, 'assign'); // so that the variable is an input, whose memory the new value may take
    this.assigned.set(variable, this.valueOf(value, 'assign'));
  }

  /** The value that stands for a tensor, capturing it if it comes from outside. */
  valueOf(tensor: Tensor, operation: string): ValueId {
    if (tensor instanceof Variable) {
      const current = this.assigned.get(tensor);
      if (current !== undefined) return current;
    }
    const { state } = tensor;
    if (state.kind === 'traced') {
      if (state.trace !== this)
        throw new ArgumentError(`${operation}: ${showAval(tensor.aval)} is of another trace`);
      return state.value;
    }
    const key = tensor instanceof Variable ? tensor : tensor.buffer(operation);
    const known = this.#captureOf.get(key);
    if (known !== undefined && showAval(this.values[known] as Aval) === showAval(tensor.aval)) return known;
    const value = this.#newValue(tensor.aval);
    this.#captureOf.set(key, value);
    this.inputs.push(value);
    this.captured.push({ value, tensor: tensor instanceof Variable ? tensor : tensor.share() });
    return value;
  }

  release(): void {
    for (const { tensor } of this.captured) if (!(tensor instanceof Variable)) tensor.dispose();
  }

  #newValue(a: Aval): ValueId {
    return this.values.push(a) - 1;
  }

  #traced(a: Aval, value: ValueId): Tensor {
    return new Tensor(a, { kind: 'traced', trace: this, value });
  }
}

/** One traced, rewritten and prepared form of a function: for one structure and one set of shapes of its arguments. */
class Specialization {
  readonly program: Program;
  readonly rewritings: readonly Rewriting[];
  readonly #backend: Backend;
  readonly #prepared: PreparedHandle;
  readonly #recorder: Recorder;
  readonly #setup: Setup | undefined;
  #result: unknown;
  /** Per output of the program: the variable that it updates, or undefined for a returned tensor. */
  readonly #updates: readonly (Variable | undefined)[];
  /** Per output: the program input whose memory it may take. */
  readonly #reuses: readonly (number | undefined)[];
  readonly #outputBytes: readonly number[];

  constructor(
    fn: (...args: never[]) => unknown,
    args: readonly unknown[],
    backend: Backend,
    disabled: ReadonlySet<string>,
  ) {
    const recorder = new Recorder();
    this.#recorder = recorder;
    this.#backend = backend;
    try {
      const outputs: ValueId[] = [];
      const outputOf = new Map<ValueId, number>();
      const emit = (value: ValueId) => {
        const known = outputOf.get(value);
        if (known !== undefined) return known;
        outputOf.set(value, outputs.length);
        return outputs.push(value) - 1;
      };
      recording(recorder, () => {
        // The scope disposes of the traced tensors, and of concrete ones made on the way, which the recorder keeps alive.
        scope(() => {
          const traced = mapTensors(args, (argument) => recorder.argument(argument.aval)) as never[];
          const returned = fn(...traced);
          if (returned instanceof Promise) throw new ArgumentError('compile: the function is asynchronous');
          this.#result = mapTensors(
            returned,
            (t) => new OutputMark(emit(recorder.valueOf(t, 'return')), t.aval),
          );
        });
      });
      // Assigned values get outputs of their own, even where one is returned as well: its memory becomes the variable's.
      const updates: (Variable | undefined)[] = outputs.map(() => undefined);
      for (const [variable, value] of recorder.assigned) {
        outputs.push(value);
        updates.push(variable);
      }
      const supports = backend.supports.bind(backend);
      // A program that assigns nothing changes none of what it captured: weights hold still until someone else does.
      const still = recorder.assigned.size === 0 ? { stillFrom: tensorsIn(args).length } : {};
      const traced = { ...distinctOutputs(recorder, outputs), ...still };
      const packedBytes = backend.packedBytes?.bind(backend);
      const { draft: whole, done } = optimize(traced, supports, {
        disabled,
        ...(packedBytes && { packedBytes }),
      });
      const hoisted = disabled.has(hoisting) ? undefined : hoist(whole);
      const draft = hoisted?.main ?? whole;
      const planned = (part: Draft): Program => {
        const program = { ...part, plan: planMemory(part, { inPlace: !disabled.has(inPlaceReuse) }) };
        checkProgram(program);
        return program;
      };
      this.rewritings =
        hoisted === undefined
          ? done
          : [...done, { rule: hoisting, times: hoisted.setup.instructions.length }];
      this.program = planned(draft);
      this.#setup = hoisted === undefined ? undefined : new Setup(planned(hoisted.setup), backend);
      this.#updates = updates;
      this.#reuses = reusableInputs(this.program, recorder, updates);
      this.#outputBytes = draft.outputs.map((value) => byteLength(draft.values[value] as Aval));
      this.#prepared = backend.prepare(this.program);
    } catch (error) {
      recorder.release();
      throw error;
    }
  }

  run(args: readonly Tensor[]): unknown {
    const backend = this.#backend;
    const inputs: DeviceBuffer[] = [];
    const take = (source: Tensor) => {
      if (source.backend !== backend) {
        throw new ArgumentError(
          `compiled function: traced for ${backend.name}, called with a tensor of ${source.backend.name}`,
        );
      }
      inputs.push(source.buffer('compiled function'));
    };
    for (const argument of args) take(argument);
    for (const { tensor } of this.#recorder.captured) take(tensor);
    if (this.#setup !== undefined) {
      const versions = this.#recorder.captured.map(({ tensor }) =>
        tensor instanceof Variable ? tensor.version : 0,
      );
      inputs.push(...this.#setup.values(inputs, versions));
    }
    const fromArguments = new Set(inputs.slice(0, args.length));
    const outputs: DeviceBuffer[] = [];
    try {
      this.#outputBytes.forEach((bytes, i) => {
        const reused = this.#reuses[i];
        const candidate = reused === undefined ? undefined : inputs[reused];
        // A variable may come as an argument too, which the program does not know to be the same memory.
        const reusable = candidate?.unique === true && !fromArguments.has(candidate);
        outputs.push(reusable ? candidate.retain() : DeviceBuffer.allocate(backend, bytes));
      });
      backend.run(
        this.#prepared,
        inputs.map((buffer) => buffer.handle),
        outputs.map((buffer) => buffer.handle),
      );
    } catch (error) {
      for (const buffer of outputs) buffer.release();
      throw error;
    }
    this.#updates.forEach((variable, i) => {
      variable?.replaceBuffer(outputs[i] as DeviceBuffer);
    });
    const handedOut = new Set<number>();
    return fillMarks(this.#result, ({ position, aval }) => {
      const buffer = outputs[position] as DeviceBuffer;
      if (handedOut.has(position)) buffer.retain();
      handedOut.add(position);
      return new Tensor(aval, { kind: 'concrete', buffer });
    });
  }

  dispose(): void {
    this.#recorder.release();
    this.#setup?.dispose();
    this.#backend.forget(this.#prepared);
  }
}

/** The part of a program that is run only when what it was captured with has changed. */
class Setup {
  readonly #program: Program;
  readonly #backend: Backend;
  readonly #prepared: PreparedHandle;
  #buffers: DeviceBuffer[] = [];
  #versions: readonly number[] = [];

  constructor(program: Program, backend: Backend) {
    this.#program = program;
    this.#backend = backend;
    this.#prepared = backend.prepare(program);
  }

  /** What the program computes from these inputs, computed anew if the versions are not those of the last time. */
  values(inputs: readonly DeviceBuffer[], versions: readonly number[]): readonly DeviceBuffer[] {
    if (this.#versions.length === versions.length && versions.every((v, i) => v === this.#versions[i])) {
      return this.#buffers;
    }
    this.#versions = [];
    while (this.#buffers.length < this.#program.outputs.length) {
      const value = this.#program.outputs[this.#buffers.length] as ValueId;
      const bytes = byteLength(this.#program.values[value] as Aval);
      this.#buffers.push(DeviceBuffer.allocate(this.#backend, bytes));
    }
    this.#backend.run(
      this.#prepared,
      inputs.map(({ handle }) => handle),
      this.#buffers.map(({ handle }) => handle),
    );
    this.#versions = versions;
    return this.#buffers;
  }

  dispose(): void {
    for (const buffer of this.#buffers) buffer.release();
    this.#buffers = [];
    this.#backend.forget(this.#prepared);
  }
}

/** Stands in a result tree for the tensor at a position among the program's outputs. */
class OutputMark {
  readonly position: number;
  readonly aval: Aval;

  constructor(position: number, a: Aval) {
    this.position = position;
    this.aval = a;
  }
}

function fillMarks(tree: unknown, make: (mark: OutputMark) => Tensor): unknown {
  if (tree instanceof OutputMark) return make(tree);
  if (Array.isArray(tree)) return tree.map((branch) => fillMarks(branch, make));
  if (!isPlainObject(tree)) return tree;
  return Object.fromEntries(Object.entries(tree).map(([key, branch]) => [key, fillMarks(branch, make)]));
}

/** Every output of a program is a value of its own that an instruction makes: inputs and repeats pass through a copy. */
function distinctOutputs(recorder: Recorder, outputs: readonly ValueId[]): Draft {
  const values = [...recorder.values];
  const instructions = [...recorder.instructions];
  const seen = new Set<ValueId>(recorder.inputs);
  const distinct = outputs.map((value) => {
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
  return { values, inputs: recorder.inputs, outputs: distinct, instructions };
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

/**
 * For each output that updates a variable: the input that holds the variable's old value, if the instruction that makes
 * the new one may work in place and is the last to read the old.
 */
function reusableInputs(
  program: Program,
  recorder: Recorder,
  updates: readonly (Variable | undefined)[],
): (number | undefined)[] {
  const { last } = liveness(program);
  const argumentCount = recorder.inputs.length - recorder.captured.length;
  const variables = new Map<ValueId, Tensor>();
  const positions = new Map<ValueId, number>();
  program.inputs.forEach((value, position) => {
    positions.set(value, position);
    const captured = recorder.captured[position - argumentCount];
    if (captured !== undefined) variables.set(value, captured.tensor);
  });
  const makers = new Map<ValueId, { at: number; instruction: Instruction }>();
  program.instructions.forEach((instruction, at) => {
    for (const id of instruction.outputs) makers.set(id, { at, instruction });
  });
  return program.outputs.map((value, i) => {
    const variable = updates[i];
    const maker = makers.get(value);
    if (variable === undefined || maker === undefined) return undefined;
    const { at, instruction } = maker;
    const old = inPlaceOperand(instruction, instruction.outputs.indexOf(value));
    if (old === undefined || variables.get(old) !== variable || (last[old] as number) > at) return undefined;
    return positions.get(old);
  });
}

/** Each compiled function keeps this many programs, each with its arena; the least recently used go first. */
const capacity = 16;

/** Options of {@link compile}. */
export interface CompileOptions {
  /**
   * Which passes rewrite the program. Default `'all'`. With `'none'` the program is what the function did, op by op, and
   * gives the same bits as running it eagerly. `{ without: names }` leaves some out, for finding which one matters.
   */
  readonly passes?: PassSelection;
}

/** A compiled function: called like the function it was made from. */
export interface Compiled<P extends unknown[], R> extends Disposable {
  (...args: P): R;
  /** The program for these arguments, traced if it has not been yet. For reading, printing and tests. */
  program(...args: P): Program;
  /** What the passes did to that program, in their order. */
  rewritings(...args: P): readonly Rewriting[];
  /** Frees the prepared programs and what they hold. */
  dispose(): void;
}

/**
 * Compiles a function of tensors. The first call with arguments of new shapes (or other non-tensor arguments) traces the
 * function; later calls run the recorded program with one call to the backend. Variables that the function reads are
 * read anew at each call, and those that it assigns are assigned; any other tensor from outside is a constant.
 *
 * The function must be synchronous and must not look at the elements of its tensors. What it returns may be a tensor,
 * or arrays and plain objects of tensors; anything else in it is kept as it was when traced.
 * @throws ArgumentError if the function is asynchronous or reads a traced tensor, or for a pass that does not exist
 */
export function compile<P extends unknown[], R>(
  fn: (...args: P) => R,
  options: CompileOptions = {},
): Compiled<P, R> {
  const disabled = disabledPasses(options.passes ?? 'all');
  const specializations = new Map<string, Specialization>();
  let disposed = false;
  const specialize = (args: P): { specialization: Specialization; tensors: Tensor[] } => {
    if (disposed) throw new DisposedError('compiled function: used after dispose()');
    const tensors = tensorsIn(args);
    const backend = tensors[0]?.backend ?? defaultBackend();
    const key = `${backend.name}|${treeKey(args, (argument) => showAval(argument.aval))}`;
    let specialization = specializations.get(key);
    if (specialization === undefined) {
      specialization = new Specialization(fn as (...args: never[]) => unknown, args, backend, disabled);
      const [oldest] = specializations.entries();
      if (specializations.size >= capacity && oldest !== undefined) {
        specializations.delete(oldest[0]);
        oldest[1].dispose();
      }
    } else {
      specializations.delete(key); // set again below, as the most recently used
    }
    specializations.set(key, specialization);
    return { specialization, tensors };
  };
  const compiled = (...args: P): R => {
    if (currentTrace() !== undefined) return fn(...args); // inside another trace: part of that program
    const { specialization, tensors } = specialize(args);
    return specialization.run(tensors) as R;
  };
  const dispose = () => {
    disposed = true;
    for (const specialization of specializations.values()) specialization.dispose();
    specializations.clear();
  };
  return Object.assign(compiled, {
    program: (...args: P): Program => specialize(args).specialization.program,
    rewritings: (...args: P): readonly Rewriting[] => specialize(args).specialization.rewritings,
    dispose,
    [Symbol.dispose]: dispose,
  });
}
