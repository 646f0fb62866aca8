// The best epoch of a training by its validation, and when there has been none better for too long.

import type { EpochRecord, Scores } from './metrics.ts';

/** What "better" means: a higher top-1 (of equal ones the lower loss), a lower loss, a higher mean average precision. */
export const monitors = ['top1', 'loss', 'map'] as const;
/** What epochs are judged by: one of {@link monitors}. */
export type Monitor = (typeof monitors)[number];

/** The best epoch so far. */
export interface Best {
  /** Steps done at its end, which name its checkpoint. */
  readonly step: number;
  /** Epochs done by then. */
  readonly epoch: number;
  /** What it was judged by. */
  readonly monitor: Monitor;
  /** Its value: a fraction, or a loss. */
  readonly value: number;
  /** Validation loss of that epoch. */
  readonly loss: number;
  /** Epochs since then, none of them better. */
  readonly since: number;
}

/** What an epoch is judged by: the average where one is kept, which is what is used afterwards. */
const judged = ({ validation, validation_average: average }: EpochRecord): Scores | undefined =>
  average ?? validation;

function isBetter(monitor: Monitor, value: number, loss: number, best: Best): boolean {
  if (!Number.isFinite(value)) return false;
  if (monitor === 'loss') return value < best.value;
  return value > best.value || (value === best.value && loss < best.loss);
}

/**
 * The best epoch after one more; undefined as long as none was validated. Where the monitor is another than before, the best
 * is looked for anew.
 */
export function bestAfter(
  best: Best | undefined,
  monitor: Monitor,
  record: EpochRecord,
  step: number,
): Best | undefined {
  const scores = judged(record);
  const value = scores?.[monitor];
  if (scores === undefined || value === undefined) return best;
  const before = best?.monitor === monitor ? best : undefined;
  if (before !== undefined && !isBetter(monitor, value, scores.loss, before)) {
    return { ...before, since: before.since + 1 };
  }
  return { step, epoch: record.epoch, monitor, value, loss: scores.loss, since: 0 };
}
