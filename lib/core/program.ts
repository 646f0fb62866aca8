// A program as data: values, instructions, inputs and outputs; with its checker, its printer and its native payload.
// An eager op is a program of one op.

import { type Aval, byteLength, sameShape, showAval } from './aval.ts';
import { dtypeCode } from './dtype.ts';
import { DepthwiseError } from './errors.ts';
import type { AnyOp } from './op.ts';

/** Index into `Program.values`. */
export type ValueId = number;

/** One op of a program, with the values that it reads and makes. */
export interface Instruction {
  readonly op: AnyOp;
  readonly attributes: unknown;
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  /** What made this instruction, for the printer: the name of a module or of a rewriting. */
  readonly note?: string;
}

/** Where temporaries live in the program's arena. */
export interface MemoryPlan {
  /** Offset of each value in bytes; undefined for inputs and outputs, which come with each run. */
  readonly offsets: readonly (number | undefined)[];
  readonly arenaBytes: number;
}

/** A value that is a range of an input's bytes. */
export interface Part {
  readonly value: ValueId;
  /** The input. */
  readonly of: ValueId;
  /** In bytes, a multiple of 64. */
  readonly offset: number;
}

/**
 * Straight-line code in single assignment: every value is an input, a part of one, or the output of one instruction.
 */
export interface Program {
  /** Shape and type of every value. */
  readonly values: readonly Aval[];
  /** Values that each run is given, in order. */
  readonly inputs: readonly ValueId[];
  /** Default: none. */
  readonly parts?: readonly Part[];
  /** Values that each run gives, in order. */
  readonly outputs: readonly ValueId[];
  /** In the order in which they run. */
  readonly instructions: readonly Instruction[];
  /** Where values live that are neither inputs nor outputs. */
  readonly plan: MemoryPlan;
}

/** A program that breaks a rule of its form: a bug in whatever made it. */
export class MalformedProgramError extends DepthwiseError {
  constructor(message: string) {
    super(`malformed program: ${message}`, { code: 'MALFORMED_PROGRAM' });
  }
}

const refuse: (message: string) => never = (message) => {
  throw new MalformedProgramError(message);
};

/**
 * Refuses a program in which a value is used before it is made, is made twice, has another shape than its op infers,
 * or in which two temporaries that live at the same time share memory. Throws MalformedProgramError.
 */
export function checkProgram(program: Program): void {
  const { values, inputs, outputs, instructions, plan } = program;
  const known = (id: ValueId, where: string): Aval =>
    values[id] ?? refuse(`${where} names value %${id}, of ${values.length}`);
  const made = new Set<ValueId>();
  for (const id of inputs) {
    known(id, 'inputs');
    if (made.has(id)) refuse(`%${id} is an input twice`);
    made.add(id);
  }
  for (const { value, of, offset } of program.parts ?? []) {
    const end = offset + byteLength(known(value, 'parts'));
    if (made.has(value)) refuse(`%${value} is a part and something else too`);
    if (!inputs.includes(of)) refuse(`%${value} is a part of %${of}, which is no input`);
    if (offset < 0 || offset % 64 !== 0 || end > byteLength(known(of, 'parts'))) {
      refuse(`%${value} lies at ${offset}..${end} of %${of}`);
    }
    made.add(value);
  }
  instructions.forEach((instruction, at) => {
    const where = `instruction ${at} (${instruction.op.name})`;
    const avals = instruction.inputs.map((id) => {
      if (!made.has(id)) refuse(`${where} uses %${id} before it is made`);
      return known(id, where);
    });
    const inferred = instruction.op.infer(avals, instruction.attributes);
    if (inferred.length !== instruction.outputs.length) {
      refuse(`${where} has ${instruction.outputs.length} outputs, its op makes ${inferred.length}`);
    }
    instruction.outputs.forEach((id, i) => {
      const expected = inferred[i] as Aval;
      const got = known(id, where);
      if (made.has(id)) refuse(`${where} makes %${id} a second time`);
      if (!sameShape(expected.shape, got.shape) || expected.dtype !== got.dtype) {
        refuse(`${where} makes %${id} as ${showAval(expected)}, but it is declared ${showAval(got)}`);
      }
      made.add(id);
    });
  });
  for (const id of outputs) if (!made.has(id)) refuse(`output %${id} is never made`);
  checkPlan(program, plan);
}

/**
 * First and last instruction at which each value is needed. Inputs and their parts live from -1, outputs to the end; an
 * input is needed as long as a part of it.
 */
export function liveness(program: Omit<Program, 'plan'>): { first: number[]; last: number[] } {
  const first = program.values.map(() => Number.POSITIVE_INFINITY);
  const last = program.values.map(() => -1);
  for (const id of program.inputs) first[id] = -1;
  program.instructions.forEach((instruction, at) => {
    for (const id of instruction.outputs) first[id] = last[id] = at;
    for (const id of instruction.inputs) last[id] = at;
  });
  for (const id of program.outputs) last[id] = program.instructions.length;
  for (const { value, of } of program.parts ?? []) {
    first[value] = -1;
    last[of] = Math.max(last[of] as number, last[value] as number);
  }
  return { first, last };
}

/** Values that come with each run, and are not in the arena: inputs, their parts, and outputs. */
export const externalValues = ({ inputs, outputs, parts = [] }: Omit<Program, 'plan'>): Set<ValueId> =>
  new Set([...inputs, ...parts.map(({ value }) => value), ...outputs]);

/**
 * The operands that may lie within the first output of an instruction, by its op's declaration, with their places there
 * in bytes. It must be their last use.
 */
export function operandPlaces({ op, inputs }: Instruction, values: readonly Aval[]): Map<ValueId, number> {
  const places = op.places?.(inputs.map((id) => values[id] as Aval)) ?? [];
  const found = new Map(places.map((place, i) => [inputs[i] as ValueId, place]));
  return found.size === places.length ? found : new Map(); // an operand that comes twice cannot lie in two places
}

/**
 * The operand whose place in the arena output `i` of an instruction may take, by the op's declaration; undefined where
 * there is none, or where the instruction reads the operand twice. It must be the operand's last use.
 */
export function inPlaceOperand({ op, inputs }: Instruction, i: number): ValueId | undefined {
  const name = op.inPlace?.[i];
  if (name === undefined) return undefined;
  const operand = inputs[op.inputs.indexOf(name)] as ValueId;
  return inputs.filter((value) => value === operand).length === 1 ? operand : undefined;
}

/** Every temporary has its place in the arena, apart from those of all others that live at the same time. */
function checkPlan(program: Program, plan: MemoryPlan): void {
  const external = externalValues(program);
  const { last } = liveness(program);
  let living: { id: ValueId; from: number; to: number }[] = [];
  program.instructions.forEach((instruction, at) => {
    living = living.filter(({ id }) => (last[id] as number) >= at);
    instruction.outputs.forEach((id, i) => {
      const offset = plan.offsets[id];
      if (external.has(id)) {
        if (offset !== undefined) refuse(`%${id} comes with each run and has a place in the arena too`);
        return;
      }
      if (offset === undefined) refuse(`%${id} has no place in the arena`);
      const to = offset + byteLength(program.values[id] as Aval);
      if (offset < 0 || offset % 64 !== 0 || to > plan.arenaBytes) {
        refuse(`%${id} lies at ${offset}..${to} of an arena of ${plan.arenaBytes} bytes`);
      }
      const replaced = inPlaceOperand(instruction, i);
      const places = i === 0 ? operandPlaces(instruction, program.values) : undefined;
      for (const other of living) {
        if (other.to <= offset || to <= other.from) continue;
        const lastUse = last[other.id] === at;
        const inPlace = other.id === replaced && lastUse && other.from === offset && other.to === to;
        const within = lastUse && places?.get(other.id) === other.from - offset;
        if (!inPlace && !within) refuse(`%${id} and %${other.id} share memory while both live`);
      }
      living.push({ id, from: offset, to });
    });
  });
}

/** Attributes as text: `stride=2,2 groups=64`. */
export function showAttributes(attributes: unknown): string {
  if (attributes === null || typeof attributes !== 'object') return '';
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join(',') : String(value)}`)
    .join(' ');
}

/**
 * Bytes that an instruction reads and writes: those of its operands and results, each counted once. What only moves
 * operands moves none of those that lie where they should.
 */
export function instructionBytes(program: Program, instruction: Instruction): number {
  const { inputs, outputs } = instruction;
  const { offsets } = program.plan;
  const bytes = (ids: readonly ValueId[]) =>
    ids.reduce((sum, id) => sum + byteLength(program.values[id] as Aval), 0);
  if (instruction.op.places === undefined) return bytes([...new Set([...inputs, ...outputs])]);
  const places = operandPlaces(instruction, program.values);
  const whole = offsets[outputs[0] as ValueId] ?? Number.NaN;
  const moved = inputs.filter((id) => offsets[id] !== whole + (places.get(id) ?? Number.NaN));
  return 2 * bytes(moved);
}

/** The program as text: an instruction a line, with shapes, bytes read and written, and what made it. */
export function showProgram(program: Program): string {
  const value = (id: ValueId) => `%${id}`;
  const typed = (id: ValueId) => `%${id} ${showAval(program.values[id] as Aval)}`;
  const lines = [`program(${program.inputs.map(typed).join(', ')})`];
  for (const input of program.inputs) {
    const parts = (program.parts ?? []).filter(({ of }) => of === input);
    const places = parts.map((part) => `${typed(part.value)} at ${part.offset}`);
    if (parts.length > 0) lines.push(`  parts of ${value(input)}: ${places.join(', ')}`);
  }
  let moved = 0;
  for (const instruction of program.instructions) {
    const { op, attributes, inputs, outputs, note } = instruction;
    const bytes = instructionBytes(program, instruction);
    moved += bytes;
    const text = showAttributes(attributes);
    lines.push(
      `  ${outputs.map(typed).join(', ')} = ${op.name}(${inputs.map(value).join(', ')})` +
        `${text === '' ? '' : ` {${text}}`}  # ${bytes} bytes${note === undefined ? '' : `, ${note}`}`,
    );
  }
  lines.push(`  return ${program.outputs.map(value).join(', ')}`);
  const count = program.instructions.length;
  lines.push(
    `  # ${count} instructions, ${moved} bytes read and written, arena ${program.plan.arenaBytes} bytes`,
  );
  return lines.join('\n');
}

/** Version of the payload below; the native decoder refuses any other. */
export const payloadVersion = 2;

/**
 * The program as numbers for native code:
 * `version, values, inputs, outputs, instructions, parts (counts), arenaBytes`,
 * then per value `dtype, rank, extents…, offset` (−1: comes with each run), then the input ids, the output ids,
 * per part `value, position of the input, offset`, and per instruction `opcode, inputs, outputs, attributes (counts), input ids…, output ids…, attributes…`.
 */
export function encodeProgram(program: Program, codeOf: (name: string) => number): Float64Array {
  const { values, inputs, outputs, instructions, parts = [], plan } = program;
  const numbers = [
    payloadVersion,
    values.length,
    inputs.length,
    outputs.length,
    instructions.length,
    parts.length,
    plan.arenaBytes,
  ];
  values.forEach((a, id) => {
    numbers.push(dtypeCode(a.dtype), a.shape.length, ...a.shape, plan.offsets[id] ?? -1);
  });
  numbers.push(...inputs, ...outputs);
  for (const { value, of, offset } of parts) numbers.push(value, inputs.indexOf(of), offset);
  for (const { op, attributes, inputs: from, outputs: to } of instructions) {
    const encoded = op.encode(attributes);
    numbers.push(codeOf(op.name), from.length, to.length, encoded.length, ...from, ...to, ...encoded);
  }
  return Float64Array.from(numbers);
}

/** A program of one instruction whose operands all come with the run: what an eager op is. */
export function programOfOne(
  op: AnyOp,
  attributes: unknown,
  ins: readonly Aval[],
  outs: readonly Aval[],
): Program {
  const inputs = ins.map((_, i) => i);
  const outputs = outs.map((_, i) => ins.length + i);
  const values = [...ins, ...outs];
  return {
    values,
    inputs,
    outputs,
    instructions: [{ op, attributes, inputs, outputs }],
    plan: { offsets: values.map(() => undefined), arenaBytes: 0 },
  };
}
