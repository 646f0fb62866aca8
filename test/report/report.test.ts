// Reports: what is on a page, that it needs nothing from elsewhere, and what stands in the place of what is missing.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { expect } from 'chai';
import { CheckpointError, DataError } from '../../lib/core/errors.ts';
import { chartData, figure, type Point, smoothed, thinned } from '../../lib/report/chart.ts';
import { html, jsonScript, percent, table, whole } from '../../lib/report/html.ts';
import { runReport, writeRunReport } from '../../lib/report/report.ts';
import { bestEpoch, readRuns } from '../../lib/report/runs.ts';

/** What a browser would ask a network for. */
const requests = (page: string): string[] => {
  const scriptless = page.replace(/<script>[\s\S]*?<\/script>/g, '');
  const found = [...scriptless.matchAll(/(?:src|href|srcset|poster|data)\s*=\s*"([^"]*)"|url\(([^)]*)\)/g)];
  return found.map((match) => (match[1] ?? match[2]) as string).filter((url) => !url.startsWith('data:'));
};

const scripts = (page: string): string[] =>
  [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((match) => match[1] as string);

const charts = (page: string) =>
  [...page.matchAll(/<script type="application\/json" id="([^"]*)">(.*?)<\/script>/g)].map(
    (match) => JSON.parse(match[2] as string) as ReturnType<typeof chartData>,
  );

describe('html', () => {
  it('escapes what is put in, but not HTML', () => {
    const name = '<b>&"\'';
    expect(String(html`<p title="${name}">${[name, html`<i>${1}</i>`, undefined]}</p>`)).to.equal(
      '<p title="&lt;b&gt;&amp;&quot;&#39;">&lt;b&gt;&amp;&quot;&#39;<i>1</i></p>',
    );
  });

  it('lets no text end a script of data', () => {
    const text = String(jsonScript('x', { name: '</script><script>alert(1)' }));
    expect(text.match(/<\/script>/g)).to.have.length(1);
    expect(JSON.parse(text.replace(/<[^>]*>/g, ''))).to.deep.equal({ name: '</script><script>alert(1)' });
  });

  it('writes numbers as people read them', () => {
    expect([percent(0.6544), percent(undefined), percent(Number.NaN), percent(1, 0)]).to.deep.equal([
      '65.4 %',
      '–',
      '–',
      '100 %',
    ]);
    expect(whole(22_855_952)).to.equal('22,855,952');
  });

  it('makes tables with heads and sides', () => {
    const text = String(table([{ title: 'a' }, { title: 'b', number: true }], [['x', 1]]));
    expect(text).to.include('<th scope="row">x</th><td class="n">1</td>');
  });
});

describe('charts', () => {
  const series = (label: string, points: readonly Point[]) => ({ label, points, color: 1 });

  it('bring series to common places, with gaps', () => {
    const chart = {
      title: 't',
      xLabel: 'x',
      format: 'number' as const,
      series: [
        series('a', [
          [2, 20],
          [1, 10],
        ]),
        series('b', [
          [1.5, Number.NaN],
          [3, 1 / 3],
        ]),
      ],
    };
    expect(chartData(chart).data).to.deep.equal([
      [1, 1.5, 2, 3],
      [10, null, 20, null],
      [null, null, null, 0.333333],
    ]);
    expect(String(figure('id', chart))).to.include('aria-label="t: a, b"');
  });

  it('put a band around a series', () => {
    const points: Point[] = [
      [0, 1],
      [1, 2],
    ];
    const band = { low: [0.5, 1.5], high: [1.5, 2.5] };
    const {
      series: all,
      bands,
      data,
    } = chartData({
      title: 't',
      xLabel: 'x',
      format: 'number',
      series: [{ ...series('a', points), band }],
    });
    expect(all.map(({ line }) => line)).to.deep.equal(['edge', 'edge', 'solid']);
    expect(bands).to.deep.equal([[1, 2]]);
    expect(data).to.deep.equal([
      [0, 1],
      [1.5, 2.5],
      [0.5, 1.5],
      [1, 2],
    ]);
  });

  it('smooth without hanging on the first point, and not at all over one', () => {
    const points: Point[] = [
      [0, 4],
      [1, 8],
      [2, null],
      [3, 8],
    ];
    expect(smoothed(points, 1)).to.deep.equal(points);
    const [first, second, gap, last] = smoothed(points, 2).map(([, y]) => y);
    expect([first, gap]).to.deep.equal([4, null]);
    expect(second).to.be.closeTo((4 * 0.25 + 8 * 0.5) / 0.75, 1e-12);
    expect(last).to.be.within(second as number, 8);
  });

  it('thin long series to means', () => {
    const points = Array.from({ length: 100 }, (_, i): Point => [i, i]);
    expect(thinned(points, 100)).to.deep.equal(points);
    const thin = thinned(points, 10);
    expect(thin).to.have.length(10);
    expect(thin[0]).to.deep.equal([9, 4.5]);
    expect(thin[9]).to.deep.equal([99, 94.5]);
  });
});

describe('reports of runs', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-report-'));
    for (const [name, top1] of [
      ['a/run', 0.7],
      ['b/run', 0.4],
    ] as const) {
      const run = join(folder, name);
      mkdirSync(run, { recursive: true });
      const config = {
        command: { data: join(folder, 'no-such-data'), lr: 0.01, schedule: 'constant' },
        ...{ arch: 'xception', classes: 3, size: 96, images: 40, batchSize: 10, optimizer: { name: 'sgd' } },
        seed: top1 === 0.7 ? 0 : 1,
      };
      writeFileSync(join(run, 'config.json'), JSON.stringify(config));
      const scores = (value: number) => ({ top1: value, top5: 0.9, loss: 1 - value });
      const lines = [
        { step: 2, loss: 1.5, lr: 0.01 },
        { step: 4, loss: 1.2, lr: 0.01 },
        {
          epoch: 1,
          train: { loss: 1.4, top1: 0.3 },
          validation: scores(top1 / 2),
          validation_average: scores(top1),
          images_per_second: 20,
          data_wait: 0,
        },
        {
          epoch: 2,
          train: { loss: 1, top1: 0.5 },
          validation: scores(top1),
          validation_average: scores(top1 / 2),
          images_per_second: 30,
          data_wait: 0,
        },
      ];
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      writeFileSync(join(run, 'metrics.jsonl'), `${text}{"step":6,"lo`);
    }
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('need nothing from elsewhere, and their scripts are whole', async () => {
    const page = await runReport([join(folder, 'a/run'), join(folder, 'b/run')]);
    expect(requests(page)).to.deep.equal([]);
    expect(page).to.include('The MIT License');
    expect(page).to.include('default-src &#39;none&#39;');
    expect(scripts(page)).to.have.length(2);
    for (const script of scripts(page)) expect(() => new Script(script)).not.to.throw();
    expect(page.length).to.be.below(100_000);
    expect(await runReport([join(folder, 'a/run'), join(folder, 'b/run')])).to.equal(page);
  });

  it('tell runs apart by as much of their paths as that needs', async () => {
    const names = async (...runs: string[]) =>
      (await readRuns(runs.map((run) => join(folder, run)))).map(({ name }) => name);
    expect(await names('a/run')).to.deep.equal(['run']);
    expect(await names('a/run', 'b/run')).to.deep.equal(['a/run', 'b/run']);
  });

  it('count the Polyak average, and take the best epoch by it', async () => {
    const [run] = await readRuns([join(folder, 'a/run')]);
    expect(run?.steps).to.have.length(2); // the line that was cut off is not one
    expect(bestEpoch(run ?? { epochs: [] })?.epoch).to.equal(1);
    const page = await runReport([join(folder, 'a/run')]);
    expect(page).to.match(/<dt>Top-1<\/dt><dd>35\.0 %/);
    expect(page).to.match(/<dt>Best<\/dt><dd>70\.0 %/);
    expect(page).to.match(/<dd>30\.0 <small>images\/s/);
  });

  it('draw curves of epochs and steps on one axis', async () => {
    const found = charts(await runReport([join(folder, 'a/run'), join(folder, 'b/run')]));
    expect(found.map(({ xLabel }) => xLabel)).to.deep.equal(['epoch', 'epoch', 'epoch', 'epoch']);
    expect(found[2]?.data[0]).to.deep.equal([0.5, 1]); // steps 2 and 4 of 4 to an epoch
    expect(found[0]?.series.map(({ label }) => label)).to.include('a/run, validation, Polyak average');
  });

  it('set off what differs between runs', async () => {
    const page = await runReport([join(folder, 'a/run'), join(folder, 'b/run')]);
    expect(page).to.match(/<th scope="row">seed<\/th><td><strong>0<\/strong><\/td><td><strong>1/);
    expect(page).to.match(/<th scope="row">network<\/th><td>xception<\/td>/);
  });

  it('say why there is no confusion matrix', async () => {
    const notices: string[] = [];
    const page = await runReport([join(folder, 'a/run')], { onNotice: (line) => notices.push(line) });
    expect(notices.join()).to.include('the validation images are not at');
    expect(page).to.include('Without confusion matrix and mistakes');
    const other = await runReport([join(folder, 'a/run')], { evaluate: false });
    expect(other).not.to.include('Without confusion matrix');
  });

  it('refuse what is no run, and damaged records', async () => {
    const none = await runReport([folder]).catch((error: unknown) => error);
    expect(none).to.be.instanceOf(CheckpointError).with.property('code', 'NO_RUN');
    const damaged = join(folder, 'damaged');
    mkdirSync(damaged);
    writeFileSync(join(damaged, 'config.json'), '{}');
    writeFileSync(join(damaged, 'metrics.jsonl'), 'nonsense\n{"step":1,"loss":1,"lr":1}\n');
    const error = await runReport([damaged]).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(DataError).with.property('message').that.includes('line 1');
  });

  it('are written whole', async () => {
    const file = join(folder, 'page.html');
    const bytes = await writeRunReport(file, [join(folder, 'a/run')], { evaluate: false });
    expect(bytes).to.be.above(50_000);
    const missing = await writeRunReport(join(folder, 'none/page.html'), [join(folder, 'a/run')], {
      evaluate: false,
    }).catch((error: unknown) => error);
    expect(missing).to.be.instanceOf(CheckpointError);
  });
});
