// Eager dispatch: an op at once, as a prepared program of one op.

import type { Backend, BufferHandle, PreparedHandle } from '../backend/backend.ts';
import { type Aval, byteLength } from './aval.ts';
import { DeviceBuffer } from './buffer.ts';
import { defaultBackend } from './device.ts';
import { ArgumentError } from './errors.ts';
import type { AnyOp } from './op.ts';
import { programOfOne } from './program.ts';
import { type Signature, signatureOf } from './signature.ts';
import { Tensor } from './tensor.ts';

/** Programs of one op kept ready per backend; the least recently used go first. */
const capacity = 2048;

interface Prepared {
  readonly handle: PreparedHandle;
  lastUse: number;
}

const preparedOf = new WeakMap<Backend, Map<Signature, Prepared>>();
let uses = 0;

function prepared(backend: Backend, signature: Signature): PreparedHandle {
  let cache = preparedOf.get(backend);
  if (cache === undefined) {
    cache = new Map();
    preparedOf.set(backend, cache);
  }
  uses += 1;
  const found = cache.get(signature);
  if (found !== undefined) {
    found.lastUse = uses;
    return found.handle;
  }
  const { op, attributes, inputs, outputs } = signature;
  const handle = backend.prepare(programOfOne(op, attributes, inputs, outputs));
  if (cache.size >= capacity) forgetOldest(backend, cache);
  cache.set(signature, { handle, lastUse: uses });
  return handle;
}

function forgetOldest(backend: Backend, cache: Map<Signature, Prepared>): void {
  let [oldest] = cache;
  for (const entry of cache) if (oldest === undefined || entry[1].lastUse < oldest[1].lastUse) oldest = entry;
  if (oldest === undefined) return;
  cache.delete(oldest[0]);
  backend.forget(oldest[1].handle);
}

/** The one backend that holds all inputs. */
function backendOf(op: AnyOp, inputs: readonly Tensor[]): Backend {
  let backend: Backend | undefined;
  for (const input of inputs) {
    const here = input.buffer(op.name).backend;
    if (backend !== undefined && backend !== here) {
      throw new ArgumentError(`${op.name}: operands on two devices, ${backend.name} and ${here.name}`);
    }
    backend = here;
  }
  return backend ?? defaultBackend();
}

/** Queues one op and returns its outputs. Throws its shape rule's errors before anything is allocated. */
export function dispatch(op: AnyOp, inputs: readonly Tensor[], attributes: unknown): Tensor[] {
  const signature = signatureOf(op, inputs, attributes);
  const { outputs } = signature;
  const backend = backendOf(op, inputs);
  if (op.view === true) {
    const source = (inputs[0] as Tensor).buffer(op.name);
    return outputs.map((a) => concrete(a, source.retain()));
  }
  const program = prepared(backend, signature);
  const buffers: DeviceBuffer[] = [];
  const from: BufferHandle[] = [];
  const to: BufferHandle[] = [];
  try {
    for (const a of outputs) {
      const buffer = DeviceBuffer.allocate(backend, byteLength(a));
      buffers.push(buffer);
      to.push(buffer.handle);
    }
    for (const input of inputs) from.push(input.buffer(op.name).handle);
    backend.run(program, from, to);
  } catch (error) {
    for (const buffer of buffers) buffer.release();
    throw error;
  }
  return outputs.map((a, i) => concrete(a, buffers[i] as DeviceBuffer));
}

const concrete = (a: Aval, buffer: DeviceBuffer): Tensor => new Tensor(a, { kind: 'concrete', buffer });
