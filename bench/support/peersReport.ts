// The table of a comparison with peers, as text and as Markdown, and the sentences that sum it up.

import { table } from '../../lib/cli/output.ts';
import type { Comparison, Measured } from './alternate.ts';
import { markdownTable, type Rows } from './results.ts';

/** A process that takes more of a core than this while others are measured is reported. */
const idleLimit = 0.02;

const fixed = (value: number, digits = 2): string => value.toFixed(digits);

/** Whether anyone computes on a GPU, and says how much of its memory tensors take. */
const tellsUse = (comparisons: readonly Comparison[]): boolean =>
  comparisons.some(({ measured }) => measured.some(({ usedBytes }) => usedBytes !== undefined));

/** One row per contender and setting, under a head. Ratios above 1 are in favour of the first contender. */
export function comparisonRows(comparisons: readonly Comparison[]): Rows {
  const head = [
    ...[
      'network',
      'mode',
      'precision',
      'batch',
      'who',
      'images/s',
      'min',
      'max',
      'ratio',
      'peak MB',
      'memory ratio',
    ],
    ...(tellsUse(comparisons) ? ['in tensors MB'] : []),
  ];
  const body = comparisons.flatMap(({ setting, measured }) =>
    measured.map(({ name, imagesPerSecond, ratio, peakBytes, usedBytes }) => [
      setting.arch,
      setting.mode,
      setting.precision,
      String(setting.batch),
      name,
      fixed(imagesPerSecond.median),
      fixed(imagesPerSecond.min),
      fixed(imagesPerSecond.max),
      fixed(ratio),
      fixed(peakBytes / 1e6, 0),
      fixed((measured[0] as Measured).peakBytes / peakBytes),
      ...(tellsUse(comparisons) ? [usedBytes === undefined ? '' : fixed(usedBytes / 1e6, 0)] : []),
    ]),
  );
  return [head, ...body];
}

/**
 * For each setting: the first contender against the fastest other one, who was left out, and who disturbed.
 */
export function conclusions(comparisons: readonly Comparison[]): string[] {
  return comparisons.flatMap(({ setting, measured, leftOut }) => {
    const { arch, mode, batch, size, precision, device, threads } = setting;
    const where = `${arch}, ${mode}, batch ${batch}, ${size} pixels, ${precision} on ${device}, ${threads} threads`;
    const [first, ...others] = measured;
    const best = others.toSorted((a, b) => a.ratio - b.ratio)[0];
    const lines: string[] = [];
    if (first !== undefined && best !== undefined) {
      lines.push(
        `${where}: ${first.name} is ${fixed(best.ratio)} times as fast as ${best.name}, the fastest other one`,
      );
    }
    for (const { name, reason } of leftOut) lines.push(`${where}: without ${name} (${reason})`);
    for (const { name, idleShare } of measured) {
      if (idleShare <= idleLimit) continue;
      const share = `${fixed(100 * idleShare, 0)} % of a core`;
      lines.push(`${where}: ${name} took ${share} while others were measured; do not trust these figures`);
    }
    return lines;
  });
}

/** For a terminal. */
export const comparisonText = (comparisons: readonly Comparison[]): string =>
  [table(comparisonRows(comparisons)), ...conclusions(comparisons)].join('\n');

/** For bench/results. */
export function comparisonMarkdown(comparisons: readonly Comparison[]): string {
  const rows = comparisonRows(comparisons);
  const aligned = (rows[0] ?? []).map((title) => !['network', 'mode', 'precision', 'who'].includes(title));
  const versions = new Map(
    comparisons.flatMap(({ measured }) => measured.map(({ name, description }) => [name, description])),
  );
  return [
    'Contenders take turns; images/s are medians over the rounds. Ratio: images/s of the first over this one, ' +
      'median of the ratios of the rounds. Peak: the most memory that a process of this setting alone held, ' +
      'resident (VmHWM) or of the GPU; memory ratio: the first over this one.',
    markdownTable(rows, aligned),
    conclusions(comparisons)
      .map((line) => `- ${line}`)
      .join('\n'),
    [...versions].map(([name, description]) => `- ${name}: ${description}`).join('\n'),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}
