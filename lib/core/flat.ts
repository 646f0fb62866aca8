// Flat variables: many variables' values in one block of memory, so that one op updates them all and one run carries
// one handle. Each part stays a variable of its own, which can be read, assigned and disposed of like any other.

import { type Aval, aval, byteLength, type Shape, sizeOf } from './aval.ts';
import { DeviceBuffer } from './buffer.ts';
import { bytesPerElement, type TensorData } from './dtype.ts';
import { dispatch } from './eager.ts';
import { ArgumentError } from './errors.ts';
import type { AnyOp } from './op.ts';
import { scope } from './scope.ts';
import { type Tensor, Variable } from './tensor.ts';

/** The ops that flat variables need; lib/ops provides them. */
export interface FlatOps {
  /** flatten(xs…) → y: the values one after the other, each at the place that {@link flatLayout} gives it. */
  readonly flatten: AnyOp;
  /** The elements of a flat tensor from `start` on, as a tensor of `shape`. */
  part(flat: Tensor, start: number, shape: Shape): Tensor;
}

let registered: FlatOps | undefined;

export function registerFlatOps(ops: FlatOps): void {
  registered = ops;
}

/** @internal */
export function flatOps(): FlatOps {
  if (registered === undefined) throw new ArgumentError('flat variables: lib/ops is not loaded');
  return registered;
}

/** Parts begin at multiples of this many elements: 128 bytes of f32, which a warp of a GPU reads at once. */
const unit = 32;

/** Where the values of these shapes lie in a flat tensor, in elements. What is left between them is zeros. */
export function flatLayout(shapes: readonly Shape[]): { readonly starts: readonly number[]; size: number } {
  let size = 0;
  const starts = shapes.map((shape) => {
    const start = size;
    size += Math.ceil(sizeOf(shape) / unit) * unit;
    return start;
  });
  return { starts, size };
}

/**
 * A variable of one axis whose memory holds the values of its parts, one after the other. Made by `gather` and
 * `divide`; belongs to its maker. Disposing of it leaves its parts alone.
 *
 * A part that was given a value from outside (`assign`, `set`) has memory of its own until the flat variable is next
 * used, which then copies all parts into a fresh block.
 */
export class FlatVariable extends Variable {
  readonly parts: readonly Variable[];
  /** Where each part begins, in elements. */
  readonly starts: readonly number[];
  readonly #indices: ReadonlyMap<Variable, number>;
  /** The buffer of each part, where its value is in its place. */
  readonly #places: DeviceBuffer[] = [];
  /** Parts whose value is elsewhere. */
  readonly #displaced = new Set<Variable>();

  /** @internal Takes over one reference to `buffer`. */
  constructor(parts: readonly Variable[], a: Aval, buffer: DeviceBuffer) {
    super(a, { kind: 'concrete', buffer }, { owned: false });
    this.parts = parts;
    this.starts = flatLayout(parts.map(({ shape }) => shape)).starts;
    this.#indices = new Map(parts.map((part, i) => [part, i]));
    this.#place(buffer);
  }

  /** Whether all parts have their values in their places. */
  get gathered(): boolean {
    return this.#displaced.size === 0;
  }

  /** Whether other variables, in their order, have the same places in a flat variable. */
  matches(parts: readonly Variable[]): boolean {
    return parts.length === this.parts.length && parts.every((part, i) => part === this.parts[i]);
  }

  /** @internal */
  override buffer(operation: string): DeviceBuffer {
    if (this.#displaced.size > 0) this.#gather();
    return super.buffer(operation);
  }

  /** @internal */
  override replaceBuffer(buffer: DeviceBuffer): void {
    const before = this.state;
    const same = before.kind === 'concrete' && before.buffer === buffer;
    if (!same) this.#expectParts(buffer);
    super.replaceBuffer(buffer);
    if (!same || this.#displaced.size > 0) this.#place(buffer);
  }

  /** Throws DisposedError if a part is gone, and gives the buffer up. */
  #expectParts(buffer: DeviceBuffer): void {
    try {
      for (const part of this.parts) part.assertUsable('assign');
    } catch (error) {
      buffer.release();
      throw error;
    }
  }

  /** @internal */
  partChanged(part: Variable): void {
    const { state } = part;
    const i = this.#indices.get(part) as number;
    const inPlace = part.whole === this && state.kind === 'concrete' && state.buffer === this.#places[i];
    if (inPlace) this.#displaced.delete(part);
    else this.#displaced.add(part);
  }

  /** Makes a fresh block of the values that the parts have. */
  #gather(): void {
    scope(() => {
      const [whole] = dispatch(flatOps().flatten, this.parts, {}) as [Tensor];
      this.replaceBuffer(whole.buffer('flat variable').retain());
    });
  }

  /** Has every part lie in its place in `block`. */
  #place(block: DeviceBuffer): void {
    const bytes = bytesPerElement(this.dtype);
    const shared = block.divided; // parts of another's: what is written here would change them too
    this.parts.forEach((part, i) => {
      const place = DeviceBuffer.part(block, (this.starts[i] as number) * bytes, byteLength(part.aval));
      this.#places[i] = place;
      part.placeIn(this, place);
    });
    this.#displaced.clear();
    if (shared) for (const part of this.parts) this.#displaced.add(part);
  }

  /** @internal */
  protected override release(by: string): void {
    super.release(by);
    for (const part of this.parts) if (part.whole === this) part.leave();
  }
}

/**
 * Moves the values of variables into one block of memory, in their order.
 * @throws ArgumentError where there are none, or they are of several types
 */
export function gather(parts: readonly Variable[]): FlatVariable {
  const [first] = parts;
  if (first === undefined) throw new ArgumentError('gather: expected at least one variable');
  return scope(() => {
    const [whole] = dispatch(flatOps().flatten, parts, {}) as [Tensor];
    return new FlatVariable(parts, whole.aval, whole.buffer('gather').retain());
  });
}

/**
 * Makes variables of the given shapes whose values are what lies in their places in `value`. Shares its memory.
 * @throws ArgumentError where `value` has not the size that {@link flatLayout} gives
 */
export function divide(value: Tensor, shapes: readonly Shape[]): FlatVariable {
  const { size } = flatLayout(shapes);
  if (value.shape.length !== 1 || value.size !== size) {
    throw new ArgumentError(`divide: expected [${size}], got [${value.shape.join(',')}]`);
  }
  const initialize = (): never => {
    throw new ArgumentError('divide: the variable has no place yet');
  };
  const parts = shapes.map(
    (shape) => new Variable(aval(shape, value.dtype), { kind: 'pending', initialize }, { owned: false }),
  );
  return new FlatVariable(parts, value.aval, value.buffer('divide').retain());
}

/**
 * The elements of variables, in their order. What lies in one block, all of whose parts are wanted, is read at once; its
 * variables then share one array.
 */
export async function readAll(variables: readonly Variable[]): Promise<TensorData[]> {
  const wanted = new Set<Tensor>(variables);
  const wholes = new Map<FlatVariable, Promise<TensorData>>();
  const read = async (variable: Variable): Promise<TensorData> => {
    const { whole } = variable;
    if (!(whole instanceof FlatVariable && whole.gathered && whole.parts.every((part) => wanted.has(part)))) {
      return variable.data();
    }
    let all = wholes.get(whole);
    if (all === undefined) {
      all = whole.data();
      wholes.set(whole, all);
    }
    const start = whole.starts[whole.parts.indexOf(variable)] as number;
    return (await all).subarray(start, start + variable.size);
  };
  return Promise.all(variables.map(read));
}
