// Tensors: an aval and, where the value is concrete, the buffer that holds it. Variables: tensors that can be assigned.

import type { Backend } from '../backend/backend.ts';
import { type Aval, aval, byteLength, checkShape, type Shape, showAval, sizeOf } from './aval.ts';
import { DeviceBuffer } from './buffer.ts';
import { defaultBackend } from './device.ts';
import { arrayFor, type DType, dtypeOf, isArrayFor, type TensorData, viewAs } from './dtype.ts';
import { ArgumentError, DisposedError, DTypeError, ShapeError } from './errors.ts';
import { reportIfLeaked, settled } from './leaks.ts';
import { currentScope, type Scope } from './scope.ts';
import { currentTrace, type Trace } from './traceState.ts';

/** Where a tensor's value is: in memory, in a trace that is being recorded, or gone. */
export type TensorState =
  | { readonly kind: 'concrete'; readonly buffer: DeviceBuffer }
  | { readonly kind: 'traced'; readonly trace: Trace; readonly value: number }
  /** A variable whose first value is made when it is first needed, on the backend where that is. */
  | { readonly kind: 'pending'; readonly initialize: () => TensorData }
  | { readonly kind: 'disposed'; readonly by: string };

let nextId = 1;

/** An n-dimensional array on a device. Immutable; dense, row-major, images as NHWC. Made by {@link tensor} and by ops. */
export class Tensor implements Disposable {
  /** Identity for gradients: an alias of a tensor shares it. */
  readonly id: number;
  /** Shape and type. */
  readonly aval: Aval;
  /** @internal */
  state: TensorState;
  #scope: Scope | undefined;

  /** @internal Use {@link tensor}. An unowned tensor belongs to nobody and must be disposed of by its maker. */
  constructor(a: Aval, state: TensorState, options: { id?: number; owned?: boolean } = {}) {
    this.id = options.id ?? nextId++;
    this.aval = a;
    this.state = state;
    if (options.owned === false) return;
    this.#scope = currentScope();
    this.#scope?.own(this);
    if (this.#scope === undefined && state.kind === 'concrete') reportIfLeaked(this, a);
  }

  /** Extents, outermost first; [] for a scalar. */
  get shape(): Shape {
    return this.aval.shape;
  }

  /** Type of its elements. */
  get dtype(): DType {
    return this.aval.dtype;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.aval.shape);
  }

  /** The backend that holds the value. Throws DisposedError, or ArgumentError while traced. */
  get backend(): Backend {
    return this.buffer('backend').backend;
  }

  /** @internal The memory, for the operation named in errors. */
  buffer(operation: string): DeviceBuffer {
    const { state } = this;
    if (state.kind === 'concrete') return state.buffer;
    if (state.kind === 'disposed') throw this.#disposedError(operation, state.by);
    if (state.kind === 'pending') return this.materialize(state.initialize(), defaultBackend());
    throw new ArgumentError(
      `${operation}: ${showAval(this.aval)} is being traced and has no value yet; ` +
        'a compiled function cannot look at its tensors',
    );
  }

  /** @internal Gives a pending tensor its value. */
  protected materialize(data: TensorData, backend: Backend): DeviceBuffer {
    const buffer = upload(data, this.aval, backend);
    this.state = { kind: 'concrete', buffer };
    return buffer;
  }

  /** @internal Throws DisposedError, naming the operation, if this tensor is gone. */
  assertUsable(operation: string): void {
    if (this.state.kind === 'disposed') throw this.#disposedError(operation, this.state.by);
  }

  #disposedError(operation: string, by: string): DisposedError {
    return new DisposedError(`${operation}: ${showAval(this.aval)} was disposed of by ${by}`);
  }

  /** The elements, after all work queued before. Rejects with the error of that work if it failed. */
  async data(): Promise<TensorData> {
    const { backend, handle } = this.buffer('data');
    return viewAs(this.dtype, await backend.read(handle, byteLength(this.aval)));
  }

  /** As {@link data}, blocking the JavaScript thread until the value is there. */
  dataSync(): TensorData {
    const { backend, handle } = this.buffer('dataSync');
    return viewAs(this.dtype, backend.readSync(handle, byteLength(this.aval)));
  }

  /** The value of a tensor with one element. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new ShapeError(`item: expected one element, got ${showAval(this.aval)}`);
    return (await this.data())[0] as number;
  }

  /** @internal Another reference to the same value, with the same identity, owned by nobody. */
  alias(): Tensor {
    this.assertUsable('alias');
    const trace = currentTrace();
    return trace === undefined ? this.share() : trace.lift(this);
  }

  /** @internal As {@link alias}, but of the memory even while tracing. */
  share(): Tensor {
    if (this.state.kind !== 'traced') this.buffer('alias').retain();
    return new Tensor(this.aval, this.state, { id: this.id, owned: false });
  }

  /** @internal Makes another scope the owner; none: the caller. */
  moveTo(owner: Scope | undefined): void {
    this.#scope?.disown(this);
    this.#scope = owner;
    owner?.own(this);
    if (owner === undefined && this.state.kind === 'concrete') reportIfLeaked(this, this.aval);
  }

  /** Frees the value. Twice is allowed; any other use afterwards throws DisposedError. */
  dispose(): void {
    this.release('dispose()');
  }

  /** @internal */
  protected release(by: string): void {
    const { state } = this;
    if (state.kind === 'disposed') return;
    this.state = { kind: 'disposed', by };
    this.#scope?.disown(this);
    this.#scope = undefined;
    settled(this);
    if (state.kind === 'concrete') state.buffer.release();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return `Tensor ${showAval(this.aval)}`;
  }
}

/** What a variable tells the flat variable that it is a part of (see flat.ts). */
export interface Whole {
  readonly version: number;
  /** The part has another buffer, or none any more. */
  partChanged(part: Variable): void;
}

/** A tensor whose value can be replaced: a parameter, a running statistic, an optimizer's state. Owned by its maker. */
export class Variable extends Tensor {
  #version = 0;
  #whole: Whole | undefined;

  /** @internal Grows with each value that it gets: what was computed from one is stale once this has changed. */
  get version(): number {
    return this.#version + (this.#whole?.version ?? 0);
  }

  /** @internal The flat variable in whose memory its value lies, unless it was assigned from outside since. */
  get whole(): Whole | undefined {
    return this.#whole;
  }

  /** Replaces the value by that of `value`, without a copy. Throws ShapeError or DTypeError if it does not fit. */
  assign(value: Tensor): void {
    this.assertUsable('assign');
    value.assertUsable('assign');
    if (value.dtype !== this.dtype) {
      throw new DTypeError(
        `assign: the variable is ${showAval(this.aval)}, the value ${showAval(value.aval)}`,
      );
    }
    if (value.shape.length !== this.shape.length || value.shape.some((n, i) => n !== this.shape[i])) {
      throw new ShapeError(
        `assign: the variable is ${showAval(this.aval)}, the value ${showAval(value.aval)}`,
      );
    }
    const trace = currentTrace();
    if (trace !== undefined) trace.assign(this, value);
    else this.replaceBuffer(value.buffer('assign').retain());
  }

  /** Replaces the value by elements from JavaScript; `data` may be changed afterwards. */
  set(data: TensorData | readonly number[]): void {
    this.assertUsable('set');
    if (data.length !== this.size) {
      throw new ShapeError(`set: ${showAval(this.aval)} has ${this.size} elements, the data ${data.length}`);
    }
    const { state } = this;
    if (state.kind !== 'concrete') {
      this.replaceBuffer(upload(data, this.aval, state.kind === 'pending' ? defaultBackend() : this.backend));
      return;
    }
    const { buffer } = state;
    // Not into a part: writing one does not make a block whole that a failed run has spoiled.
    if (!buffer.unique || buffer.block !== buffer) {
      this.replaceBuffer(upload(data, this.aval, buffer.backend));
      return;
    }
    write(data, this.aval, buffer);
    this.replaceBuffer(buffer.retain());
  }

  /** Moves the value to another backend, or makes the first value there. Waits for it if it has to be copied. */
  moveToBackend(backend: Backend): void {
    const { state } = this;
    if (state.kind === 'pending') this.materialize(state.initialize(), backend);
    else if (this.backend !== backend) this.replaceBuffer(upload(this.dataSync(), this.aval, backend));
  }

  /** @internal Takes over one reference to `buffer`. */
  replaceBuffer(buffer: DeviceBuffer): void {
    this.#take(buffer);
    this.#whole?.partChanged(this);
  }

  /** @internal As {@link replaceBuffer}, by the flat variable that it is a part of from now on. */
  placeIn(whole: Whole, buffer: DeviceBuffer): void {
    const left = this.#whole;
    if (left !== whole) this.leave();
    this.#whole = whole;
    this.#take(buffer);
    if (left !== whole) left?.partChanged(this);
  }

  /** @internal It is no part of anything from now on; its value stays where it is. */
  leave(): void {
    this.#version = this.version;
    this.#whole = undefined;
  }

  #take(buffer: DeviceBuffer): void {
    const previous = this.state;
    this.#version += 1;
    this.state = { kind: 'concrete', buffer };
    if (previous.kind === 'concrete') previous.buffer.release();
  }

  /** @internal */
  protected override release(by: string): void {
    super.release(by);
    this.#whole?.partChanged(this);
  }
}

/** Options of {@link tensor} and {@link variable}. */
export interface TensorOptions {
  /** Default: what the array says; f32 for plain numbers. */
  readonly dtype?: DType;
  /** Default: the default backend. */
  readonly backend?: Backend;
}

function upload(data: TensorData | readonly number[], a: Aval, backend: Backend): DeviceBuffer {
  const buffer = DeviceBuffer.allocate(backend, byteLength(a));
  try {
    write(data, a, buffer);
  } catch (error) {
    buffer.release();
    throw error;
  }
  return buffer;
}

/** Fills a buffer with elements, converted where they are of another type. */
function write(data: TensorData | readonly number[], a: Aval, buffer: DeviceBuffer): void {
  const elements = isArrayFor(a.dtype, data) ? data : converted(data, a.dtype);
  const bytes = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
  buffer.backend.write(buffer.handle, bytes);
}

function converted(data: TensorData | readonly number[], dtype: DType): TensorData {
  if ((dtype === 'f16' || dtype === 'bf16') && !(data instanceof Uint16Array)) {
    throw new DTypeError(
      `tensor: ${dtype} takes a Uint16Array of bit patterns; make it f32 and use ops.cast`,
    );
  }
  const elements = arrayFor(dtype, data.length);
  elements.set(data);
  return elements;
}

function describe(
  what: string,
  data: TensorData | readonly number[],
  shape: Shape,
  options: TensorOptions,
): Aval {
  checkShape(what, shape);
  if (sizeOf(shape) !== data.length) {
    throw new ShapeError(
      `${what}: shape [${shape.join(',')}] has ${sizeOf(shape)} elements, the data ${data.length}`,
    );
  }
  return aval([...shape], options.dtype ?? dtypeOf(data));
}

/**
 * A tensor from JavaScript data, copied to the device. Belongs to the innermost open scope.
 * @param shape default: one axis as long as the data
 */
export function tensor(
  data: TensorData | readonly number[] | number,
  shape?: Shape,
  options: TensorOptions = {},
): Tensor {
  const elements = typeof data === 'number' ? [data] : data;
  const a = describe(
    'tensor',
    elements,
    shape ?? (typeof data === 'number' ? [] : [elements.length]),
    options,
  );
  const buffer = upload(elements, a, options.backend ?? defaultBackend());
  return new Tensor(a, { kind: 'concrete', buffer });
}

/** A {@link Variable} with an initial value. Belongs to no scope: whoever makes it disposes of it. */
export function variable(
  data: TensorData | readonly number[],
  shape: Shape,
  options: TensorOptions = {},
): Variable {
  const a = describe('variable', data, shape, options);
  const buffer = upload(data, a, options.backend ?? defaultBackend());
  return new Variable(a, { kind: 'concrete', buffer }, { owned: false });
}
