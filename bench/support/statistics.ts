// Numbers about numbers.

/** The middle value, or the mean of the two. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

/** Median, least and largest. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export const spread = (values: readonly number[]): Spread => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

/** Mean, and the standard deviation of a sample (over n - 1); that of a single value is not known: NaN. */
export function sample(values: readonly number[]): { readonly mean: number; readonly deviation: number } {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: n < 2 ? Number.NaN : Math.sqrt(squares / (n - 1)) };
}

/**
 * y = intercept + slope x by least squares, and the largest distance of a point from it, as a share of the
 * point's y.
 */
export interface Line {
  readonly intercept: number;
  readonly slope: number;
  readonly deviation: number;
}

/** The line through points; undefined for fewer than two places. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): Line | undefined {
  const n = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  const square = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  if (!(square > 0)) return undefined;
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / square;
  const intercept = meanY - slope * meanX;
  const deviation = Math.max(...points.map(([x, y]) => Math.abs(intercept + slope * x - y) / y));
  return { intercept, slope, deviation };
}

/** 97.5 % quantiles of Student's t for 1, 2, … degrees of freedom. */
const studentQuantiles = [
  ...[12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228],
  ...[2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086],
  ...[2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042],
];

/** The 97.5 % quantile of Student's t. Degrees of freedom are rounded down to a whole number, the cautious way. */
export const studentQuantile = (degrees: number): number =>
  studentQuantiles[Math.max(1, Math.floor(degrees + 1e-9)) - 1] ?? 1.96 + 2.5 / degrees;

/**
 * Mean of the first sample less that of the second, and half the width of its 95 % confidence interval, for samples of
 * different variance (Welch 1947). The margin is NaN where a sample has one value.
 */
export function welch(
  first: readonly number[],
  second: readonly number[],
): { readonly difference: number; readonly margin: number } {
  const [a, b] = [sample(first), sample(second)];
  const [ofA, ofB] = [a.deviation ** 2 / first.length, b.deviation ** 2 / second.length];
  const square = ofA + ofB;
  const degrees = square ** 2 / (ofA ** 2 / (first.length - 1) + ofB ** 2 / (second.length - 1));
  const margin = square === 0 ? 0 : studentQuantile(degrees) * Math.sqrt(square);
  return { difference: a.mean - b.mean, margin };
}
