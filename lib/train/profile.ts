// Where the time of a step goes: the program of a step run as a whole, on memory of its own so that no weight changes,
// with the start and the end of every instruction.

import type { Backend, BufferHandle } from '../backend/backend.ts';
import { type Aval, byteLength, showAval } from '../core/aval.ts';
import { UnsupportedError } from '../core/errors.ts';
import type { Program, ValueId } from '../core/program.ts';
import { multiplyAddsOf } from '../ops/cost.ts';

/** One instruction of a step. */
export interface InstructionTime {
  readonly op: string;
  /** What made it: a layer, and the rewriting. */
  readonly note: string;
  /** Shapes of the operands and results. */
  readonly shapes: string;
  /** Since the step began. */
  readonly startMilliseconds: number;
  readonly milliseconds: number;
  /** Read and written, each operand once. */
  readonly bytes: number;
  /** 0 where it is not a product of matrices. */
  readonly multiplyAdds: number;
}

/** All calls of one op in a step. */
export interface OpTime {
  readonly op: string;
  readonly calls: number;
  /** Of all calls together. */
  readonly milliseconds: number;
  readonly bytes: number;
  readonly multiplyAdds: number;
}

/** A step in milliseconds. */
export interface StepProfile {
  /** A batch of images to the device. */
  readonly transfer: number;
  /** Slowest first. */
  readonly ops: readonly OpTime[];
  /** In the order of the program. */
  readonly instructions: readonly InstructionTime[];
}

/** The first runs prepare kernels and touch memory; of the others each instruction's median counts. */
const warmUp = 2;
const runs = 5;

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number;

/**
 * Times the instructions of a program, run as it is. Operands are zeros: a label, a counter or a step of 0 is legal
 * everywhere, and the time does not depend on values.
 * @throws UnsupportedError if the backend cannot tell times
 */
export async function profileProgram(backend: Backend, program: Program): Promise<InstructionTime[]> {
  if (backend.profile === undefined) throw new UnsupportedError(`profile: ${backend.name} cannot tell times`);
  const aval = (id: ValueId) => program.values[id] as Aval;
  const held: BufferHandle[] = [];
  const zeros = (ids: readonly ValueId[]) =>
    ids.map((id) => {
      const bytes = byteLength(aval(id));
      const buffer = backend.allocate(bytes);
      held.push(buffer);
      backend.write(buffer, new Uint8Array(bytes));
      return buffer;
    });
  const prepared = backend.prepare(program);
  try {
    const [inputs, outputs] = [zeros(program.inputs), zeros(program.outputs)];
    const measured: Float64Array[] = [];
    for (let run = 0; run < warmUp + runs; run += 1) {
      const times = await backend.profile(prepared, inputs, outputs);
      if (run >= warmUp) measured.push(times);
    }
    let start = 0;
    return program.instructions.map(({ op, note, attributes, inputs: from, outputs: to }, at) => {
      const milliseconds =
        median(measured.map((times) => (times[2 * at + 1] as number) - (times[2 * at] as number))) / 1e6;
      const found = {
        op: op.name,
        note: note ?? '',
        shapes: `${from.map((id) => showAval(aval(id))).join(' ')} -> ${to.map((id) => showAval(aval(id))).join(' ')}`,
        startMilliseconds: start,
        milliseconds,
        bytes: [...new Set([...from, ...to])].reduce((sum, id) => sum + byteLength(aval(id)), 0),
        multiplyAdds: multiplyAddsOf(op.name, from.map(aval), to.map(aval), attributes),
      };
      start += milliseconds;
      return found;
    });
  } finally {
    for (const buffer of held) backend.release(buffer);
    backend.forget(prepared);
  }
}

/** Instructions of one op taken together, slowest first. */
export function byOp(instructions: readonly InstructionTime[]): OpTime[] {
  const found = new Map<string, OpTime>();
  for (const { op, milliseconds, bytes, multiplyAdds } of instructions) {
    const sum = found.get(op) ?? { op, calls: 0, milliseconds: 0, bytes: 0, multiplyAdds: 0 };
    found.set(op, {
      op,
      calls: sum.calls + 1,
      milliseconds: sum.milliseconds + milliseconds,
      bytes: sum.bytes + bytes,
      multiplyAdds: sum.multiplyAdds + multiplyAdds,
    });
  }
  return [...found.values()].sort((a, b) => b.milliseconds - a.milliseconds);
}

/** The profile in the trace event format that chrome://tracing and Perfetto open. */
export function traceEvents(profile: StepProfile): string {
  const events = profile.instructions.map((it) => ({
    name: it.note === '' ? it.op : `${it.op} (${it.note})`,
    cat: it.op,
    ph: 'X',
    pid: 1,
    tid: 1,
    ts: it.startMilliseconds * 1000,
    dur: it.milliseconds * 1000,
    args: {
      shapes: it.shapes,
      megabytes: it.bytes / 1e6,
      gigabytesPerSecond: it.bytes / it.milliseconds / 1e6,
      gigaflops: (2 * it.multiplyAdds) / it.milliseconds / 1e6,
    },
  }));
  return JSON.stringify({ displayTimeUnit: 'ms', traceEvents: events });
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
