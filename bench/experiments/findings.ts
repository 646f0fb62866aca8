// What the runs of an experiment say together: per variant over the seeds, and the first variant against each other one.

import { bestEpoch, countingScores } from '../../lib/report/runs.ts';
import { sample } from '../support/statistics.ts';
import type { Variant } from './definitions.ts';
import type { Outcome } from './runs.ts';

/** One figure over the seeds. */
export interface Figure {
  readonly mean: number;
  /** NaN for one seed. */
  readonly deviation: number;
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
  /** The best of all epochs. */
  readonly best: Figure;
  /** Median of the epochs. */
  readonly imagesPerSecond: Figure;
}

const figureOf = (outcomes: readonly Outcome[], read: (outcome: Outcome) => number): Figure => {
  const values = outcomes.map(read);
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
        top1: figureOf(own, (outcome) => last(outcome)?.top1 ?? Number.NaN),
        top5: figureOf(own, (outcome) => last(outcome)?.top5 ?? Number.NaN),
        loss: figureOf(own, (outcome) => last(outcome)?.loss ?? Number.NaN),
        best: figureOf(own, (outcome) => countingScores(bestEpoch(outcome))?.top1 ?? Number.NaN),
        imagesPerSecond: figureOf(own, ({ epochs }) => {
          const speeds = epochs.map(({ images_per_second }) => images_per_second).sort((a, b) => a - b);
          return speeds[Math.floor(speeds.length / 2)] ?? Number.NaN;
        }),
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
  /** Standard error of the difference: sqrt(s₁²/n₁ + s₂²/n₂); NaN where a variant has one seed. */
  readonly standardError: number;
}

/** The first variant against each other one. */
export function contrasts(findings: readonly VariantFindings[]): Contrast[] {
  const [first, ...others] = findings;
  if (first === undefined) return [];
  const part = ({ top1: { deviation, values } }: VariantFindings) => deviation ** 2 / values.length;
  return others.map((other) => ({
    first: first.variant.label,
    second: other.variant.label,
    difference: first.top1.mean - other.top1.mean,
    standardError: Math.sqrt(part(first) + part(other)),
  }));
}

const points = (share: number): string => `${(100 * Math.abs(share)).toFixed(1)} points`;

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** A contrast as a sentence, beside what the paper found: that its first variant is the better one. */
export function contrastSentence({ first, second, difference, standardError }: Contrast): string {
  const better = difference > 0 ? first : second;
  const worse = difference > 0 ? second : first;
  const found = capital(
    difference === 0
      ? `${first} and ${second} end with the same top-1`
      : `${better} ends ${points(difference)} of top-1 above ${worse}`,
  );
  if (difference === 0) return `${found}; in the paper ${first} is better.`;
  const agrees = difference > 0 ? 'as in the paper' : 'the other way round than in the paper';
  if (!Number.isFinite(standardError)) return `${found}, ${agrees}; with one seed, chance is not ruled out.`;
  const told = Math.abs(difference) > 2 * standardError;
  return told
    ? `${found} (standard error ${points(standardError)}), ${agrees}.`
    : `${found}, but that is within twice its standard error of ${points(standardError)}: these runs do not tell.`;
}
