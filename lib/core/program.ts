// A program as data: values, instructions, inputs and outputs; with its checker, its printer and its native payload.
// An eager op is a program of one op.

import { type Aval, byteLength, sameShape, showAval } from './aval.ts';
import { dtypeCode } from './dtype.ts';
import { DepthwiseError } from './errors.ts';
import type { AnyOp } from './op.ts';

/** Index into `Program.values`. */
export type ValueId = number;

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

/** Straight-line code in single assignment: every value is an input or the output of one instruction. */
export interface Program {
  readonly values: readonly Aval[];
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  readonly instructions: readonly Instruction[];
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

/** First and last instruction at which each value is needed. Inputs live from -1, outputs to the end. */
export function liveness(program: Omit<Program, 'plan'>): { first: number[]; last: number[] } {
  const first = program.values.map(() => Number.POSITIVE_INFINITY);
  const last = program.values.map(() => -1);
  for (const id of program.inputs) first[id] = -1;
  program.instructions.forEach((instruction, at) => {
    for (const id of instruction.outputs) first[id] = last[id] = at;
    for (const id of instruction.inputs) last[id] = at;
  });
  for (const id of program.outputs) last[id] = program.instructions.length;
  return { first, last };
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
  const external = new Set([...program.inputs, ...program.outputs]);
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
      for (const other of living) {
        if (other.to <= offset || to <= other.from) continue;
        const inPlace =
          other.id === replaced && last[other.id] === at && other.from === offset && other.to === to;
        if (!inPlace) refuse(`%${id} and %${other.id} share memory while both live`);
      }
      living.push({ id, from: offset, to });
    });
  });
}

/** Attributes as text: `stride=2,2 groups=64`. */
export function showAttributes(attributes: unknown): string {
  if (attributes === null || typeof attributes !== 'object') return '';
  return Object.entries(attributes)
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join(',') : String(value)}`)
    .join(' ');
}

/** Bytes that an instruction reads and writes: those of its operands and results, each counted once. */
export const instructionBytes = (program: Omit<Program, 'plan'>, { inputs, outputs }: Instruction): number =>
  [...new Set([...inputs, ...outputs])].reduce((sum, id) => sum + byteLength(program.values[id] as Aval), 0);

/** The program as text: an instruction a line, with shapes, bytes read and written, and what made it. */
export function showProgram(program: Program): string {
  const value = (id: ValueId) => `%${id}`;
  const typed = (id: ValueId) => `%${id} ${showAval(program.values[id] as Aval)}`;
  const lines = [`program(${program.inputs.map(typed).join(', ')})`];
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
export const payloadVersion = 1;

/**
 * The program as numbers for native code:
 * `version, values, inputs, outputs, instructions (counts), arenaBytes`,
 * then per value `dtype, rank, extents…, offset` (−1: comes with each run), then the input ids, the output ids,
 * and per instruction `opcode, inputs, outputs, attributes (counts), input ids…, output ids…, attributes…`.
 */
export function encodeProgram(program: Program, codeOf: (name: string) => number): Float64Array {
  const { values, inputs, outputs, instructions, plan } = program;
  const numbers = [
    payloadVersion,
    values.length,
    inputs.length,
    outputs.length,
    instructions.length,
    plan.arenaBytes,
  ];
  values.forEach((a, id) => {
    numbers.push(dtypeCode(a.dtype), a.shape.length, ...a.shape, plan.offsets[id] ?? -1);
  });
  numbers.push(...inputs, ...outputs);
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
