// Polyak averaging: a slowly moving copy of the parameters, which is what the paper evaluates (section 4.4).

import { scope } from '../core/scope.ts';
import { type Tensor, type Variable, variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import { ops } from '../ops/index.ts';

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

  /** @param followed variables that have their values; the averages are made beside them */
  constructor(followed: ReadonlyMap<string, Variable>) {
    this.#followed = followed;
    this.averages = new Map(
      [...followed].map(([path, source]) => [
        path,
        variable(source.dataSync(), source.shape, { dtype: source.dtype, backend: source.backend }),
      ]),
    );
  }

  /** average = average + (1 − decay)·(value − average), with `decay` an f32 scalar. Traceable. */
  update(decay: Tensor): void {
    for (const [path, average] of this.averages) {
      const source = this.#followed.get(path) as Variable;
      noting(`${path} average`, () => scope(() => average.assign(ops.polyakUpdate(average, source, decay))));
    }
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

  dispose(): void {
    for (const average of this.averages.values()) average.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
