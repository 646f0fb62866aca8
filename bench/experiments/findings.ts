// What the runs of an experiment say together: per variant over the seeds, and the first variant against each other one.

import { countingScores } from '../../lib/report/runs.ts';
import { median, sample, welch } from '../support/statistics.ts';
import type { Variant } from './definitions.ts';
import type { Outcome } from './runs.ts';

/** One figure over the seeds. */
export interface Figure {
  readonly mean: number;
  /** NaN for one seed. */
  readonly deviation: number;
  /** In the order of the seeds. */
  readonly values: readonly number[];
}

/** What was found of one variant. */
export interface VariantFindings {
  readonly variant: Variant;
  readonly outcomes: readonly Outcome[];
  /** At the end, of the Polyak average where one was kept. */
  readonly top1: Figure;
  readonly top5: Figure;
  readonly loss: Figure;
  /** Mean of top-1 after each epoch: of two variants that end alike, the one that came there sooner has more. */
  readonly onTheWay: Figure;
  /** Loss of the last epoch's training steps. */
  readonly trainingLoss: Figure;
}

const figureOf = (outcomes: readonly Outcome[], read: (outcome: Outcome) => number | undefined): Figure => {
  const values = outcomes.map((outcome) => read(outcome) ?? Number.NaN);
  return { ...sample(values), values };
};

const last = ({ epochs }: Outcome) => countingScores(epochs.at(-1));

/** Findings of the variants that have a finished run. */
export function findingsOf(variants: readonly Variant[], outcomes: readonly Outcome[]): VariantFindings[] {
  return variants.flatMap((variant) => {
    const own = outcomes.filter((outcome) => outcome.variant === variant.id);
    if (own.length === 0) return [];
    return [
      {
        variant,
        outcomes: own,
        top1: figureOf(own, (outcome) => last(outcome)?.top1),
        top5: figureOf(own, (outcome) => last(outcome)?.top5),
        loss: figureOf(own, (outcome) => last(outcome)?.loss),
        onTheWay: figureOf(own, ({ epochs }) => {
          const values = epochs.map((epoch) => countingScores(epoch)?.top1 ?? Number.NaN);
          return sample(values).mean;
        }),
        trainingLoss: figureOf(own, ({ epochs }) => epochs.at(-1)?.train.loss),
      },
    ];
  });
}

/** How far apart two variants are, and whether their seeds let it be told. */
export interface Contrast {
  readonly first: string;
  readonly second: string;
  /** Mean top-1 of the first less that of the second. */
  readonly difference: number;
  /** Half the width of the 95 % confidence interval of the difference (Welch); NaN where a variant has one seed. */
  readonly margin: number;
}

/** The first variant against each other one. */
export function contrasts(findings: readonly VariantFindings[]): Contrast[] {
  const [first, ...others] = findings;
  if (first === undefined) return [];
  return others.map((other) => ({
    first: first.variant.label,
    second: other.variant.label,
    ...welch(first.top1.values, other.top1.values),
  }));
}

const inPoints = (share: number): string => (100 * share).toFixed(1);

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** A contrast as a sentence, beside what the paper found: that its first variant is the better one. */
export function contrastSentence({ first, second, difference, margin }: Contrast): string {
  if (difference === 0) {
    return `${capital(first)} and ${second} end with the same top-1; in the paper ${first} is better.`;
  }
  const [better, worse] = difference > 0 ? [first, second] : [second, first];
  const by = Math.abs(difference);
  const found = `${capital(better)} ends ${inPoints(by)} points of top-1 above ${worse}`;
  const agrees = difference > 0 ? 'as in the paper' : 'the other way round than in the paper';
  if (!Number.isFinite(margin)) return `${found}, ${agrees}; with one seed, chance is not ruled out.`;
  const interval = `${inPoints(by - margin)} to ${inPoints(by + margin)}`;
  return by > margin
    ? `${found} (95 % interval ${interval}), ${agrees}.`
    : `${found}, but the 95 % interval of that, ${interval}, has 0 in it: these runs do not tell.`;
}

/** What the spread over seeds leaves out: which images are there to validate with. */
export function validationSentence(findings: readonly VariantFindings[]): string {
  const images = findings[0]?.outcomes[0]?.validationImages ?? Number.NaN;
  const top1 = median(findings.map((found) => found.top1.mean));
  const error = Math.sqrt((top1 * (1 - top1)) / images);
  return (
    `One of the ${images} validation images is ${(100 / images).toFixed(2)} points. Which images these are moves each ` +
    `top-1 by a standard error of ${inPoints(error)} points, which the spread over seeds does not show: all runs ` +
    'were validated on the same ones.'
  );
}
