// A backend that tells how long its calls took, so that what JavaScript does around them can be told apart.

import type {
  Backend,
  BackendMemory,
  BufferHandle,
  PreparedHandle,
  Support,
} from '../../lib/backend/backend.ts';
import type { Aval } from '../../lib/core/aval.ts';
import type { AnyOp } from '../../lib/core/op.ts';
import type { Program } from '../../lib/core/program.ts';

/** Hands every call on to another backend, and adds up the time spent in it, by the method's name. */
export class TimedBackend implements Backend {
  readonly #inner: Backend;
  #milliseconds = new Map<keyof Backend, number>();

  constructor(inner: Backend) {
    this.#inner = inner;
  }

  get name(): string {
    return this.#inner.name;
  }

  get details(): Backend['details'] {
    return this.#inner.details;
  }

  get computeTypes(): Backend['computeTypes'] {
    return this.#inner.computeTypes;
  }

  /** Milliseconds in calls of this method since the start or {@link reset}; without a name, in all calls. */
  spent(method?: keyof Backend): number {
    if (method !== undefined) return this.#milliseconds.get(method) ?? 0;
    return [...this.#milliseconds.values()].reduce((sum, time) => sum + time, 0);
  }

  /** Starts to count anew. */
  reset(): void {
    this.#milliseconds = new Map();
  }

  supports(op: AnyOp, inputs: readonly Aval[], attributes: unknown): Support {
    return this.#timed('supports', () => this.#inner.supports(op, inputs, attributes));
  }

  allocate(bytes: number): BufferHandle {
    return this.#timed('allocate', () => this.#inner.allocate(bytes));
  }

  part(buffer: BufferHandle, offset: number, bytes: number): BufferHandle {
    return this.#timed('part', () => this.#inner.part(buffer, offset, bytes));
  }

  retain(buffer: BufferHandle): void {
    this.#timed('retain', () => this.#inner.retain(buffer));
  }

  release(buffer: BufferHandle): void {
    this.#timed('release', () => this.#inner.release(buffer));
  }

  write(buffer: BufferHandle, bytes: Uint8Array): void {
    this.#timed('write', () => this.#inner.write(buffer, bytes));
  }

  read(buffer: BufferHandle, bytes: number): Promise<Uint8Array> {
    return this.#inner.read(buffer, bytes); // waits, and is no work of the JavaScript thread
  }

  readSync(buffer: BufferHandle, bytes: number): Uint8Array {
    return this.#timed('readSync', () => this.#inner.readSync(buffer, bytes));
  }

  prepare(program: Program): PreparedHandle {
    return this.#timed('prepare', () => this.#inner.prepare(program));
  }

  run(prepared: PreparedHandle, inputs: readonly BufferHandle[], outputs: readonly BufferHandle[]): void {
    this.#timed('run', () => this.#inner.run(prepared, inputs, outputs));
  }

  forget(prepared: PreparedHandle): void {
    this.#timed('forget', () => this.#inner.forget(prepared));
  }

  sync(): Promise<void> {
    return this.#inner.sync();
  }

  memory(): BackendMemory {
    return this.#inner.memory();
  }

  dispose(): void {
    this.#inner.dispose();
  }

  #timed<T>(method: keyof Backend, call: () => T): T {
    const start = performance.now();
    try {
      return call();
    } finally {
      this.#milliseconds.set(method, this.spent(method) + performance.now() - start);
    }
  }
}
