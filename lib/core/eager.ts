// Eager dispatch: an op at once, as a prepared program of one op.

import type { Backend, PreparedHandle } from '../backend/backend.ts';
import { type Aval, byteLength } from './aval.ts';
import { DeviceBuffer } from './buffer.ts';
import { defaultBackend } from './device.ts';
import { dtypeCode } from './dtype.ts';
import { ArgumentError } from './errors.ts';
import type { AnyOp } from './op.ts';
import { programOfOne } from './program.ts';
import { Tensor } from './tensor.ts';

/** Programs of one op kept ready per backend; the least recently used go first. */
const capacity = 2048;
const preparedOf = new WeakMap<Backend, Map<string, PreparedHandle>>();

const avalKey = (a: Aval): string => `${dtypeCode(a.dtype)},${a.shape.join(',')}`;

function prepared(
  backend: Backend,
  op: AnyOp,
  attributes: unknown,
  ins: readonly Aval[],
  outs: readonly Aval[],
) {
  let cache = preparedOf.get(backend);
  if (cache === undefined) {
    cache = new Map();
    preparedOf.set(backend, cache);
  }
  const key = `${op.name}|${op.encode(attributes).join(',')}|${ins.map(avalKey).join('|')}`;
  let handle = cache.get(key);
  if (handle === undefined) {
    handle = backend.prepare(programOfOne(op, attributes, ins, outs));
    if (cache.size >= capacity) {
      const [oldest] = cache.entries();
      if (oldest !== undefined) {
        cache.delete(oldest[0]);
        backend.forget(oldest[1]);
      }
    }
  } else {
    cache.delete(key); // reinserted below, as the most recently used
  }
  cache.set(key, handle);
  return handle;
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

/** Queues one op and returns its outputs. */
export function dispatch(
  op: AnyOp,
  inputs: readonly Tensor[],
  attributes: unknown,
  outputAvals: readonly Aval[],
): Tensor[] {
  const backend = backendOf(op, inputs);
  const wrap = (a: Aval, buffer: DeviceBuffer) => new Tensor(a, { kind: 'concrete', buffer });
  if (op.view === true) {
    const source = (inputs[0] as Tensor).buffer(op.name);
    return outputAvals.map((a) => wrap(a, source.retain()));
  }
  const inputAvals = inputs.map((input) => input.aval);
  const program = prepared(backend, op, attributes, inputAvals, outputAvals);
  const buffers: DeviceBuffer[] = [];
  try {
    for (const a of outputAvals) buffers.push(DeviceBuffer.allocate(backend, byteLength(a)));
    backend.run(
      program,
      inputs.map((input) => input.buffer(op.name).handle),
      buffers.map((buffer) => buffer.handle),
    );
  } catch (error) {
    for (const buffer of buffers) buffer.release();
    throw error;
  }
  return outputAvals.map((a, i) => wrap(a, buffers[i] as DeviceBuffer));
}
