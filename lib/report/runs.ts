// Runs as they are read back from their folders: settings, and what was recorded of steps and epochs.

import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { CheckpointError, DataError } from '../core/errors.ts';
import type { Json } from '../train/checkpoint.ts';
import {
  type EpochRecord,
  isEpochRecord,
  type MetricsLine,
  parseMetricsLine,
  type Scores,
  type StepLine,
  type StepRecord,
} from '../train/metrics.ts';
import { readRunConfig } from '../train/runFolder.ts';

/** A run that was recorded. */
export interface RecordedRun {
  /** What it is called beside others: the end of its path that tells it from them. */
  readonly name: string;
  readonly folder: string;
  /** config.json */
  readonly config: { readonly [key: string]: Json };
  readonly steps: readonly StepRecord[];
  readonly epochs: readonly EpochRecord[];
  /** Undefined where the data do not say how many steps an epoch has. */
  readonly stepsPerEpoch: number | undefined;
}

/** The lines of metrics.jsonl. A last line that was cut off, by a crash, is left out. */
async function readMetrics(file: string): Promise<MetricsLine[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.flatMap((line, i) => {
    try {
      return [parseMetricsLine(line)];
    } catch (cause) {
      if (i === lines.length - 1) return [];
      throw new DataError(`${file}: line ${i + 1} is not JSON`, { file, cause });
    }
  });
}

/** @throws CheckpointError where there is no run; DataError where a file of it is damaged */
export async function readRun(folder: string): Promise<RecordedRun> {
  const config = await readRunConfig(folder);
  if (config === undefined) {
    throw new CheckpointError(`${folder}: no run in it (config.json); expected the --out of a training`, {
      file: folder,
      code: 'NO_RUN',
    });
  }
  const lines = await readMetrics(join(folder, 'metrics.jsonl'));
  const { images, batchSize } = config;
  return {
    name: basename(resolve(folder)),
    folder,
    config,
    steps: lines.filter((line): line is StepLine => !isEpochRecord(line)),
    epochs: lines.filter(isEpochRecord),
    stepsPerEpoch:
      typeof images === 'number' && typeof batchSize === 'number'
        ? Math.max(1, Math.floor(images / batchSize))
        : undefined,
  };
}

/** Names that tell folders apart: as much of the end of their paths as that needs. */
export function namesOf(folders: readonly string[]): string[] {
  const parts = folders.map((folder) => resolve(folder).split('/'));
  const named = (length: number) => parts.map((path) => path.slice(-length).join('/'));
  const longest = Math.max(...parts.map((path) => path.length));
  let length = 1;
  while (length < longest && new Set(named(length)).size < new Set(named(longest)).size) length += 1;
  return named(length);
}

/** Runs with names that tell them apart. */
export async function readRuns(folders: readonly string[]): Promise<RecordedRun[]> {
  const names = namesOf(folders);
  const runs = await Promise.all(folders.map(readRun));
  return runs.map((run, i) => ({ ...run, name: names[i] as string }));
}

/** The scores that count: of the Polyak average where one was kept, as the paper evaluates. */
export const countingScores = (epoch: EpochRecord | undefined): Scores | undefined =>
  epoch?.validation_average ?? epoch?.validation;

/** The epoch with the best top-1 (of equal ones the first), by the scores that count. */
export function bestEpoch(run: Pick<RecordedRun, 'epochs'>): EpochRecord | undefined {
  let best: EpochRecord | undefined;
  for (const epoch of run.epochs) {
    const scores = countingScores(epoch);
    if (scores === undefined) continue;
    const most = countingScores(best);
    if (most === undefined || (scores.map ?? scores.top1) > (most.map ?? most.top1)) best = epoch;
  }
  return best;
}
