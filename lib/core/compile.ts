// compile: runs a function once with traced tensors, keeps what it did as a program, and from then on runs the program
// with one call to the backend.

import type { Backend, BufferHandle, PreparedHandle } from '../backend/backend.ts';
import { type Aval, byteLength, showAval } from './aval.ts';
import { DeviceBuffer } from './buffer.ts';
import { defaultBackend } from './device.ts';
import { ArgumentError, DisposedError } from './errors.ts';
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
import { Recorder } from './recorder.ts';
import { scope } from './scope.ts';
import { Tensor, Variable } from './tensor.ts';
import { currentTrace, recording } from './traceState.ts';
import { isPlainObject, mapTensors, matches, patternOf, tensorsIn, treeKey } from './tree.ts';

/** One traced, rewritten and prepared form of a function: for one structure and one set of shapes of its arguments. */
class Specialization {
  /** What arguments it is for. */
  readonly pattern: unknown;
  readonly program: Program;
  readonly rewritings: readonly Rewriting[];
  readonly backend: Backend;
  readonly #prepared: PreparedHandle;
  readonly #recorder: Recorder;
  readonly #captured: readonly Tensor[];
  readonly #setup: Setup | undefined;
  readonly #argumentCount: number;
  #result: unknown;
  /** Per output of the program: the variable that it updates, or undefined for a returned tensor. */
  readonly #updates: readonly (Variable | undefined)[];
  /** Per output: the program input whose memory it may take. */
  readonly #reuses: readonly (number | undefined)[];
  readonly #outputBytes: readonly number[];
  // Of the run in progress; kept, so that a run makes no lists anew.
  readonly #inputs: DeviceBuffer[] = [];
  readonly #outputs: DeviceBuffer[] = [];
  readonly #inputHandles: BufferHandle[] = [];
  readonly #outputHandles: BufferHandle[] = [];

  constructor(
    fn: (...args: never[]) => unknown,
    args: readonly unknown[],
    backend: Backend,
    disabled: ReadonlySet<string>,
  ) {
    const recorder = new Recorder();
    this.#recorder = recorder;
    this.backend = backend;
    this.pattern = patternOf(args);
    try {
      const returned: ValueId[] = [];
      const outputOf = new Map<ValueId, number>();
      const mark = (value: ValueId, a: Aval) => {
        const known = outputOf.get(value);
        if (known !== undefined) return new OutputMark(known, a, true);
        outputOf.set(value, returned.length);
        return new OutputMark(returned.push(value) - 1, a, false);
      };
      recording(recorder, () => {
        // The scope disposes of the traced tensors, and of concrete ones made on the way, which the recorder keeps alive.
        scope(() => {
          const traced = mapTensors(args, (argument) => recorder.argument(argument.aval)) as never[];
          const result = fn(...traced);
          if (result instanceof Promise) throw new ArgumentError('compile: the function is asynchronous');
          this.#result = mapTensors(result, (t) => mark(recorder.valueOf(t, 'return'), t.aval));
        });
      });
      // Assigned values get outputs of their own, even where one is returned as well: its memory becomes the variable's.
      const { draft: traced, captured, assigned } = recorder.finish(returned);
      this.#captured = captured.map(({ tensor }) => tensor);
      this.#argumentCount = traced.inputs.length - captured.length;
      this.#updates = [...returned.map(() => undefined), ...assigned];
      const supports = backend.supports.bind(backend);
      // A program that assigns nothing changes none of what it captured: weights hold still until someone else does.
      const still = assigned.length === 0 ? { stillFrom: this.#argumentCount } : {};
      const packedBytes = backend.packedBytes?.bind(backend);
      const { draft: whole, done } = optimize({ ...traced, ...still }, supports, {
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
      this.#reuses = reusableInputs(this.program, this.#captured, this.#argumentCount, this.#updates);
      this.#outputBytes = draft.outputs.map((value) => byteLength(draft.values[value] as Aval));
      this.#prepared = backend.prepare(this.program);
    } catch (error) {
      recorder.release();
      throw error;
    }
  }

  run(args: readonly Tensor[]): unknown {
    const outputs = this.#outputs;
    // What was captured comes first: a flat variable may move its parts, which may be arguments too.
    const captured = this.#captured;
    for (let i = 0; i < captured.length; i += 1) this.#take(captured[i] as Tensor, args.length + i);
    for (let i = 0; i < args.length; i += 1) this.#take(args[i] as Tensor, i);
    if (this.#setup !== undefined) this.#takeHoisted(this.#setup);
    let ready = 0;
    try {
      for (; ready < this.#outputBytes.length; ready += 1) {
        const buffer = this.#outputBuffer(ready);
        outputs[ready] = buffer;
        this.#outputHandles[ready] = buffer.handle;
      }
      this.backend.run(this.#prepared, this.#inputHandles, this.#outputHandles);
    } catch (error) {
      for (let i = 0; i < ready; i += 1) outputs[i]?.release();
      throw error;
    }
    for (let i = 0; i < outputs.length; i += 1) this.#updates[i]?.replaceBuffer(outputs[i] as DeviceBuffer);
    return fillMarks(this.#result, outputs);
  }

  #take(source: Tensor, at: number): void {
    const buffer = source.buffer('compiled function');
    if (buffer.backend !== this.backend) {
      throw new ArgumentError(
        `compiled function: traced for ${this.backend.name}, called with a tensor of ${buffer.backend.name}`,
      );
    }
    this.#inputs[at] = buffer;
    this.#inputHandles[at] = buffer.handle;
  }

  #takeHoisted(setup: Setup): void {
    const versions = this.#captured.map((tensor) => (tensor instanceof Variable ? tensor.version : 0));
    const count = this.#argumentCount + this.#captured.length;
    const given = this.#inputHandles.slice(0, count);
    setup.values(given, versions).forEach((buffer, i) => {
      this.#inputs[count + i] = buffer;
      this.#inputHandles[count + i] = buffer.handle;
    });
  }

  /** The memory of an output, with a reference for whoever gets it: that of the input that it replaces, or fresh. */
  #outputBuffer(i: number): DeviceBuffer {
    const reused = this.#reuses[i];
    const candidate = reused === undefined ? undefined : this.#inputs[reused];
    if (candidate?.unique === true && !this.#isArgument(candidate)) return candidate.retain();
    return DeviceBuffer.allocate(this.backend, this.#outputBytes[i] as number);
  }

  /** Whether a variable's memory, or a part of it, came as an argument too: the program does not know of that. */
  #isArgument({ block }: DeviceBuffer): boolean {
    for (let i = 0; i < this.#argumentCount; i += 1) if (this.#inputs[i]?.block === block) return true;
    return false;
  }

  dispose(): void {
    this.#recorder.release();
    this.#setup?.dispose();
    this.backend.forget(this.#prepared);
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
  values(inputs: readonly BufferHandle[], versions: readonly number[]): readonly DeviceBuffer[] {
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
      inputs,
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
  /** Whether the tree has the same output before. */
  readonly again: boolean;

  constructor(position: number, a: Aval, again: boolean) {
    this.position = position;
    this.aval = a;
    this.again = again;
  }
}

function fillMarks(tree: unknown, outputs: readonly DeviceBuffer[]): unknown {
  if (tree instanceof OutputMark) {
    const buffer = outputs[tree.position] as DeviceBuffer;
    return new Tensor(tree.aval, { kind: 'concrete', buffer: tree.again ? buffer.retain() : buffer });
  }
  if (Array.isArray(tree)) return tree.map((branch) => fillMarks(branch, outputs));
  if (!isPlainObject(tree)) return tree;
  const filled: Record<string, unknown> = {};
  for (const key of Object.keys(tree)) filled[key] = fillMarks(tree[key], outputs);
  return filled;
}

/**
 * For each output that updates a variable: the input that holds the variable's old value, if nothing reads that any more
 * when the new one is made, or only the instruction that makes it, in place.
 */
function reusableInputs(
  program: Program,
  captured: readonly Tensor[],
  argumentCount: number,
  updates: readonly (Variable | undefined)[],
): (number | undefined)[] {
  const { last } = liveness(program);
  const captures = new Map<Tensor, ValueId>();
  const positions = new Map<ValueId, number>();
  program.inputs.forEach((value, position) => {
    positions.set(value, position);
    const tensor = captured[position - argumentCount];
    if (tensor !== undefined) captures.set(tensor, value);
  });
  const partOf = new Map(program.parts?.map(({ value, of }) => [value, of]));
  const makers = new Map<ValueId, { at: number; instruction: Instruction }>();
  program.instructions.forEach((instruction, at) => {
    for (const id of instruction.outputs) makers.set(id, { at, instruction });
  });
  return program.outputs.map((value, i) => {
    const variable = updates[i];
    const maker = makers.get(value);
    if (variable === undefined || maker === undefined) return undefined;
    const { at, instruction } = maker;
    const old = captures.get(variable);
    if (old === undefined || (last[old] as number) > at) return undefined;
    const inPlace = inPlaceOperand(instruction, instruction.outputs.indexOf(value)) === old;
    const readByPart = instruction.inputs.some((operand) => partOf.get(operand) === old);
    if (last[old] === at && (!inPlace || readByPart)) return undefined;
    return positions.get(old);
  });
}

/** Where a call with these arguments runs. */
const backendOf = (tensors: readonly Tensor[]): Backend => tensors[0]?.backend ?? defaultBackend();

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
  /** The one used last. */
  let latest: Specialization | undefined;
  let disposed = false;
  const specialize = (args: P): { specialization: Specialization; tensors: Tensor[] } => {
    if (disposed) throw new DisposedError('compiled function: used after dispose()');
    const found: Tensor[] = [];
    if (latest !== undefined && matches(latest.pattern, args, found) && latest.backend === backendOf(found)) {
      return { specialization: latest, tensors: found };
    }
    const tensors = tensorsIn(args);
    const backend = backendOf(tensors);
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
    latest = specialization;
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
    latest = undefined;
  };
  return Object.assign(compiled, {
    program: (...args: P): Program => specialize(args).specialization.program,
    rewritings: (...args: P): readonly Rewriting[] => specialize(args).specialization.rewritings,
    dispose,
    [Symbol.dispose]: dispose,
  });
}
