// The reference backend: slow, obvious loops in TypeScript. The oracle for all others. Operands of 16 bits are computed
// with in float64, and results rounded once, as they are stored.

import { type Aval, byteLength } from '../../core/aval.ts';
import { type TensorData, viewAs } from '../../core/dtype.ts';
import {
  ArgumentError,
  DeviceError,
  DisposedError,
  OutOfMemoryError,
  UnsupportedError,
} from '../../core/errors.ts';
import { fromHalf, isHalf, toHalf } from '../../core/half.ts';
import type { AnyOp } from '../../core/op.ts';
import type { Instruction, Program, ValueId } from '../../core/program.ts';
import type { Backend, BackendMemory, BufferHandle, PreparedHandle, Support } from '../backend.ts';
import { type Operand, zeroed } from './kernel.ts';
import { kernels } from './kernels.ts';

/** Opens a reference backend of its own. It computes at once, but keeps errors as a device does. */
export const openReference = (): Backend => new ReferenceBackend();

interface Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
  references: number;
  /** What this is a part of; it has a reference for each of its parts. */
  readonly whole?: BufferHandle;
}

interface Prepared {
  readonly program: Program;
  readonly arena: Uint8Array<ArrayBuffer>;
}

/** Fresh memory is NaN in every floating type, so that reading what nobody wrote shows. */
const undefinedByte = 0xff;

class ReferenceBackend implements Backend {
  readonly name = 'reference';
  readonly details = { language: 'TypeScript', accumulation: 'float64' };
  readonly computeTypes = ['f32', 'bf16', 'f16'] as const;
  readonly #blocks = new Map<BufferHandle, Block>();
  readonly #prepared = new Map<PreparedHandle, Prepared>();
  #nextHandle = 1;
  #live = 0;
  #arena = 0;
  #peak = 0;
  #error: Error | undefined;
  #disposed = false;

  supports(op: AnyOp): Support {
    if (kernels.has(op.name)) return { supported: true };
    return { supported: false, reason: `reference: has no op ${op.name}` };
  }

  allocate(bytes: number): BufferHandle {
    this.#assertOpen();
    const block = { bytes: this.#memory(bytes), references: 1 };
    const handle = this.#nextHandle++ as BufferHandle;
    this.#blocks.set(handle, block);
    this.#live += bytes;
    this.#notePeak();
    return handle;
  }

  part(buffer: BufferHandle, offset: number, bytes: number): BufferHandle {
    const { bytes: all } = this.#block(buffer);
    const fits = offset >= 0 && offset % 64 === 0 && bytes >= 0 && offset + bytes <= all.byteLength;
    if (!fits) {
      throw new ArgumentError(
        `reference: no part of ${bytes} bytes at ${offset} in a buffer of ${all.byteLength}`,
      );
    }
    this.retain(buffer);
    const handle = this.#nextHandle++ as BufferHandle;
    this.#blocks.set(handle, {
      bytes: all.subarray(offset, offset + bytes),
      references: 1,
      whole: buffer,
    });
    return handle;
  }

  retain(buffer: BufferHandle): void {
    this.#block(buffer).references += 1;
  }

  release(buffer: BufferHandle): void {
    const block = this.#block(buffer);
    block.references -= 1;
    if (block.references > 0) return;
    this.#blocks.delete(buffer);
    if (block.whole !== undefined) this.release(block.whole);
    else this.#live -= block.bytes.byteLength;
  }

  write(buffer: BufferHandle, bytes: Uint8Array): void {
    this.#part(buffer, bytes.byteLength).set(bytes);
  }

  async read(buffer: BufferHandle, bytes: number): Promise<Uint8Array> {
    return this.readSync(buffer, bytes);
  }

  readSync(buffer: BufferHandle, bytes: number): Uint8Array {
    const part = this.#part(buffer, bytes);
    this.#throwStored();
    return part.slice();
  }

  prepare(program: Program): PreparedHandle {
    this.#assertOpen();
    for (const { op } of program.instructions) {
      const support = this.supports(op);
      if (!support.supported) throw new UnsupportedError(support.reason);
    }
    const { arenaBytes } = program.plan;
    const handle = this.#nextHandle++ as PreparedHandle;
    this.#prepared.set(handle, { program, arena: this.#memory(arenaBytes) });
    this.#arena += arenaBytes;
    this.#notePeak();
    return handle;
  }

  run(prepared: PreparedHandle, inputs: readonly BufferHandle[], outputs: readonly BufferHandle[]): void {
    const { program, arena } = this.#program(prepared);
    const external = new Map<ValueId, Uint8Array<ArrayBuffer>>();
    const bind = (what: string, ids: readonly ValueId[], buffers: readonly BufferHandle[]) => {
      if (ids.length !== buffers.length) {
        throw new ArgumentError(`run: expected ${ids.length} ${what}, got ${buffers.length}`);
      }
      ids.forEach((id, i) => {
        external.set(id, this.#part(buffers[i]!, byteLength(program.values[id]!)));
      });
    };
    bind('inputs', program.inputs, inputs);
    for (const { value, of, offset } of program.parts ?? []) {
      external.set(value, external.get(of)!.subarray(offset, offset + byteLength(program.values[value]!)));
    }
    bind('outputs', program.outputs, outputs);
    if (this.#error !== undefined) return; // what follows a failure is not computed
    arena.fill(undefinedByte);
    const place = (id: ValueId): Uint8Array<ArrayBuffer> => {
      const start = program.plan.offsets[id] ?? 0;
      return external.get(id) ?? arena.subarray(start, start + byteLength(program.values[id]!));
    };
    try {
      for (const instruction of program.instructions) execute(instruction, program.values, place);
    } catch (error) {
      this.#error = error instanceof Error ? error : new DeviceError(String(error));
    }
  }

  forget(prepared: PreparedHandle): void {
    this.#arena -= this.#program(prepared).arena.byteLength;
    this.#prepared.delete(prepared);
  }

  async sync(): Promise<void> {
    this.#assertOpen();
    this.#throwStored();
  }

  memory(): BackendMemory {
    this.#assertOpen();
    return { buffers: this.#blocks.size, live: this.#live, cached: 0, arena: this.#arena, peak: this.#peak };
  }

  dispose(): void {
    this.#disposed = true;
    this.#blocks.clear();
    this.#prepared.clear();
  }

  #assertOpen(): void {
    if (this.#disposed) throw new DisposedError('reference: the backend was disposed of');
  }

  #block(buffer: BufferHandle): Block {
    this.#assertOpen();
    const block = this.#blocks.get(buffer);
    if (block === undefined)
      throw new DisposedError(`reference: buffer ${buffer} was released or never allocated`);
    return block;
  }

  #program(prepared: PreparedHandle): Prepared {
    this.#assertOpen();
    const found = this.#prepared.get(prepared);
    if (found === undefined)
      throw new DisposedError(`reference: program ${prepared} was forgotten or never prepared`);
    return found;
  }

  /** The first bytes of a buffer, as a view. */
  #part(buffer: BufferHandle, bytes: number): Uint8Array<ArrayBuffer> {
    const block = this.#block(buffer).bytes;
    if (bytes > block.byteLength) {
      throw new ArgumentError(
        `reference: expected a buffer of at least ${bytes} bytes, got ${block.byteLength}`,
      );
    }
    return block.subarray(0, bytes);
  }

  #memory(bytes: number): Uint8Array<ArrayBuffer> {
    try {
      return new Uint8Array(bytes).fill(undefinedByte);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new OutOfMemoryError(`reference: cannot allocate ${bytes} bytes: ${error.message}`, {
        requested: bytes,
      });
    }
  }

  #notePeak(): void {
    this.#peak = Math.max(this.#peak, this.#live + this.#arena);
  }

  #throwStored(): void {
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
  }
}

/** Runs one instruction. Outputs are computed aside and copied, so that they may share memory with inputs. */
function execute(
  { op, attributes, inputs, outputs }: Instruction,
  values: readonly Aval[],
  place: (id: ValueId) => Uint8Array<ArrayBuffer>,
): void {
  const operands = inputs.map((id): Operand => {
    const { shape, dtype } = values[id]!;
    const data = viewAs(dtype, place(id));
    return { data: isHalf(dtype) ? fromHalf(dtype, data) : data, shape, dtype };
  });
  const results = outputs.map((id) => zeroed(values[id]!));
  kernels.get(op.name)!(operands, results, op.encode(attributes));
  outputs.forEach((id, i) => {
    const { data, dtype } = results[i]!;
    const stored: TensorData = isHalf(dtype) ? toHalf(dtype, data) : data;
    place(id).set(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
  });
}
