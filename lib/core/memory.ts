// memory(): what tensors hold, so that tests can assert that it returns to where it was.

import type { Backend, BackendMemory } from '../backend/backend.ts';
import { bufferCounters, resetPeak } from './buffer.ts';
import { leakedTensors } from './leaks.ts';

/** Figures in bytes where not counts. */
export interface MemoryReport {
  /** Blocks of device memory that tensors and variables hold. Tensors that share a block count once. */
  readonly tensors: number;
  readonly bytes: number;
  /** The most `bytes` since the start, or since {@link resetPeakMemory}. */
  readonly peak: number;
  /** Tensors that the garbage collector found undisposed. */
  readonly leaked: number;
  /** The backend's own figures, if one was given: memory cached for reuse, arenas of compiled programs. */
  readonly backend?: BackendMemory;
}

/** What tensors hold now, over all backends; with the figures of `backend` if given. */
export function memory(backend?: Backend): MemoryReport {
  const { buffers, bytes, peak } = bufferCounters();
  const report = { tensors: buffers, bytes, peak, leaked: leakedTensors() };
  return backend === undefined ? report : { ...report, backend: backend.memory() };
}

/** Starts a new measurement of `memory().peak`. */
export const resetPeakMemory = (): void => resetPeak();
