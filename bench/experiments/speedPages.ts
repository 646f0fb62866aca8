// The pages of the experiments that measure: table 3, and the continuum of segments.

import { type Chart, figure, html, table, whole } from '../../lib/report/parts.ts';
import type { Circumstances } from '../support/machine.ts';
import { experimentPage, paperSide } from './pages.ts';
import { paper } from './paper.ts';
import type { NetworkSpeed, SegmentSpeed, SpeedSettings } from './speed.ts';

const titles = { xception: 'Xception', inception_v3: 'Inception V3' } as const;

/** What the paper's table 3 has for each network. */
const paperRows = {
  inception_v3: { parameters: 23_626_728, stepsPerSecond: 31 },
  xception: { parameters: 22_855_952, stepsPerSecond: 28 },
} as const;

const how = ({ size, batch, device, precision, steps }: SpeedSettings): string =>
  `${batch} images a step, ${size} pixels, ${precision} on ${device}, ${steps} steps counted`;

/** Table 3: the paper's, ours and the peers', side by side. */
export function table3Page(
  at: Circumstances,
  settings: SpeedSettings,
  found: readonly NetworkSpeed[],
): string {
  const rows = found.flatMap(({ arch, parameters, multiplyAdds, comparison }) => {
    const { parameters: printed, stepsPerSecond } = paperRows[arch];
    return [
      [titles[arch], 'paper, 60 K80', whole(printed), '–', String(stepsPerSecond), '–'],
      ...comparison.measured.map(({ name, imagesPerSecond }) => [
        titles[arch],
        name,
        name === 'depthwise' ? whole(parameters) : '–',
        name === 'depthwise' ? `${(multiplyAdds / 1e9).toFixed(2)} G` : '–',
        (imagesPerSecond.median / settings.batch).toFixed(3),
        imagesPerSecond.median.toFixed(1),
      ]),
    ];
  });
  const speedOf = (arch: NetworkSpeed['arch'], who: string) =>
    found.find((each) => each.arch === arch)?.comparison.measured.find(({ name }) => name === who)
      ?.imagesPerSecond.median;
  const names = [...new Set(found.flatMap(({ comparison }) => comparison.measured.map(({ name }) => name)))];
  const ratios = names.flatMap((name) => {
    const [xception, inception] = [speedOf('xception', name), speedOf('inception_v3', name)];
    return xception === undefined || inception === undefined
      ? []
      : [[name, (xception / inception).toFixed(3)]];
  });
  const leftOut = found.flatMap(({ arch, comparison }) =>
    comparison.leftOut.map(({ name, reason }) => html`<li>${titles[arch]} without ${name}: ${reason}</li>`),
  );
  const versions = new Map(
    found.flatMap(({ comparison }) =>
      comparison.measured.map(({ name, description }) => [name, description]),
    ),
  );
  const here = html`<div><h2>Here</h2>
${table(
  [
    { title: 'network' },
    { title: 'who' },
    { title: 'parameters', number: true },
    { title: 'multiply-adds', number: true },
    { title: 'steps/s', number: true },
    { title: 'images/s', number: true },
  ],
  rows,
  { caption: `${how(settings)}. Trainable parameters with 1,000 classes.` },
)}
<h3>Xception beside Inception V3</h3>
${table(
  [{ title: 'who' }, { title: 'steps/s of Xception over those of Inception V3', number: true }],
  [['paper', (28 / 31).toFixed(3)], ...ratios],
)}
<ul class="note">${[...versions].map(([name, words]) => html`<li>${name}: ${words}</li>`)}${leftOut}</ul></div>`;
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
  const last = found.at(-1);
  const rows = found.map(({ segments, parameters, multiplyAdds, train, infer }) => [
    String(segments),
    whole(parameters),
    `${(multiplyAdds / 1e9).toFixed(2)} G`,
    train.imagesPerSecond.toFixed(1),
    infer.imagesPerSecond.toFixed(1),
    last === undefined ? '–' : (train.imagesPerSecond / last.train.imagesPerSecond).toFixed(2),
  ]);
  const chart = (title: string, pick: (row: SegmentSpeed) => number): Chart => ({
    title,
    detail: 'number of segments as its position in the table',
    xLabel: 'row',
    format: 'number',
    series: [{ label: title, color: 1, points: found.map((row, i) => [i + 1, pick(row)] as const) }],
  });
  const charts = [
    chart('Trainable parameters, millions', ({ parameters }) => parameters / 1e6),
    chart('Training, images/s', ({ train }) => train.imagesPerSecond),
  ];
  return experimentPage(
    paper.segments.title,
    at,
    html`<div class="beside uneven">${paperSide(paper.segments)}<div><h2>Here</h2>
<p>Xception with the spatial part of every separable convolution in so many segments; 1 is a regular convolution before each
pointwise one, as many as channels is the network of the paper. Both ends are exact (test/models/xceptionVariants.test.ts). A layer
whose channels the number does not divide takes the largest divisor below it.</p>
${table(
  [
    { title: 'segments' },
    { title: 'parameters', number: true },
    { title: 'multiply-adds', number: true },
    { title: 'training, images/s', number: true },
    { title: 'inference, images/s', number: true },
    { title: 'training, of the last row', number: true },
  ],
  rows,
  { caption: `${how(settings)}; 1,000 classes.` },
)}</div></div>
<h2>Curves</h2>
<div class="charts">${charts.map((each, i) => figure(`chart-${i}`, each))}</div>`,
  );
}
