// Curves: series of points as a figure of a page, drawn in the browser by uPlot. Knows no run and no experiment.

import { ArgumentError } from '../core/errors.ts';
import { type Html, html, jsonScript } from './html.ts';

/** A point of a series; y is null where there is a gap. */
export type Point = readonly [x: number, y: number | null];

/** A curve. */
export interface Series {
  readonly label: string;
  readonly points: readonly Point[];
  /** Which of the eight colours, from 1. */
  readonly color: number;
  /** Default: a whole line. */
  readonly line?: 'solid' | 'dashed' | 'faint';
  /** Least and largest value around the curve, at its own places: a band in its colour. */
  readonly band?: { readonly low: readonly number[]; readonly high: readonly number[] };
}

/** How values are written. */
export type ValueFormat = 'percent' | 'number' | 'rate';

/** A diagram. */
export interface Chart {
  readonly title: string;
  /** A few words behind the title. */
  readonly detail?: string;
  readonly xLabel: string;
  readonly format: ValueFormat;
  /** Default 'linear'. */
  readonly scale?: 'linear' | 'log';
  readonly series: readonly Series[];
}

/** What the script in the page reads of a chart: places common to all series, and each one's values at them. */
export interface ChartData {
  readonly xLabel: string;
  readonly format: ValueFormat;
  readonly scale: 'linear' | 'log';
  readonly series: readonly {
    readonly label: string;
    readonly color: number;
    readonly line: 'solid' | 'dashed' | 'faint' | 'edge';
  }[];
  /** Pairs of series (upper, lower, from 1) with colour between them. */
  readonly bands: readonly (readonly [upper: number, lower: number])[];
  readonly data: readonly (readonly (number | null)[])[];
}

/** Six significant digits are more than a screen shows, and half the bytes. */
const short = (value: number | null): number | null => (value === null ? null : Number(value.toPrecision(6)));

/** @throws ArgumentError where a band is not as long as its series */
export function chartData({ xLabel, format, scale = 'linear', series }: Chart): ChartData {
  const places = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const at = new Map(places.map((x, i) => [x, i]));
  const values = (points: readonly Point[]): (number | null)[] => {
    const row = new Array<number | null>(places.length).fill(null);
    for (const [x, y] of points) row[at.get(x) as number] = Number.isFinite(y) ? short(y) : null;
    return row;
  };
  const all: { label: string; color: number; line: 'solid' | 'dashed' | 'faint' | 'edge' }[] = [];
  const data: (number | null)[][] = [places.map((x) => short(x) as number)];
  const bands: (readonly [number, number])[] = [];
  for (const { label, points, color, line = 'solid', band } of series) {
    if (band !== undefined) {
      if (band.low.length !== points.length || band.high.length !== points.length) {
        throw new ArgumentError(`chart: the band of ${label} has not as many values as its curve`);
      }
      for (const edge of [band.high, band.low]) {
        all.push({ label: '', color, line: 'edge' });
        data.push(values(points.map(([x], i) => [x, edge[i] as number])));
      }
      bands.push([all.length - 1, all.length]);
    }
    all.push({ label, color, line });
    data.push(values(points));
  }
  return { xLabel, format, scale, series: all, bands, data };
}

/** A chart as a figure. `id` must be another one for each on a page. */
export function figure(id: string, chart: Chart): Html {
  const detail = chart.detail === undefined ? undefined : html` <small>${chart.detail}</small>`;
  const words = `${chart.title}: ${chart.series.map(({ label }) => label).join(', ')}`;
  return html`<figure class="chart"><figcaption>${chart.title}${detail}</figcaption>
<div class="plot" data-chart="${id}" role="img" aria-label="${words}"></div>
${jsonScript(id, chartData(chart))}</figure>
`;
}

/** Exponential moving average over about `span` points, without a start that hangs on the first one. */
export function smoothed(points: readonly Point[], span: number): Point[] {
  const keep = span <= 1 ? 0 : 1 - 1 / span;
  let sum = 0;
  let weight = 0;
  return points.map(([x, y]) => {
    if (y === null) return [x, null];
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return [x, sum / weight];
  });
}

/** At most `most` points: means over equal parts, so that a long run does not weigh on the page. */
export function thinned(points: readonly Point[], most: number): Point[] {
  if (points.length <= most) return [...points];
  const size = points.length / most;
  return Array.from({ length: most }, (_, i) => {
    const part = points.slice(Math.floor(i * size), Math.floor((i + 1) * size));
    const known = part.flatMap(([, y]) => (y === null ? [] : [y]));
    const x = part.at(-1)?.[0] as number;
    return [x, known.length === 0 ? null : known.reduce((sum, y) => sum + y, 0) / known.length];
  });
}
