// Kernels in 16 bits, for mixed precision: a copy of the parameters in the type that is computed in, which one cast over
// flat memory makes anew after each update. A step reads its parts where they lie.

import type { ComputeType } from '../core/dtype.ts';
import { divide, type FlatVariable } from '../core/flat.ts';
import { scope } from '../core/scope.ts';
import type { Tensor, Variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import { ops } from '../ops/index.ts';

/** A copy of a flat variable in another type. */
export class ComputeCopy implements Disposable {
  /** By the parts of the source, theirs in the copy. */
  readonly parts: ReadonlyMap<Tensor, Variable>;
  readonly #source: FlatVariable;
  readonly #copy: FlatVariable;
  readonly #type: ComputeType;
  /** Version of the source that the copy is of. */
  #version: number;

  /** @param source the parameters, in f32 */
  constructor(source: FlatVariable, type: ComputeType) {
    const shapes = source.parts.map(({ shape }) => shape);
    const copy = scope(() => divide(ops.cast(source, type), shapes));
    this.parts = new Map(source.parts.map((part, i) => [part, copy.parts[i] as Variable]));
    this.#source = source;
    this.#copy = copy;
    this.#type = type;
    this.#version = source.version;
  }

  /** Before a step: makes the copy anew if the parameters were given values by something else than a step. */
  refresh(): void {
    this.#source.buffer('compute copy'); // gathers what has been assigned to single parameters
    if (this.#source.version === this.#version) return;
    this.update();
    this.settle();
  }

  /** Makes the copy anew. Traceable. */
  update(): void {
    noting('compute copy', () => scope(() => this.#copy.assign(ops.cast(this.#source, this.#type))));
  }

  /** After a step, which has made the copy anew. */
  settle(): void {
    this.#version = this.#source.version;
  }

  /** Frees its state on the device. */
  dispose(): void {
    for (const part of this.parts.values()) part.dispose();
    this.#copy.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
