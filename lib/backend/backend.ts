// The backend contract: what it takes to carry tensors and run programs. It knows nothing of gradients or modules.
//
// *Prepare* is slow and cached, *run* is fast and returns at once; work happens in order on the backend's own stream.
// An error of that work is kept there and thrown by the next `read`, `readSync` or `sync`.

import type { Aval } from '../core/aval.ts';
import type { ComputeType } from '../core/dtype.ts';
import type { AnyOp } from '../core/op.ts';
import type { Program } from '../core/program.ts';

declare const bufferBrand: unique symbol;
declare const preparedBrand: unique symbol;

/** A reference-counted block of a backend's memory. Opaque; a stale one is refused with an error. */
export type BufferHandle = number & { readonly [bufferBrand]: true };

/** A program that a backend has made ready to run. */
export type PreparedHandle = number & { readonly [preparedBrand]: true };

/** Whether a backend can do something, with the reason where it cannot. Absence is a value. */
export type Support = { readonly supported: true } | { readonly supported: false; readonly reason: string };

/** Bytes. `live` is held by buffers, `cached` is kept for reuse, `arena` belongs to prepared programs. */
export interface BackendMemory {
  readonly buffers: number;
  readonly live: number;
  readonly cached: number;
  readonly arena: number;
  /** Most bytes ever held from the system at once: live, cached and arena together. */
  readonly peak: number;
}

/** A device as the core sees it: memory, programs, and the order of work. Made by `openDevice`. */
export interface Backend {
  /** `reference`, `cpu`, `cudasim`, `cuda:0`. */
  readonly name: string;
  /** Facts for people: library versions, instruction set, threads. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
  /** Types of number that networks can be computed in. The first is what `precision: 'auto'` takes. */
  readonly computeTypes: readonly ComputeType[];

  /** Whether `op` can run on operands of these shapes and types. */
  supports(op: AnyOp, inputs: readonly Aval[], attributes: unknown): Support;
  /**
   * Bytes that the filters of a `conv2dBias` or `conv2dBiasAdd` take in the layout that the backend computes with, as
   * `packFilters` makes it. Undefined, as is the member itself, where they are best left as they are.
   */
  packedBytes?(op: AnyOp, inputs: readonly Aval[], attributes: unknown): number | undefined;

  /** A new buffer with one reference; contents undefined. Throws OutOfMemoryError. */
  allocate(bytes: number): BufferHandle;
  /**
   * A new buffer with one reference that is `bytes` bytes of another from `offset` on, a multiple of 64. The memory is
   * freed with the last of them. A run that fails to fill the whole or a part spoils all of it.
   */
  part(buffer: BufferHandle, offset: number, bytes: number): BufferHandle;
  /** Adds one reference. */
  retain(buffer: BufferHandle): void;
  /** Drops one reference; memory is reused in stream order, so work already queued is safe. */
  release(buffer: BufferHandle): void;

  /** Copies `bytes` to the start of a buffer, in order. The array may be changed as soon as this returns. */
  write(buffer: BufferHandle, bytes: Uint8Array): void;
  /** The first `bytes` bytes, after all work queued before. Rejects with a stored error. */
  read(buffer: BufferHandle, bytes: number): Promise<Uint8Array>;
  /** As `read`, but blocks the JavaScript thread. */
  readSync(buffer: BufferHandle, bytes: number): Uint8Array;

  /** Makes a checked program ready: slow, cached inside by op, shapes and attributes. Throws UnsupportedError. */
  prepare(program: Program): PreparedHandle;
  /** Queues one run; buffers are borrowed until it has happened. Outputs are distinct from inputs unless the program says so. */
  run(prepared: PreparedHandle, inputs: readonly BufferHandle[], outputs: readonly BufferHandle[]): void;
  /**
   * As `run`, with the times of the instructions: for each its start and its end, in nanoseconds since the run began.
   * Optional: absent where a backend cannot tell.
   */
  profile?(
    prepared: PreparedHandle,
    inputs: readonly BufferHandle[],
    outputs: readonly BufferHandle[],
  ): Promise<Float64Array>;
  /** Frees a prepared program and its arena, after queued runs. */
  forget(prepared: PreparedHandle): void;

  /** Settles when all queued work is done. */
  sync(): Promise<void>;
  /** What it holds now. */
  memory(): BackendMemory;
  /** Waits for queued work, then frees everything. Later calls throw DisposedError. */
  dispose(): void;
}
