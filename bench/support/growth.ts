// Speed and memory over batches and sizes, each point in fresh processes, in turn with the others.

import { startChild } from './child.ts';
import type { Contender } from './contenders.ts';
import type { Mode, Setting } from './protocol.ts';
import { fitLine, type Line, median, type Spread, spread } from './statistics.ts';

/** What to measure. */
export interface GrowthOptions {
  readonly mode: readonly Mode[];
  readonly batch: readonly number[];
  /** Edges in pixels. */
  readonly size: readonly number[];
  /** Times that each point is measured. */
  readonly rounds: number;
  /** Least time of each measurement. */
  readonly seconds: number;
  readonly threads: number;
  /** Points that are expected to need more memory are left out. */
  readonly limitBytes: number;
}

/** One mode, size and batch. */
export interface Point {
  readonly mode: Mode;
  readonly size: number;
  readonly batch: number;
  /** Over the rounds. */
  readonly imagesPerSecond: Spread;
  /** Largest of the rounds. */
  readonly peakBytes: number;
}

/** A point that was not measured. */
export interface Omitted {
  readonly mode: Mode;
  readonly size: number;
  readonly batch: number;
  readonly expectedBytes: number;
}

/** What the points of one mode and size say. */
export interface Trend {
  readonly mode: Mode;
  readonly size: number;
  /**
   * Time per image from batch 8 on: (slowest - fastest) / fastest. Undefined for fewer than two such batches.
   */
  readonly timeSpread: number | undefined;
  /** Peak memory over the batch: bytes, and bytes per image. Undefined for fewer than three batches. */
  readonly memory: Line | undefined;
}

export interface Growth {
  readonly points: readonly Point[];
  readonly omitted: readonly Omitted[];
  readonly trends: readonly Trend[];
}

/** Steps before the first that counts: one compiles, one more finds the caches as the rest will. */
const warmup = 2;
/** Steps counted at least, whatever the time. */
const leastSteps = 3;
/** From this batch on, an image is expected to take the same time. */
const steadyBatch = 8;

interface Figures {
  readonly speeds: number[];
  peakBytes: number;
}

/** One measurement, in a fresh process. */
async function measure(contender: Contender, setting: Setting, seconds: number) {
  const child = await startChild(contender.command(setting));
  try {
    const [trial] = await child.run(1);
    const steps = Math.max(leastSteps, Math.ceil((1000 * seconds) / (trial as number)));
    // The median: other programs interrupt some steps, and only ever make them longer.
    const imagesPerSecond = (1000 * setting.batch) / median(await child.run(steps));
    return { imagesPerSecond, peakBytes: child.peakBytes() };
  } finally {
    await child.quit();
  }
}

/** What a batch will need, by those measured of the same mode and size. Undefined where too few are known. */
export function expectedBytes(known: readonly (readonly [batch: number, bytes: number])[], batch: number) {
  const line = fitLine(known);
  return line === undefined ? undefined : line.intercept + line.slope * batch;
}

/** Measures all points. @throws Error if a process fails */
export async function measureGrowth(
  contender: Contender,
  options: GrowthOptions,
  say: (line: string) => void,
): Promise<Growth> {
  const { rounds, seconds, threads, limitBytes } = options;
  const batches = options.batch.toSorted((a, b) => a - b);
  const groups = options.mode.flatMap((mode) =>
    options.size.map((size) => ({ mode, size, figures: new Map<number, Figures>() })),
  );
  const omitted: Omitted[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const { mode, size, figures } of groups) {
      for (const batch of batches) {
        if (omitted.some((other) => other.mode === mode && other.size === size && other.batch === batch))
          continue;
        const known = [...figures].filter(([smaller]) => smaller < batch);
        const expected = expectedBytes(
          known.map(([smaller, { peakBytes }]) => [smaller, peakBytes]),
          batch,
        );
        const where = `${mode}, ${size} pixels, batch ${batch}`;
        if (expected !== undefined && expected > limitBytes) {
          omitted.push({ mode, size, batch, expectedBytes: expected });
          say(`${where}: left out, would need ${(expected / 1e9).toFixed(1)} GB`);
          continue;
        }
        const found = await measure(
          contender,
          { mode, batch, size, threads, warmup, device: 'cpu', precision: 'fp32', arch: 'xception' },
          seconds,
        );
        const all = figures.get(batch) ?? { speeds: [], peakBytes: 0 };
        all.speeds.push(found.imagesPerSecond);
        all.peakBytes = Math.max(all.peakBytes, found.peakBytes);
        figures.set(batch, all);
        const [speed, gigabytes] = [found.imagesPerSecond.toFixed(2), (found.peakBytes / 1e9).toFixed(2)];
        say(`${where}: ${speed} images/s, ${gigabytes} GB (round ${round + 1} of ${rounds})`);
      }
    }
  }
  const points = groups.flatMap(({ mode, size, figures }) =>
    [...figures].map(([batch, { speeds, peakBytes }]) => ({
      mode,
      size,
      batch,
      imagesPerSecond: spread(speeds),
      peakBytes,
    })),
  );
  return { points, omitted, trends: trendsOf(points) };
}

/** What the points of each mode and size say, in the order of their first points. */
export function trendsOf(points: readonly Point[]): Trend[] {
  const groups = new Map<string, Point[]>();
  for (const point of points) {
    const key = `${point.mode} ${point.size}`;
    groups.set(key, [...(groups.get(key) ?? []), point]);
  }
  return [...groups.values()].map((group) => {
    const { mode, size } = group[0] as Point;
    const steady = group
      .filter(({ batch }) => batch >= steadyBatch)
      .map(({ imagesPerSecond }) => imagesPerSecond.median);
    return {
      mode,
      size,
      timeSpread: steady.length < 2 ? undefined : Math.max(...steady) / Math.min(...steady) - 1,
      memory: group.length < 3 ? undefined : fitLine(group.map(({ batch, peakBytes }) => [batch, peakBytes])),
    };
  });
}
