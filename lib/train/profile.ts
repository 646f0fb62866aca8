// Where the time of a step goes: each op of its program timed by itself, on memory of its own, so that no weight changes.

import type { Backend, BufferHandle } from '../backend/backend.ts';
import { type Aval, byteLength, showAval } from '../core/aval.ts';
import { type Instruction, type Program, programOfOne, showAttributes } from '../core/program.ts';

/** All calls of one op in a step. */
export interface OpTime {
  readonly op: string;
  readonly calls: number;
  /** Of all calls together. */
  readonly milliseconds: number;
}

/** A step in milliseconds. */
export interface StepProfile {
  /** A batch of images to the device. */
  readonly transfer: number;
  /** Slowest first. */
  readonly ops: readonly OpTime[];
}

/** Runs queued in a row, as in a step; so what waking the device costs is spread over them. */
const row = 8;
/** The best of these counts, since other programs only ever add to a time. */
const trials = 4;

/** Buffers of zeros: a label, a counter or a step of 0 is legal everywhere. */
function zeros(backend: Backend, avals: readonly Aval[]): BufferHandle[] {
  return avals.map((a) => {
    const bytes = byteLength(a);
    const buffer = backend.allocate(bytes);
    backend.write(buffer, new Uint8Array(bytes));
    return buffer;
  });
}

/** Milliseconds of one run of an instruction among others. */
async function timeOf(
  backend: Backend,
  { op, attributes }: Instruction,
  ins: Aval[],
  outs: Aval[],
): Promise<number> {
  const prepared = backend.prepare(programOfOne(op, attributes, ins, outs));
  const inputs = zeros(backend, ins);
  const outputs = zeros(backend, outs);
  try {
    let best = Number.POSITIVE_INFINITY;
    for (let trial = 0; trial <= trials; trial++) {
      const start = performance.now();
      for (let run = 0; run < row; run++) backend.run(prepared, inputs, outputs);
      await backend.sync();
      if (trial > 0) best = Math.min(best, (performance.now() - start) / row); // the first prepares
    }
    return best;
  } finally {
    for (const buffer of [...inputs, ...outputs]) backend.release(buffer);
    backend.forget(prepared);
  }
}

/** Times the ops of a program. Calls of the same op on the same shapes are timed once. */
export async function profileProgram(backend: Backend, program: Program): Promise<OpTime[]> {
  const known = new Map<string, number>();
  const found = new Map<string, { calls: number; milliseconds: number }>();
  for (const instruction of program.instructions) {
    const { op, attributes, inputs, outputs } = instruction;
    const avals = (ids: readonly number[]) => ids.map((id) => program.values[id] as Aval);
    const [ins, outs] = [avals(inputs), avals(outputs)];
    const key = `${op.name} ${showAttributes(attributes)} ${ins.map(showAval).join(' ')}`;
    const time = known.get(key) ?? (await timeOf(backend, instruction, ins, outs));
    known.set(key, time);
    const sum = found.get(op.name) ?? { calls: 0, milliseconds: 0 };
    sum.calls += 1;
    sum.milliseconds += time;
    found.set(op.name, sum);
  }
  return [...found]
    .map(([op, { calls, milliseconds }]) => ({ op, calls, milliseconds }))
    .sort((a, b) => b.milliseconds - a.milliseconds);
}

/** Milliseconds that bytes take to the device. */
export async function transferTime(backend: Backend, bytes: Uint8Array): Promise<number> {
  const buffer = backend.allocate(bytes.byteLength);
  try {
    await backend.sync();
    const start = performance.now();
    backend.write(buffer, bytes);
    await backend.sync();
    return performance.now() - start;
  } finally {
    backend.release(buffer);
  }
}
