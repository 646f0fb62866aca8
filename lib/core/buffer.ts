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

/**
 * A block of a backend's memory, or a part of one; shared by every tensor that has it. A block is freed with its last
 * reference and its last part.
 */
export class DeviceBuffer {
  readonly backend: Backend;
  readonly handle: BufferHandle;
  readonly bytes: number;
  /** The block that this is a part of; itself where it is a block. */
  readonly block: DeviceBuffer;
  #references = 1;
  /** Of a block: its parts in use, and what references they have beyond one each. */
  #parts = 0;
  #sharedParts = 0;

  private constructor(backend: Backend, handle: BufferHandle, bytes: number, block?: DeviceBuffer) {
    this.backend = backend;
    this.handle = handle;
    this.bytes = bytes;
    this.block = block ?? this;
  }

  /** A new block of `bytes` bytes with one reference; its contents are undefined. */
  static allocate(backend: Backend, bytes: number): DeviceBuffer {
    const buffer = new DeviceBuffer(backend, backend.allocate(bytes), bytes);
    liveBuffers += 1;
    liveBytes += bytes;
    peakBytes = Math.max(peakBytes, liveBytes);
    return buffer;
  }

  /** A part of a block: bytes `offset` (a multiple of 64) to `offset + bytes`. It has one reference. */
  static part(of: DeviceBuffer, offset: number, bytes: number): DeviceBuffer {
    const { block, backend } = of;
    const part = new DeviceBuffer(backend, backend.part(of.handle, offset, bytes), bytes, block);
    block.#parts += 1;
    return part;
  }

  /**
   * Whether nobody else has this memory, so that it may be overwritten. The parts of a block do not count, as long as
   * each has one reference: they belong to whoever has the block (see {@link FlatVariable}).
   */
  get unique(): boolean {
    const { block } = this;
    if (block === this) return this.#references === 1 && this.#sharedParts === 0;
    return this.#references === 1 && block.#references <= 1;
  }

  /** Whether there are parts of this block. */
  get divided(): boolean {
    return this.block.#parts > 0;
  }

  retain(): this {
    this.#references += 1;
    if (this.block !== this) this.block.#sharedParts += 1;
    return this;
  }

  release(): void {
    const { block } = this;
    this.#references -= 1;
    if (block === this) {
      if (this.#references === 0 && this.#parts === 0) this.#free();
    } else if (this.#references > 0) {
      block.#sharedParts -= 1;
    } else {
      this.backend.release(this.handle);
      block.#parts -= 1;
      if (block.#parts === 0 && block.#references === 0) block.#free();
    }
  }

  #free(): void {
    liveBuffers -= 1;
    liveBytes -= this.bytes;
    this.backend.release(this.handle);
  }
}
