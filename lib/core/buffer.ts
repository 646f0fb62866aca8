// Device memory as JavaScript sees it: a handle with a reference count, and the counters behind `memory()`.

import type { Backend, BufferHandle } from '../backend/backend.ts';

let liveBuffers = 0;
let liveBytes = 0;
let peakBytes = 0;

/** What tensors hold at the moment, in bytes, over all backends; see `memory()` for the public view. */
export const bufferCounters = () => ({ buffers: liveBuffers, bytes: liveBytes, peak: peakBytes });

/** Starts a new measurement of the peak. */
export function resetPeak(): void {
  peakBytes = liveBytes;
}

/** A block of a backend's memory, shared by every tensor that views it; freed with its last reference. */
export class DeviceBuffer {
  readonly backend: Backend;
  readonly handle: BufferHandle;
  readonly bytes: number;
  #references = 1;

  private constructor(backend: Backend, handle: BufferHandle, bytes: number) {
    this.backend = backend;
    this.handle = handle;
    this.bytes = bytes;
  }

  /** A new block of `bytes` bytes with one reference; its contents are undefined. */
  static allocate(backend: Backend, bytes: number): DeviceBuffer {
    const buffer = new DeviceBuffer(backend, backend.allocate(bytes), bytes);
    liveBuffers += 1;
    liveBytes += bytes;
    peakBytes = Math.max(peakBytes, liveBytes);
    return buffer;
  }

  /** Whether nobody else views this memory, so that it may be overwritten. */
  get unique(): boolean {
    return this.#references === 1;
  }

  retain(): this {
    this.#references += 1;
    return this;
  }

  release(): void {
    this.#references -= 1;
    if (this.#references > 0) return;
    liveBuffers -= 1;
    liveBytes -= this.bytes;
    this.backend.release(this.handle);
  }
}
