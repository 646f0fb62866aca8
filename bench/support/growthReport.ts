// The tables and the picture of how speed and memory grow.

import { mkdirSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import sharp from 'sharp';
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { table } from '../../lib/cli/output.ts';
import type { Growth, Point } from './growth.ts';
import { markdownTable, type Rows } from './results.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** One row per mode, size and batch, under a head. */
export function growthRows({ points, omitted }: Growth): Rows {
  const head = ['mode', 'size', 'batch', 'images/s', 'min', 'max', 'ms/image', 'peak MB'];
  const measured = points.map(({ mode, size, batch, imagesPerSecond: { median, min, max }, peakBytes }) => [
    mode,
    String(size),
    String(batch),
    ...[median, min, max].map((speed) => speed.toFixed(2)),
    (1000 / median).toFixed(1),
    (peakBytes / 1e6).toFixed(0),
  ]);
  const missing = omitted.map(({ mode, size, batch, expectedBytes }) => {
    const expected = `> ${(expectedBytes / 1e6).toFixed(0)}`;
    return [mode, String(size), String(batch), '-', '-', '-', '-', expected];
  });
  return [head, ...measured, ...missing];
}

/** A sentence per mode and size. */
export const growthSentences = ({ trends }: Growth): string[] =>
  trends.map(({ mode, size, timeSpread, memory }) => {
    const parts: string[] = [];
    if (timeSpread !== undefined) parts.push(`time per image within ${percent(timeSpread)} from batch 8 on`);
    if (memory !== undefined) {
      const base = (memory.intercept / 1e6).toFixed(0);
      const each = (memory.slope / 1e6).toFixed(1);
      parts.push(`memory ${base} MB + ${each} MB per image, within ${percent(memory.deviation)}`);
    }
    return `${mode}, ${size} pixels: ${parts.join('; ') || 'too few batches to tell a trend'}`;
  });

/** For a terminal. */
export const growthText = (growth: Growth): string =>
  [table(growthRows(growth)), ...growthSentences(growth)].join('\n');

/** For bench/results. */
export function growthMarkdown(growth: Growth): string {
  const rows = growthRows(growth);
  const sentences = growthSentences(growth).map((sentence) => `- ${sentence}`);
  return [
    'Images/s: medians over the rounds, each in a fresh process. Peak: most resident memory of the process ' +
      '(VmHWM); `>`: left out, since it would need so much.',
    markdownTable(
      rows,
      (rows[0] ?? []).map((_, i) => i > 0),
    ),
    sentences.join('\n'),
  ].join('\n\n');
}

/** Two rows of panels, images/s and peak memory, with a panel per mode and a line per size. */
export function growthSpec(points: readonly Point[]): TopLevelSpec {
  const values = points.map(({ mode, size, batch, imagesPerSecond, peakBytes }) => ({
    mode,
    size: `${size} px`,
    batch,
    imagesPerSecond: imagesPerSecond.median,
    peakGigabytes: peakBytes / 1e9,
  }));
  const modes = [...new Set(points.map(({ mode }) => mode))];
  const sizes = [...new Set(values.map(({ size }) => size))];
  const batches = [...new Set(values.map(({ batch }) => batch))];
  const panel = (mode: string, field: 'imagesPerSecond' | 'peakGigabytes', title: string) => ({
    title: mode,
    width: 320,
    height: 240,
    transform: [{ filter: { field: 'mode', equal: mode } }],
    mark: { type: 'line' as const, point: true },
    encoding: {
      x: {
        field: 'batch',
        type: 'quantitative' as const,
        scale: { type: 'log' as const, base: 2 },
        axis: { values: batches, title: 'images per step' },
      },
      y: { field, type: 'quantitative' as const, scale: { type: 'log' as const }, axis: { title } },
      color: { field: 'size', type: 'nominal' as const, sort: sizes, title: 'image' },
    },
  });
  const row = (field: 'imagesPerSecond' | 'peakGigabytes', title: string) => ({
    hconcat: modes.map((mode) => panel(mode, field, title)),
  });
  return {
    background: 'white',
    data: { values },
    vconcat: [row('imagesPerSecond', 'images per second'), row('peakGigabytes', 'peak memory, GB')],
  };
}

/**
 * Draws the points as a PNG of twice the resolution of a screen. @returns the path, relative to the current
 * folder
 */
export async function drawGrowth(points: readonly Point[], path: string): Promise<string> {
  const view = new View(parse(compile(growthSpec(points)).spec), { renderer: 'none' });
  const svg = await view.toSVG(2);
  view.finalize();
  mkdirSync(dirname(path), { recursive: true });
  await sharp(Buffer.from(svg)).png({ palette: true }).toFile(path);
  return relative('.', path);
}
