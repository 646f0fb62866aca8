// Dynamic loss scaling, for fp16: the loss is multiplied by a number as large as the gradients bear, so that small ones do
// not vanish. A step whose gradients overflow is skipped, on the device: no number goes to the host and back.

import type { Backend } from '../backend/backend.ts';
import { ArgumentError } from '../core/errors.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, type Variable, variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import { ops } from '../ops/index.ts';

/** Options of a {@link LossScaler}; the defaults are those of PyTorch's GradScaler. */
export interface LossScaleOptions {
  /** Scale of the first step. Default 65,536. */
  readonly initial?: number;
  /** Factor after `interval` steps without overflow. Default 2. */
  readonly growth?: number;
  /** Factor after a step with overflow. Default 0.5. */
  readonly backoff?: number;
  /** Default 2,000. */
  readonly interval?: number;
}

/** Scale and count of skipped steps, read from the device. */
export interface LossScaleReading {
  /** The next step's. */
  readonly scale: number;
  /** Since the start of the run. */
  readonly skipped: number;
}

/** A loss scale at work. Its state lies on the device, as f32 scalars. */
export class LossScaler implements Disposable {
  readonly options: Required<LossScaleOptions>;
  readonly #scale: Variable;
  /** Steps without overflow since the scale changed. */
  readonly #good: Variable;
  readonly #skipped: Variable;

  /** @throws ArgumentError for an option out of range */
  constructor(backend: Backend, options: LossScaleOptions = {}) {
    const { initial = 2 ** 16, growth = 2, backoff = 0.5, interval = 2000 } = options;
    if (!(initial > 0 && Number.isFinite(Math.fround(initial)))) {
      throw new ArgumentError(`loss scale: expected initial above 0 and finite in f32, got ${initial}`);
    }
    this.options = { initial, growth, backoff, interval };
    const scalar = (value: number) => variable([value], [], { backend });
    this.#scale = scalar(initial);
    this.#good = scalar(0);
    this.#skipped = scalar(0);
  }

  /** The loss to differentiate. Traceable. */
  scaled(loss: Tensor): Tensor {
    return ops.multiply(loss, this.#scale);
  }

  /**
   * Gradients of the scaled loss as those of the loss, in f32, and whether any of them has overflowed: a scalar, not 0 if
   * so. Traceable.
   */
  unscale(gradients: readonly Tensor[]): { readonly gradients: Tensor[]; readonly overflow: Tensor } {
    return scope(() => {
      const unscaled = gradients.map((g) => ops.unscale(g, this.#scale));
      const overflow = unscaled.map((each) => each.overflow).reduce((a, b) => ops.add(a, b));
      return { gradients: unscaled.map(({ y }) => y), overflow };
    });
  }

  /** How many of `step` steps are taken, as Adam counts them: those that were skipped are not. Traceable. */
  taken(step: Tensor): Tensor {
    return ops.subtract(step, this.#skipped);
  }

  /** The next scale. Traceable. */
  update(overflow: Tensor): void {
    noting('loss scale', () =>
      scope(() => {
        const state = { scale: this.#scale, good: this.#good, skipped: this.#skipped };
        const next = ops.lossScaleUpdate(state, overflow, this.options);
        this.#scale.assign(next.scale);
        this.#good.assign(next.good);
        this.#skipped.assign(next.skipped);
      }),
    );
  }

  /** State by name, for checkpoints. */
  state(): Map<string, Variable> {
    return new Map([
      ['loss_scale/scale', this.#scale],
      ['loss_scale/good', this.#good],
      ['loss_scale/skipped', this.#skipped],
    ]);
  }

  /** What it is after all steps queued so far, which are waited for without blocking. */
  async read(): Promise<LossScaleReading> {
    const [scale, skipped] = await Promise.all([this.#scale.item(), this.#skipped.item()]);
    return { scale, skipped };
  }

  /** Frees its state on the device. */
  dispose(): void {
    for (const part of this.state().values()) part.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
