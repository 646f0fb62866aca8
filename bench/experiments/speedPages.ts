// The pages of the experiments that measure: table 3, and the continuum of segments.

import { type Chart, figure, html, table } from '../../lib/report/parts.ts';
import type { Circumstances } from '../support/machine.ts';
import { experimentPage, paperSide } from './pages.ts';
import { paper } from './paper.ts';
import type { NetworkSpeed, SegmentSpeed, SpeedSettings } from './speed.ts';
import { how, segmentCells, segmentColumns, table3Cells, table3Columns, versionsOf } from './speedTables.ts';

/** Table 3: the paper's, ours and the peers', side by side. */
export function table3Page(
  at: Circumstances,
  settings: SpeedSettings,
  found: readonly NetworkSpeed[],
): string {
  const { rows, ratios } = table3Cells(settings, found);
  const here = html`<div><h2>Here</h2>
${table(table3Columns, rows, { caption: `${how(settings)}. Trainable parameters with 1,000 classes.` })}
<h3>Xception beside Inception V3</h3>
${table([{ title: 'who' }, { title: 'steps/s of Xception over those of Inception V3', number: true }], ratios)}
<ul class="note">${versionsOf(found).map((words) => html`<li>${words}</li>`)}</ul></div>`;
  const differences = html`<h2>What is different from the paper</h2>
<p>The paper's steps are those of 60 GPUs together, each on its share of the images, at 299 pixels; here one device
takes ${settings.batch} images of ${settings.size} pixels. Steps per second of the two are not comparable; the ratio of the
networks on one machine is. The paper's 23,626,728 parameters are those of its author's own Inception V3 of 2016
(docs/networks.md); the network that is called so now has 23,817,352.</p>`;
  return experimentPage(
    paper.table3.title,
    at,
    html`<div class="beside uneven">${paperSide(paper.table3)}${here}</div>${differences}`,
  );
}

/** The continuum: a row for each number of segments. */
export function segmentsPage(
  at: Circumstances,
  settings: SpeedSettings,
  found: readonly SegmentSpeed[],
): string {
  const chart = (
    title: string,
    series: readonly (readonly [label: string, pick: (row: SegmentSpeed) => number])[],
  ): Chart => ({
    title,
    detail: `row 1: ${found[0]?.segments} segments, row ${found.length}: ${found.at(-1)?.segments}`,
    xLabel: 'row of the table',
    format: 'number',
    series: series.map(([label, pick], i) => ({
      label,
      color: i + 1,
      points: found.map((row, place) => [place + 1, pick(row)] as const),
    })),
  });
  const charts = [
    chart('Trainable parameters, millions', [['parameters', ({ parameters }) => parameters / 1e6]]),
    chart('Speed, relative to the plain network', [
      ['training', ({ train }) => train.relative.median],
      ['inference', ({ infer }) => infer.relative.median],
    ]),
  ];
  return experimentPage(
    paper.segments.title,
    at,
    html`<div class="beside uneven">${paperSide(paper.segments)}<div><h2>Here</h2>
<p>Xception with the spatial part of every separable convolution in so many segments; 1 is a regular convolution before each
pointwise one, as many as channels is the plain network, that of the paper. Both ends are exact
(test/models/xceptionVariants.test.ts). A layer whose channels the number does not divide takes the largest divisor below it.</p>
<p>Each network takes turns with the plain one. Relative speeds are medians of the ratios of the turns, with the least and
the largest. The last row is the plain network beside itself: how far it is from 1 is the noise.</p></div></div>
${table(segmentColumns, found.map(segmentCells), { caption: `${how(settings)}; 1,000 classes.` })}
<h2>Curves</h2>
<div class="charts">${charts.map((each, i) => figure(`chart-${i}`, each))}</div>`,
  );
}
