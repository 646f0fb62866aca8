// The sections of a report about runs: figures at a glance, curves, settings.

import type { Json } from '../train/checkpoint.ts';
import type { EpochRecord } from '../train/metrics.ts';
import { type Chart, figure, type Point, type Series, smoothed, thinned } from './chart.ts';
import { type Column, decimal, type Html, html, type Part, percent, table, whole } from './html.ts';
import { bestEpoch, countingScores, type RecordedRun } from './runs.ts';

/** Colours that the style has. */
const colors = 8;

/** The colour of the nth run, from 1. */
export const colorOf = (run: number): number => (run % colors) + 1;

/** A run's name with the colour of its curves, where there are several. */
export const keyed = (run: { readonly name: string }, i: number, runs: readonly object[]): Html =>
  runs.length === 1 ? html`${run.name}` : html`<span class="key key-${colorOf(i)}"></span>${run.name}`;

/** Points of a step curve beyond which a page would only grow. */
const mostPoints = 600;

/** Whether the runs have many labels to an image. */
const manyLabels = (runs: readonly RecordedRun[]): boolean =>
  runs.some(({ config }) => config.loss === 'sigmoid');

/** Epochs where they are known, else steps. */
const inEpochs = (runs: readonly RecordedRun[]): boolean =>
  runs.every(({ stepsPerEpoch }) => stepsPerEpoch !== undefined);

type Read = (epoch: EpochRecord) => number | undefined;

const curve = ({ epochs }: RecordedRun, read: Read): Point[] =>
  epochs.flatMap((epoch) => {
    const y = read(epoch);
    return y === undefined ? [] : [[epoch.epoch, y] as const];
  });

/** The curves of several readings, for one run each in a colour of its own, for several in the colour of the run. */
function series(
  runs: readonly RecordedRun[],
  readings: readonly { label: string; read: Read; line?: Series['line'] }[],
): Series[] {
  return runs.flatMap((run, i) =>
    readings.flatMap(({ label, read, line }, j) => {
      const points = curve(run, read);
      if (points.length === 0) return [];
      const alone = runs.length === 1;
      return [
        {
          label: alone ? label : readings.length === 1 ? run.name : `${run.name}, ${label}`,
          points,
          color: alone ? colorOf(j) : colorOf(i),
          ...(alone || line === undefined ? {} : { line }),
        },
      ];
    }),
  );
}

function epochCharts(runs: readonly RecordedRun[]): Chart[] {
  const averaged = runs.some(({ epochs }) => epochs.some((epoch) => epoch.validation_average !== undefined));
  const score = (pick: 'top1' | 'loss' | 'map') => [
    ...(averaged
      ? [
          {
            label: 'validation, Polyak average',
            read: ({ validation_average }: EpochRecord) => validation_average?.[pick],
          },
        ]
      : []),
    {
      label: 'validation',
      read: ({ validation }: EpochRecord) => validation?.[pick],
      ...(averaged ? { line: 'dashed' as const } : {}),
    },
  ];
  const training = (pick: 'top1' | 'loss') => ({
    label: 'training',
    read: ({ train }: EpochRecord) => train[pick],
    line: 'faint' as const,
  });
  const most = manyLabels(runs) ? score('map') : [...score('top1'), training('top1')];
  return [
    {
      title: manyLabels(runs) ? 'Mean average precision' : 'Top-1 accuracy',
      detail: 'after each epoch',
      xLabel: 'epoch',
      format: 'percent',
      series: series(runs, most),
    },
    {
      title: 'Loss',
      detail: 'after each epoch; training with augmentation and dropout',
      xLabel: 'epoch',
      format: 'number',
      series: series(runs, [...score('loss'), training('loss')]),
    },
  ];
}

function stepCharts(runs: readonly RecordedRun[]): Chart[] {
  const epochs = inEpochs(runs);
  const x = (run: RecordedRun, step: number) => (epochs ? step / (run.stepsPerEpoch as number) : step);
  const xLabel = epochs ? 'epoch' : 'step';
  const losses = runs.flatMap((run, i): Series[] => {
    const points: Point[] = run.steps.map(({ step, loss }) => [x(run, step), loss]);
    const smooth = thinned(smoothed(points, Math.max(1, points.length / 40)), mostPoints);
    const color = colorOf(i);
    const raw = { label: 'each step', points: thinned(points, mostPoints), color, line: 'faint' as const };
    const line = { label: runs.length === 1 ? 'smoothed' : run.name, points: smooth, color };
    return points.length === 0 ? [] : runs.length === 1 ? [raw, line] : [line];
  });
  const rates = runs.flatMap((run, i): Series[] => {
    const points = thinned(
      run.steps.map(({ step, lr }) => [x(run, step), lr] as const),
      mostPoints,
    );
    const label = runs.length === 1 ? 'learning rate' : run.name;
    return points.length === 0 ? [] : [{ label, points, color: colorOf(i) }];
  });
  return [
    {
      title: 'Training loss',
      detail: runs.length === 1 ? 'of logged steps' : 'of logged steps, smoothed',
      xLabel,
      format: 'number',
      series: losses,
    },
    { title: 'Learning rate', detail: 'of logged steps', xLabel, format: 'rate', series: rates },
  ];
}

/** Curves of runs side by side. */
export function curves(runs: readonly RecordedRun[]): Html {
  const charts = [...epochCharts(runs), ...stepCharts(runs)].filter(({ series: all }) => all.length > 0);
  if (charts.length === 0) return html`<h2>Curves</h2><p class="note">Nothing is recorded yet.</p>`;
  return html`<h2>Curves</h2>
<div class="charts">${charts.map((chart, i) => figure(`curves-${i}`, chart))}</div>
<p class="note">Drag across a chart to enlarge a part of it, click twice to see all of it again; click a name to hide its curve.</p>`;
}

/** One figure with its name, and a few words below. */
export const tile = (name: string, value: Part, below: Part = undefined): Html =>
  html`<div><dt>${name}</dt><dd>${value}${below === undefined ? undefined : html` <small>${below}</small>`}</dd></div>`;

const speedOf = ({ epochs }: RecordedRun): number | undefined => {
  const speeds = epochs.map(({ images_per_second }) => images_per_second).sort((a, b) => a - b);
  return speeds[Math.floor(speeds.length / 2)];
};

const stepsOf = (run: RecordedRun): number => {
  const last = run.epochs.at(-1)?.epoch;
  const logged = run.steps.at(-1)?.step ?? 0;
  return last === undefined || run.stepsPerEpoch === undefined
    ? logged
    : Math.max(logged, Math.round(last * run.stepsPerEpoch));
};

/** Figures at a glance: tiles for one run, a table for several. */
export function summary(runs: readonly RecordedRun[]): Html {
  const many = manyLabels(runs);
  const [run] = runs;
  if (runs.length === 1 && run !== undefined) {
    const last = run.epochs.at(-1);
    const scores = countingScores(last);
    const best = bestEpoch(run);
    const top = countingScores(best);
    const average = last?.validation_average === undefined ? 'validation' : 'validation, Polyak average';
    return html`<dl class="tiles">
${
  many
    ? tile('MAP@100', percent(scores?.map), average)
    : [tile('Top-1', percent(scores?.top1), average), tile('Top-5', percent(scores?.top5), average)]
}
${tile('Loss', decimal(scores?.loss), average)}
${tile('Best', percent(many ? top?.map : top?.top1), best === undefined ? 'no validation' : `after epoch ${best.epoch}`)}
${tile('Length', last === undefined ? '–' : `${last.epoch} epochs`, `${whole(stepsOf(run))} steps`)}
${tile('Speed', decimal(speedOf(run), 1), 'images/s, median of the epochs')}
</dl>`;
  }
  const columns: Column[] = [
    { title: 'run' },
    { title: many ? 'MAP@100' : 'top-1', number: true },
    ...(many ? [] : [{ title: 'top-5', number: true }]),
    { title: 'loss', number: true },
    { title: 'best', number: true },
    { title: 'after epoch', number: true },
    { title: 'epochs', number: true },
    { title: 'steps', number: true },
    { title: 'images/s', number: true },
  ];
  const rows = runs.map((each, i) => {
    const last = each.epochs.at(-1);
    const scores = countingScores(last);
    const best = bestEpoch(each);
    const top = countingScores(best);
    return [
      keyed(each, i, runs),
      percent(many ? scores?.map : scores?.top1),
      ...(many ? [] : [percent(scores?.top5)]),
      decimal(scores?.loss),
      percent(many ? top?.map : top?.top1),
      best === undefined ? '–' : String(best.epoch),
      last === undefined ? '–' : String(last.epoch),
      whole(stepsOf(each)),
      decimal(speedOf(each), 1),
    ];
  });
  return table(columns, rows, {
    caption: 'On the validation images at the end of each run; of the Polyak average where one was kept.',
  });
}

/** A value of config.json as people read it. */
function shown(value: Json | undefined): string {
  if (value === undefined || value === null) return '–';
  if (Array.isArray(value))
    return value.length > 12 ? `${value.length} of them` : value.map(shown).join(', ');
  if (typeof value === 'object') {
    return Object.entries(value)
      .map(([name, inner]) => `${name} ${shown(inner)}`)
      .join(', ');
  }
  return String(value);
}

/** Settings by the words that a report uses, from what a run's config.json holds. */
const settings: readonly (readonly [
  words: string,
  read: (config: RecordedRun['config']) => Json | undefined,
])[] = [
  ['network', ({ arch }) => arch],
  ['options of the network', ({ options }) => options],
  ['classes', ({ classes }) => classes],
  ['image size', ({ size }) => size],
  ['training images', ({ images }) => images],
  ['images per step', ({ batchSize }) => batchSize],
  ['preset', ({ command }) => ofCommand(command, 'preset')],
  ['optimizer', ({ optimizer }) => optimizer],
  ['learning rate', ({ command }) => ofCommand(command, 'lr')],
  ['schedule', ({ command }) => ofCommand(command, 'schedule')],
  ['warm-up steps', ({ command }) => ofCommand(command, 'warmup')],
  ['weight decay', ({ weightDecay }) => weightDecay],
  ['Polyak decay', ({ polyak }) => polyak],
  ['label smoothing', ({ labelSmoothing }) => labelSmoothing],
  ['loss', ({ loss }) => loss],
  ['augmentation', ({ augment }) => augment],
  ['colour distortion', ({ color }) => color],
  ['started from', ({ command }) => ofCommand(command, 'init')],
  ['frozen layers', ({ frozen }) => (Array.isArray(frozen) && frozen.length === 0 ? null : frozen)],
  ['seed', ({ seed }) => seed],
  ['device', ({ backend, device }) => backend ?? device],
  ['precision', ({ precision }) => precision],
];

function ofCommand(command: Json | undefined, name: string): Json | undefined {
  return typeof command === 'object' && command !== null && !Array.isArray(command)
    ? (command as { readonly [key: string]: Json })[name]
    : undefined;
}

/** What was in force, a column for each run; what differs between them is set off. */
export function settingsTable(runs: readonly Pick<RecordedRun, 'name' | 'config'>[]): Html {
  const rows = settings.flatMap(([words, read]) => {
    const values = runs.map(({ config }) => shown(read(config)));
    return values.every((value) => value === '–') ? [] : [[words, ...values]];
  });
  const differing = new Set(rows.filter(([, ...values]) => new Set(values).size > 1).map(([words]) => words));
  const marked = rows.map(([words, ...values]): Part[] => [
    words,
    ...values.map((value) => (differing.has(words) ? html`<strong>${value}</strong>` : value)),
  ]);
  const columns = [{ title: 'setting' }, ...runs.map((run, i) => ({ title: keyed(run, i, runs) }))];
  return html`<h2>Settings</h2>
${table(columns, marked, runs.length > 1 ? { caption: 'What differs between the runs is bold.' } : {})}
<p class="note">All of it, versions and machine too, is in each run's <code>config.json</code>.</p>`;
}
