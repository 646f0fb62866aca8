// Random test inputs: numbers that depend on a name alone, so that a failure's name reproduces it.

import type { Shape } from '../../lib/core/aval.ts';
import { sizeOf } from '../../lib/core/aval.ts';
import type { DType } from '../../lib/core/dtype.ts';
import { bits } from './generator.ts';

/** One operand of a test case. Floating ones are exact in float32 and take the type that the test runs in. */
export interface Given {
  readonly shape: Shape;
  readonly values: Float64Array;
  /** Default: the floating type of the run. */
  readonly dtype?: DType;
}

/** A source of random shapes, attributes and operands. */
export class Random {
  readonly #draw: (i: number) => number;
  #drawn = 0;

  constructor(name: string) {
    this.#draw = bits(name, 1);
  }

  /** In [0, 1). */
  uniform(): number {
    return this.#draw(this.#drawn++) / 2 ** 32;
  }

  /** From `least` to `most`, both possible. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.uniform() * (most - least + 1));
  }

  pick<const T>(choices: readonly T[]): T {
    return choices[this.whole(0, choices.length - 1)] as T;
  }

  /** `rank` extents from 1 to `most`. */
  shape(rank: number = this.whole(0, 4), most = 4): number[] {
    return Array.from({ length: rank }, () => this.whole(1, most));
  }

  #given(shape: Shape, value: (i: number) => number): Given {
    return { shape, values: Float64Array.from({ length: sizeOf(shape) }, (_, i) => Math.fround(value(i))) };
  }

  /** Normally distributed (Box, Muller). */
  normal(shape: Shape): Given {
    return this.#given(
      shape,
      () => Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform()),
    );
  }

  /** Away from 0 by 0.1 at least, where activations have their kinks. */
  awayFromZero(shape: Shape): Given {
    return this.#given(shape, () => (0.1 + 2 * this.uniform()) * this.pick([-1, 1]));
  }

  /** From `least` to `most`. */
  between(least: number, most: number, shape: Shape): Given {
    return this.#given(shape, () => least + (most - least) * this.uniform());
  }

  /** Apart from each other by 1/32 at least, so that no small step changes which one is the largest. */
  distinct(shape: Shape): Given {
    const order = Array.from({ length: sizeOf(shape) }, (_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = this.whole(0, i);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return this.#given(shape, (i) => (order[i]! - order.length / 2) / 32);
  }

  /** Whole numbers of an integer type. */
  wholes(shape: Shape, dtype: 'i32' | 'u8', least: number, most: number): Given {
    return { ...this.#given(shape, () => this.whole(least, most)), dtype };
  }
}
