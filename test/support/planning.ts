// A backend that holds no data and computes nothing: for tests that look at programs which are too large to run.

import type { Backend, BufferHandle, PreparedHandle, Support } from '../../lib/backend/backend.ts';
import type { AnyOp } from '../../lib/core/op.ts';

/** @param unsupported names of ops to refuse; default: none */
export function planningBackend(unsupported: readonly string[] = []): Backend {
  let next = 1;
  const memory = { buffers: 0, live: 0, cached: 0, arena: 0, peak: 0 };
  const refuses = (): never => {
    throw new Error('planning: has no data');
  };
  return {
    name: 'planning',
    details: {},
    computeTypes: ['f32', 'bf16', 'f16'],
    supports: ({ name }: AnyOp): Support =>
      unsupported.includes(name) ? { supported: false, reason: 'asked not to' } : { supported: true },
    allocate: () => next++ as BufferHandle,
    part: () => next++ as BufferHandle,
    retain: () => {},
    release: () => {},
    write: () => {},
    read: async () => refuses(),
    readSync: (_, bytes) => new Uint8Array(bytes),
    prepare: () => next++ as PreparedHandle,
    run: () => {},
    forget: () => {},
    sync: async () => {},
    memory: () => memory,
    dispose: () => {},
  };
}
