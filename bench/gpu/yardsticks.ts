// What a device can do, measured in the same run as everything that is compared with it: the speed of a copy within its
// memory, and of a large product of matrices. And how long single ops take.

import type { Backend, BufferHandle } from '../../lib/backend/backend.ts';
import { type Aval, aval, byteLength, sizeOf } from '../../lib/core/aval.ts';
import { type DType, isFloating } from '../../lib/core/dtype.ts';
import { type Program, programOfOne } from '../../lib/core/program.ts';
import { linearOp } from '../../lib/ops/linear.ts';
import { type Spread, spread } from '../support/statistics.ts';

/** A measurement lasts at least this long. */
const milliseconds = 30;
const measurements = 5;
const mostRuns = 200;

/** Floating operands of up to this size get random values; larger ones keep what their memory held before. */
const filledBytes = 16 * 2 ** 20;

/** Bits of 1.0, which is legal for every operand; the upper half of an f32 is a bf16. */
const ones: Readonly<Record<string, number>> = { f32: 0x3f800000, bf16: 0x3f803f80, f16: 0x3c003c00 };

/** Gives an operand contents: integers are zero, for a label, an index or a counter of 0 is legal everywhere. */
function fill(backend: Backend, buffer: BufferHandle, { shape, dtype }: Aval): void {
  const bytes = byteLength({ shape, dtype });
  if (!isFloating(dtype)) backend.write(buffer, new Uint8Array(bytes));
  else if (bytes <= filledBytes) {
    const words = new Uint32Array(Math.ceil(bytes / 4)).fill(ones[dtype] ?? 0);
    backend.write(buffer, new Uint8Array(words.buffer, 0, bytes));
  }
}

/**
 * Milliseconds of a program on buffers of its own, run after run without waiting in between, as within a step.
 * @throws OutOfMemoryError, UnsupportedError
 */
export async function timeProgram(backend: Backend, program: Program): Promise<Spread> {
  const held = new Map<number, BufferHandle>();
  const prepared = backend.prepare(program);
  try {
    for (const id of [...program.inputs, ...program.outputs]) {
      if (held.has(id)) continue;
      const value = program.values[id] as Aval;
      const buffer = backend.allocate(byteLength(value));
      held.set(id, buffer);
      if (program.inputs.includes(id)) fill(backend, buffer, value);
    }
    const inputs = program.inputs.map((id) => held.get(id) as BufferHandle);
    const outputs = program.outputs.map((id) => held.get(id) as BufferHandle);
    const time = async (runs: number): Promise<number> => {
      await backend.sync();
      const start = performance.now();
      for (let run = 0; run < runs; run += 1) backend.run(prepared, inputs, outputs);
      await backend.sync();
      return (performance.now() - start) / runs;
    };
    await time(2);
    const runs = Math.min(mostRuns, Math.ceil(milliseconds / (await time(3))));
    const times: number[] = [];
    for (let i = 0; i < measurements; i += 1) times.push(await time(runs));
    return spread(times);
  } finally {
    for (const buffer of held.values()) backend.release(buffer);
    backend.forget(prepared);
  }
}

/** Gigabytes per second, read and written, of a copy of so many bytes within the device's memory. */
export async function copySpeed(backend: Backend, bytes: number): Promise<number> {
  const value = aval([bytes], 'u8');
  // A program whose output is its input is a copy from one buffer to another.
  const program: Program = {
    values: [value],
    inputs: [0],
    outputs: [0],
    instructions: [],
    plan: { offsets: [undefined], arenaBytes: 0 },
  };
  const prepared = backend.prepare(program);
  const [from, to] = [backend.allocate(bytes), backend.allocate(bytes)];
  try {
    const time = async (runs: number): Promise<number> => {
      await backend.sync();
      const start = performance.now();
      for (let run = 0; run < runs; run += 1) backend.run(prepared, [from], [to]);
      await backend.sync();
      return (performance.now() - start) / runs;
    };
    backend.write(from, new Uint8Array(bytes));
    await time(2);
    const runs = Math.min(mostRuns, Math.ceil(milliseconds / (await time(3))));
    const times: number[] = [];
    for (let i = 0; i < measurements; i += 1) times.push(await time(runs));
    return (2 * bytes) / spread(times).median / 1e6;
  } finally {
    for (const buffer of [from, to]) backend.release(buffer);
    backend.forget(prepared);
  }
}

/** TFLOP/s of a product of two matrices of this size. @throws UnsupportedError where there is none of this type */
export async function productSpeed(backend: Backend, size: number, dtype: DType): Promise<number> {
  const matrix = aval([size, size], dtype);
  const program = programOfOne(linearOp, {}, [matrix, matrix], [matrix]);
  const { median } = await timeProgram(backend, program);
  return (2 * sizeOf(matrix.shape) * size) / median / 1e9;
}
