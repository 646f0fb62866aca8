// Gradients of several batches added up, so that one update is as if of one large batch; and the running statistics as they
// were before the first of them, for steps that are skipped or given up.

import type { Shape } from '../core/aval.ts';
import type { FlatVariable } from '../core/flat.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, type Variable, variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import { ops } from '../ops/index.ts';
import { fillBeside } from '../ops/shape.ts';

/** Sums over the batches of a step that is not complete yet. */
export class Accumulator implements Disposable {
  /** f32, as the optimizer has the parameters. */
  readonly gradient: Variable;
  /** f32 scalar. */
  readonly loss: Variable;
  readonly #statistics: FlatVariable | undefined;
  /** The statistics before the first batch; the same values in memory of their own. */
  readonly #before: Variable | undefined = undefined;

  /** @param values the parameters; @param statistics what the forward pass changes, undefined: nothing */
  constructor(values: FlatVariable, statistics: FlatVariable | undefined) {
    const { backend } = values;
    const zeros = ({ shape, size }: { shape: Shape; size: number }) =>
      variable(new Float32Array(size), shape, { backend });
    this.gradient = zeros(values);
    this.loss = zeros({ shape: [], size: 1 });
    this.#statistics = statistics;
    if (statistics !== undefined) {
      const before = zeros(statistics);
      scope(() => before.assign(copyOf(statistics)));
      this.#before = before;
    }
  }

  /** Adds a batch. Traceable. */
  add(gradient: Tensor, loss: Tensor): void {
    noting('accumulate', () =>
      scope(() => {
        this.gradient.assign(ops.add(this.gradient, gradient));
        this.loss.assign(ops.add(this.loss, loss));
      }),
    );
  }

  /** Begins the next step: `skip`, a scalar, is not 0 where this one has come to nothing. Traceable. */
  restart(skip: Tensor): void {
    const { gradient, loss } = this;
    noting('accumulate', () =>
      scope(() => {
        gradient.assign(fillBeside(gradient, gradient.shape, 0));
        loss.assign(fillBeside(loss, [], 0));
        const [statistics, before] = [this.#statistics, this.#before];
        if (statistics === undefined || before === undefined) return;
        statistics.assign(ops.select(skip, before, statistics));
        before.assign(copyOf(statistics));
      }),
    );
  }

  /** Frees its state on the device. */
  dispose(): void {
    for (const part of [this.gradient, this.loss, this.#before]) part?.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The same values in memory of their own. */
const copyOf = (x: Tensor): Tensor => ops.scale(x, 1);
