// Polyak averaging: a slowly moving copy of the parameters, which is what the paper evaluates (section 4.2).

import { divide, FlatVariable } from '../core/flat.ts';
import { scope } from '../core/scope.ts';
import type { Tensor, Variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import { ops } from '../ops/index.ts';
import { fillBeside } from '../ops/shape.ts';

/**
 * The decay in force at update `n` (from 0): min(decay, (1 + n) / (10 + n)), so that the average of a short run is not
 * mostly its start. TensorFlow's ExponentialMovingAverage with `num_updates`.
 */
export const polyakDecay = (decay: number, n: number): number => Math.min(decay, (1 + n) / (10 + n));

/** An exponential moving average of variables. */
export class PolyakAverage implements Disposable {
  /** The averages, by the paths of what they follow; they start as its values. */
  readonly averages: ReadonlyMap<string, Variable>;
  readonly #followed: ReadonlyMap<string, Variable>;
  /** What is followed, in the order in memory. */
  readonly #sources: readonly Variable[];
  /** Undefined where nothing is followed. */
  readonly #flat: FlatVariable | undefined;

  /** @param followed variables that have their values; the averages are made beside them, in one block of memory */
  constructor(followed: ReadonlyMap<string, Variable>) {
    this.#followed = followed;
    const sources = inMemoryOrder([...followed.values()]);
    this.#sources = sources;
    const shapes = sources.map(({ shape }) => shape);
    const flat = sources.length === 0 ? undefined : scope(() => divide(ops.flatten(sources), shapes));
    this.#flat = flat;
    const indices = new Map(sources.map((source, i) => [source, i]));
    this.averages = new Map(
      [...followed].map(([path, source]) => [path, flat?.parts[indices.get(source) as number] as Variable]),
    );
  }

  /**
   * average = average + (1 − decay)·(value − average), with `decay` an f32 scalar; where `skip`, a scalar, is not 0,
   * the decay is 1: the average stays. Traceable.
   */
  update(decay: Tensor, skip?: Tensor): void {
    const average = this.#flat;
    if (average === undefined) return;
    noting('average', () =>
      scope(() => {
        const source = flatOf(this.#sources) ?? ops.flatten(this.#sources);
        const inForce = skip === undefined ? decay : ops.select(skip, fillBeside(decay, [], 1), decay);
        average.assign(ops.polyakUpdate(average, source, inForce));
      }),
    );
  }

  /**
   * Runs `body` with the averages in the place of what they follow, then puts the values back. No data is copied.
   */
  async during<T>(body: () => Promise<T>): Promise<T> {
    this.#swap();
    try {
      return await body();
    } finally {
      this.#swap();
    }
  }

  #swap(): void {
    for (const [path, average] of this.averages) {
      const source = this.#followed.get(path) as Variable;
      const value = average.alias();
      average.assign(source);
      source.assign(value);
      value.dispose();
    }
  }

  /** Frees the averages; what they follow is its owner's. */
  dispose(): void {
    for (const average of this.averages.values()) average.dispose();
    this.#flat?.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The flat variable that consists of just these, in their order. */
function flatOf(variables: readonly Variable[]): FlatVariable | undefined {
  const whole = variables[0]?.whole;
  return whole instanceof FlatVariable && whole.matches(variables) ? whole : undefined;
}

/** The order in which an optimizer keeps variables, where it keeps just these; else theirs. */
function inMemoryOrder(variables: readonly Variable[]): readonly Variable[] {
  const whole = variables[0]?.whole;
  const all = new Set(variables);
  const same =
    whole instanceof FlatVariable &&
    whole.parts.length === all.size &&
    whole.parts.every((part) => all.has(part));
  return same ? whole.parts : [...all];
}
