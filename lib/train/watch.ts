// Watches whether steps are finite: counts those that are not, which have changed nothing, and says when there were too many in
// a row.

import { NonFiniteLossError } from '../core/errors.ts';
import type { Batch } from '../data/batch.ts';
import type { LossScaleReading } from '../optim/lossScaler.ts';
import type { StepNumbers } from './stepInputs.ts';

/** Steps in a row that are not finite, and end the training. */
const most = 3;

/** Below this a loss scale makes nothing larger, and what is not finite now will not be with less. */
const leastLossScale = 2 ** -14;

/** What a checkpoint keeps of it. */
interface Skipped {
  readonly steps: number;
  readonly inRow: number;
}

export class Watch {
  readonly #notice: (message: string) => void;
  #skipped: Skipped;
  /** The batches of the step in progress, where it may be the last of a row that is not finite. */
  #suspects: (readonly [Batch, StepNumbers])[] = [];

  constructor(resumed: Skipped | undefined, notice: (message: string) => void) {
    this.#skipped = resumed ?? { steps: 0, inRow: 0 };
    this.#notice = notice;
  }

  /** Steps since the start of the run that changed nothing; in fp16 also those whose gradients overflowed. */
  get skipped(): number {
    return this.#skipped.steps;
  }

  /** Steps that were not finite, up to the last one without another between them. */
  get inRow(): number {
    return this.#skipped.inRow;
  }

  /** For checkpoints; undefined as long as there is nothing to say. */
  get state(): Skipped | undefined {
    return this.#skipped.steps > 0 || this.#skipped.inRow > 0 ? this.#skipped : undefined;
  }

  /** A batch goes to the device. */
  began(batch: Batch, numbers: StepNumbers): void {
    if (numbers.batch === 0) this.#suspects = [];
    if (this.#skipped.inRow === most - 1) this.#suspects.push([batch, numbers]);
  }

  /**
   * A step is done.
   * @returns what about it is not finite; undefined: it was taken
   */
  stepped(
    loss: number,
    norm: number | undefined,
    lossScale: LossScaleReading | undefined,
  ): string | undefined {
    // In fp16 gradients overflow now and then: the scale of the loss follows.
    const gradient = lossScale !== undefined || norm === undefined || Number.isFinite(norm);
    const finite = Number.isFinite(loss) && gradient;
    const { steps, inRow } = this.#skipped;
    this.#skipped = {
      steps: lossScale?.skipped ?? (finite ? steps : steps + 1),
      inRow: finite ? 0 : inRow + 1,
    };
    if (finite) return undefined;
    return Number.isFinite(loss) ? 'the gradient is not finite' : `the loss is ${loss}`;
  }

  /** Gives true where a step was the last that may be skipped; else says that it was. */
  skip(step: number, what: string): boolean {
    if (this.#skipped.inRow >= most) {
      this.#skipped = { ...this.#skipped, inRow: 0 }; // whoever resumes the run wants to see the next step
      return true;
    }
    this.#notice(`step ${step}: ${what}; it is skipped: it changes nothing`);
    return false;
  }

  /** The batches of the last step. */
  takeSuspects(): readonly (readonly [Batch, StepNumbers])[] {
    const suspects = this.#suspects;
    this.#suspects = [];
    return suspects;
  }
}

/**
 * Gradients that overflow with hardly any scale do so without: a training that only skips steps must not go on.
 * @throws NonFiniteLossError
 */
export function refuseHopelessScale(step: number, lossScale: LossScaleReading | undefined): void {
  if (lossScale === undefined || lossScale.scale >= leastLossScale) return;
  throw new NonFiniteLossError(
    `step ${step}: the gradients overflow fp16 even with a loss scale of ${lossScale.scale}; ` +
      'use bf16 or fp32, or a smaller learning rate',
    step,
  );
}
