// What stands between gradients and an update: no step whose loss or gradients are not finite changes anything, long
// gradients are shortened, and in fp16 the scale of the loss is taken out again. All of it happens on the device.

import type { Backend } from '../backend/backend.ts';
import { ArgumentError } from '../core/errors.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, type Variable, variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import type { GradientGateResult } from '../ops/gradientGate.ts';
import { ops } from '../ops/index.ts';
import { type LossScaleOptions, LossScaler } from './lossScaler.ts';

/** Options of a {@link GradientGate}. */
export interface GradientGateOptions {
  /** Gradients whose norm over all parameters is larger are shortened to it. Default: none is. */
  readonly clipNorm?: number | undefined;
  /** Batches whose gradients are added up before an update. Default 1. */
  readonly batches?: number | undefined;
  /** For fp16: how the loss is scaled. Default: it is not. */
  readonly lossScale?: LossScaleOptions | undefined;
}

/** A gate at work. It counts the steps that it has stopped. */
export class GradientGate implements Disposable {
  readonly clipNorm: number | undefined;
  readonly batches: number;
  /** Undefined where the loss is not scaled. */
  readonly scaler: LossScaler | undefined;
  /** Steps that were skipped, where there is no scaler, which counts them too. */
  readonly #skipped: Variable | undefined;

  /** @throws ArgumentError for an option out of range */
  constructor(backend: Backend, { clipNorm, batches = 1, lossScale }: GradientGateOptions = {}) {
    if (clipNorm !== undefined && !(clipNorm > 0 && clipNorm < Number.POSITIVE_INFINITY)) {
      throw new ArgumentError(`clipNorm: expected a number above 0, got ${clipNorm}`);
    }
    this.clipNorm = clipNorm;
    this.batches = batches;
    this.scaler = lossScale === undefined ? undefined : new LossScaler(backend, lossScale);
    this.#skipped = this.scaler === undefined ? variable([0], [], { backend }) : undefined;
  }

  /**
   * What becomes of a step. Traceable.
   * @param gradient of all parameters, f32, without the scale of the loss; the sum over `batches` batches
   * @param loss f32 scalar, the sum over those batches
   */
  result(gradient: Tensor, loss: Tensor): GradientGateResult {
    const { clipNorm = 0, batches: count } = this;
    return noting('gate', () => ops.gradientGate(gradient, loss, { clipNorm, count }));
  }

  /** How many of `step` steps are taken, as Adam counts them: those that were skipped are not. Traceable. */
  taken(step: Tensor): Tensor {
    return this.scaler?.taken(step) ?? ops.subtract(step, this.#skipped as Variable);
  }

  /** Counts the step, and lets the scale of the loss follow. Traceable. */
  update(skip: Tensor): void {
    const skipped = this.#skipped;
    if (skipped === undefined) this.scaler?.update(skip);
    else noting('gate', () => scope(() => skipped.assign(ops.add(skipped, skip))));
  }

  /** State by name, for checkpoints. */
  state(): Map<string, Variable> {
    return this.scaler?.state() ?? new Map([['gate/skipped', this.#skipped as Variable]]);
  }

  /** Frees its state on the device. */
  dispose(): void {
    this.scaler?.dispose();
    this.#skipped?.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** What a step leaves in a variable's place: `next`, or its value where the step is skipped. Traceable. */
export const kept = (skip: Tensor | undefined, old: Tensor, next: Tensor): Tensor =>
  skip === undefined ? next : ops.select(skip, old, next);
