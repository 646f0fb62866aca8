// The figures of the experiments as Markdown, for bench/results: the same as on their pages, without curves.

import { percent, whole } from '../../lib/report/parts.ts';
import { markdownTable, type Rows } from '../support/results.ts';
import { conditionsOf } from './conditions.ts';
import {
  contrastSentence,
  contrasts,
  type Figure,
  type VariantFindings,
  validationSentence,
} from './findings.ts';
import { type ExperimentName, paper } from './paper.ts';
import type { TrainingSettings } from './runs.ts';
import type { NetworkSpeed, SegmentSpeed, SpeedSettings } from './speed.ts';
import { how, segmentCells, segmentColumns, table3Cells, table3Columns, versionsOf } from './speedTables.ts';

const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n');

/** What the paper says and tabulates. */
const paperSections = (name: ExperimentName): string[] => [
  `## The paper (Chollet 2017, ${paper[name].section})`,
  list(paper[name].says),
  ...paper[name].tables.flatMap(({ caption, rows }) => [
    `${caption}:`,
    markdownTable(
      rows.map((row) =>
        row.map((cell) => (typeof cell === 'string' ? cell : cell < 1 ? percent(cell) : whole(cell))),
      ),
      (rows[0] ?? []).map((_, i) => i > 0),
    ),
  ]),
];

const spread = ({ mean, deviation, values }: Figure, show: (value: number) => string): string =>
  values.length < 2 ? show(mean) : `${show(mean)} ± ${show(deviation)}`;

const share = (value: number): string => percent(value);
const number = (value: number): string => value.toFixed(3);

/** One row per variant: means over the seeds with standard deviations, and top-1 of each seed. */
function variantRows(findings: readonly VariantFindings[]): Rows {
  const seeds = [...new Set(findings.flatMap(({ outcomes }) => outcomes.map(({ seed }) => seed)))];
  const head = [
    ...['variant', 'seeds', 'top-1'],
    ...seeds.map((seed) => `seed ${seed}`),
    ...['on the way', 'top-5', 'loss', 'training loss', 'parameters'],
  ];
  return [
    head,
    ...findings.map(({ variant, outcomes, top1, top5, loss, trainingLoss, onTheWay }) => [
      variant.label,
      String(outcomes.length),
      spread(top1, share),
      ...seeds.map((seed) => {
        const place = outcomes.findIndex((outcome) => outcome.seed === seed);
        return percent(top1.values[place]);
      }),
      spread(onTheWay, share),
      spread(top5, share),
      spread(loss, number),
      spread(trainingLoss, number),
      whole(outcomes[0]?.parameters),
    ]),
  ];
}

/** What the columns of the variants' tables are. */
export const variantNote =
  'On the validation images at the end: mean over the seeds ± standard deviation. Training loss: of the last epoch, with ' +
  'augmentation, dropout and label smoothing. On the way: mean of top-1 after each epoch.';

/** Sections about an experiment that trains. */
export function trainingSections(
  name: ExperimentName,
  settings: TrainingSettings,
  findings: readonly VariantFindings[],
  planned: number,
): string[] {
  const outcomes = findings.flatMap(({ outcomes: own }) => own);
  const rows = variantRows(findings);
  return [
    ...paperSections(name),
    '## Here',
    ...(outcomes.length < planned ? [`${outcomes.length} of ${planned} runs are finished.`] : []),
    list([...contrasts(findings).map(contrastSentence), validationSentence(findings)]),
    variantNote,
    markdownTable(
      rows,
      (rows[0] ?? []).map((_, i) => i > 0),
    ),
    '## What is different from the paper',
    markdownTable([['condition', 'paper', 'here'], ...conditionsOf(settings, outcomes)]),
  ];
}

const columnsOf = (columns: readonly { readonly title: string; readonly number?: boolean }[]) =>
  [columns.map(({ title }) => title), columns.map(({ number = false }) => number)] as const;

/** Sections about table 3. */
export function table3Sections(settings: SpeedSettings, found: readonly NetworkSpeed[]): string[] {
  const { rows, ratios } = table3Cells(settings, found);
  const [head, right] = columnsOf(table3Columns);
  return [
    ...paperSections('table3'),
    '## Here',
    `${how(settings)}. Trainable parameters with 1,000 classes.`,
    markdownTable([head, ...rows], right),
    markdownTable([['who', 'steps/s of Xception over those of Inception V3'], ...ratios], [false, true]),
    list(versionsOf(found)),
  ];
}

/** Sections about the continuum of segments. */
export function segmentsSections(settings: SpeedSettings, found: readonly SegmentSpeed[]): string[] {
  const [head, right] = columnsOf(segmentColumns);
  return [
    ...paperSections('segments'),
    '## Here',
    `${how(settings)}; 1,000 classes. Each network takes turns with the plain one, whose segments are the channels: images/s ` +
      'are medians over the turns, relative speeds medians of the ratios of the turns, with the least and the largest. ' +
      'The last row is that network beside itself: how far it is from 1 is the noise.',
    markdownTable([head, ...found.map(segmentCells)], right),
  ];
}
