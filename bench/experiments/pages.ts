// The pages about experiments: what the paper reports beside what was found here, and what was different.

import {
  bar,
  type Chart,
  type Column,
  figure,
  type Html,
  html,
  type Part,
  type Point,
  pageText,
  percent,
  table,
  whole,
} from '../../lib/report/parts.ts';
import { countingScores } from '../../lib/report/runs.ts';
import type { Circumstances } from '../support/machine.ts';
import { showCircumstances } from '../support/machine.ts';
import { conditionsOf } from './conditions.ts';
import {
  contrastSentence,
  contrasts,
  type Figure,
  type VariantFindings,
  validationSentence,
} from './findings.ts';
import type { PaperAccount, PaperTable } from './paper.ts';
import type { Outcome, TrainingSettings } from './runs.ts';
import { variantNote } from './summary.ts';

/** A table of the paper, as it is printed there. */
const paperTable = ({ caption, rows: [head = [], ...body] }: PaperTable): Html => {
  const cell = (value: string | number): Part =>
    typeof value === 'string' ? value : value < 1 ? bar(value) : whole(value);
  return table(
    head.map((title, i) => ({ title, number: i > 0 })),
    body.map((row) => row.map(cell)),
    { caption },
  );
};

/** What the paper has, as the left half of a page. */
export const paperSide = ({
  title,
  section,
  says,
  tables,
}: PaperAccount): Html => html`<div><h2>The paper</h2>
<p class="note">Chollet 2017, ${section}.${
  /^Figure/.test(title)
    ? ' Its curves are published as a picture only; here is what it says and tabulates.'
    : undefined
}</p>
${says.map((sentence) => html`<p>${sentence}</p>`)}
${tables.map(paperTable)}</div>`;

/** A whole page. */
export const experimentPage = (title: string, at: Circumstances, parts: Part): string =>
  pageText({
    title,
    body: html`<header><h1>${title}</h1><p class="lead"><code>${at.command}</code></p></header>
<main>${parts}</main>
<footer>${showCircumstances(at)}</footer>`,
  });

const spread = ({ mean, deviation, values }: Figure, show: (value: number) => string): Part =>
  values.length < 2 ? show(mean) : html`${show(mean)} <small>± ${show(deviation)}</small>`;

/** Table of the variants: means over the seeds, with standard deviations. */
function variantTable(findings: readonly VariantFindings[]): Html {
  const columns: Column[] = [
    { title: 'variant' },
    { title: 'top-1', number: true },
    { title: 'on the way', number: true },
    { title: 'top-5', number: true },
    { title: 'loss', number: true },
    { title: 'training loss', number: true },
    { title: 'parameters', number: true },
    { title: 'seeds', number: true },
  ];
  const rows = findings.map(({ variant, outcomes, top1, top5, loss, trainingLoss, onTheWay }, i) => [
    html`<span class="key" style="background:var(--series-${i + 1})"></span>${variant.label}`,
    html`${bar(top1.mean, i + 1)}${top1.values.length < 2 ? undefined : html` <small>± ${percent(top1.deviation)}</small>`}`,
    spread(onTheWay, (value) => percent(value)),
    spread(top5, (value) => percent(value)),
    spread(loss, (value) => value.toFixed(3)),
    spread(trainingLoss, (value) => value.toFixed(3)),
    whole(outcomes[0]?.parameters),
    outcomes.length,
  ]);
  return table(columns, rows, { caption: variantNote });
}

/** Mean over the seeds after each epoch that all of them have, with the least and largest value around it. */
function meanCurve(
  outcomes: readonly Outcome[],
  read: (epoch: Outcome['epochs'][number]) => number | undefined,
): { points: Point[]; low: number[]; high: number[] } {
  const length = Math.min(...outcomes.map(({ epochs }) => epochs.length));
  const found = Array.from({ length }, (_, i) => ({
    x: (outcomes[0]?.epochs[i]?.epoch ?? 0) * (outcomes[0]?.stepsPerEpoch ?? 1),
    values: outcomes.map(({ epochs }) => {
      const epoch = epochs[i];
      return (epoch === undefined ? undefined : read(epoch)) ?? Number.NaN;
    }),
  }));
  return {
    points: found.map(({ x, values }) => [x, values.reduce((sum, y) => sum + y, 0) / values.length] as const),
    low: found.map(({ values }) => Math.min(...values)),
    high: found.map(({ values }) => Math.max(...values)),
  };
}

function trainingCharts(findings: readonly VariantFindings[]): Html {
  const chart = (
    title: string,
    format: Chart['format'],
    read: (epoch: Outcome['epochs'][number]) => number | undefined,
  ): Chart => ({
    title,
    detail: 'mean over the seeds; the band goes from the least to the largest',
    xLabel: 'gradient steps',
    format,
    series: findings.map(({ variant, outcomes }, i) => {
      const { points, low, high } = meanCurve(outcomes, read);
      const band = outcomes.length > 1 ? { band: { low, high } } : {};
      return { label: variant.label, points, color: i + 1, ...band };
    }),
  });
  const charts = [
    chart('Validation top-1', 'percent', (epoch) => countingScores(epoch)?.top1),
    chart('Validation loss', 'number', (epoch) => countingScores(epoch)?.loss),
    chart('Training loss', 'number', ({ train }) => train.loss),
  ];
  return html`<div class="charts">${charts.map((each, i) => figure(`chart-${i}`, each))}</div>`;
}

/** What was different from the paper, side by side. */
const conditions = (
  settings: TrainingSettings,
  outcomes: readonly Outcome[],
): Html => html`<h2>What is different from the paper</h2>
${table([{ title: 'condition' }, { title: 'paper' }, { title: 'here' }], conditionsOf(settings, outcomes))}`;

/** The page of an experiment that trains. */
export function trainingPage(
  account: PaperAccount,
  at: Circumstances,
  settings: TrainingSettings,
  findings: readonly VariantFindings[],
  planned: number,
): string {
  const outcomes = findings.flatMap(({ outcomes: own }) => own);
  const missing = planned - outcomes.length;
  const found = html`<div><h2>Here</h2>
${missing > 0 ? html`<p class="note">${outcomes.length} of ${planned} runs are finished.</p>` : undefined}
<ul>${contrasts(findings).map((contrast) => html`<li>${contrastSentence(contrast)}</li>`)}</ul>
<p class="note">${validationSentence(findings)}</p></div>`;
  return experimentPage(
    account.title,
    at,
    html`<div class="beside">${paperSide(account)}${found}</div>
<h2>Variants</h2>
${variantTable(findings)}
<h2>Curves, as the paper draws them</h2>${trainingCharts(findings)}
${conditions(settings, outcomes)}`,
  );
}
