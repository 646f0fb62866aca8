// The README's speed, from bench/results: the table between its marks, and the picture docs/speed.svg.
//
//   node --import tsx scripts/readme-speed.ts          writes both
//
// A test holds both to what this makes.

import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

const root = resolve(import.meta.dirname, '..');
const marks = ['<!-- speed: made by scripts/readme-speed.ts -->', '<!-- end of speed -->'] as const;

/** What of a kept measurement is shown. */
interface Measured {
  readonly name: string;
  readonly imagesPerSecond: { readonly median: number };
  /** Speed of depthwise over this one's, median over the rounds. */
  readonly ratio: number;
  readonly peakBytes: number;
}
interface Comparison {
  readonly setting: {
    readonly arch: string;
    readonly mode: string;
    readonly batch: number;
    readonly size: number;
  };
  readonly measured: readonly Measured[];
}

const kept = ['peers-299px', 'peers-299px-batch32', 'peers-96px', 'peers-299px-infer'];
const names: Readonly<Record<string, string>> = {
  depthwise: 'depthwise',
  keras: 'Keras',
  'torch-compiled': 'PyTorch, compiled',
  'torch-eager': 'PyTorch, eager',
  onnxruntime: 'ONNX Runtime',
};

const comparisons = (): Comparison[] =>
  kept.flatMap((name) => {
    const file = join(root, 'bench/results', `${name}.json`);
    return (JSON.parse(readFileSync(file, 'utf8')) as { comparisons: Comparison[] }).comparisons;
  });

const settingOf = ({ setting: { mode, size, batch } }: Comparison): string =>
  `${mode === 'train' ? 'training' : 'inference'}, ${size} pixels, batch ${batch}`;

/** Three digits. */
const rate = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

/** The table in Markdown. */
export function speedTable(): string {
  const rows = comparisons().map((comparison) => {
    const [own, ...others] = comparison.measured as [Measured, ...Measured[]];
    const fastest = others.reduce((best, other) => (other.ratio < best.ratio ? other : best));
    const theirs = others.map(
      ({ name, imagesPerSecond }) => `${names[name]} ${rate(imagesPerSecond.median)}`,
    );
    const memory = (own.peakBytes / fastest.peakBytes).toFixed(2);
    return [
      settingOf(comparison),
      rate(own.imagesPerSecond.median),
      theirs.join(' · '),
      `${fastest.ratio.toFixed(2)} (${names[fastest.name]})`,
      memory,
    ];
  });
  const head = ['Xception, fp32', 'images/s', 'others', 'ratio to the fastest other', 'peak memory over its'];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** The picture as SVG: bars of the trainings. */
export async function speedPicture(): Promise<string> {
  const values = comparisons()
    .filter(({ setting }) => setting.mode === 'train')
    .flatMap((comparison) =>
      comparison.measured.map(({ name, imagesPerSecond }) => ({
        setting: settingOf(comparison).replace('training, ', ''),
        library: names[name],
        speed: imagesPerSecond.median,
        text: rate(imagesPerSecond.median),
      })),
    );
  const libraries = [...new Set(values.map(({ library }) => library))];
  const settings = [...new Set(values.map(({ setting }) => setting))];
  const bars = {
    mark: { type: 'bar', cornerRadiusEnd: 2 },
    encoding: {
      y: {
        field: 'library',
        type: 'nominal',
        sort: libraries,
        title: null,
        axis: { ticks: false, domain: false },
      },
      x: { field: 'speed', type: 'quantitative', title: 'images/s', axis: { grid: false, tickCount: 4 } },
      color: {
        field: 'library',
        type: 'nominal',
        scale: { domain: libraries, range: ['#3b5bdb', '#b8bfc9', '#b8bfc9', '#b8bfc9'] },
        legend: null,
      },
    },
  } as const;
  const spec = {
    background: 'white',
    padding: 8,
    config: { font: 'sans-serif', view: { stroke: null }, title: { fontSize: 12, anchor: 'start' } },
    hconcat: settings.map((setting, i) => ({
      title: setting,
      width: 170,
      height: 84,
      transform: [{ filter: { field: 'setting', equal: setting } }],
      layer: [
        {
          ...bars,
          encoding: {
            ...bars.encoding,
            y: { ...bars.encoding.y, axis: i === 0 ? bars.encoding.y.axis : null },
          },
        },
        {
          mark: { type: 'text', align: 'left', dx: 4, fontSize: 11 },
          encoding: {
            y: { ...bars.encoding.y, axis: i === 0 ? bars.encoding.y.axis : null },
            x: { field: 'speed', type: 'quantitative' },
            text: { field: 'text', type: 'nominal' },
          },
        },
      ],
    })),
    data: { values },
  } satisfies TopLevelSpec;
  return `${await new View(parse(compile(spec as TopLevelSpec).spec), { renderer: 'none' }).toSVG()}\n`;
}

/** The README with the table in its place. */
export function withSpeedTable(readme: string): string {
  const [from, to] = marks.map((mark) => readme.indexOf(mark)) as [number, number];
  if (from < 0 || to < from) throw new Error(`README.md: expected the marks ${marks.join(' and ')}`);
  return `${readme.slice(0, from + marks[0].length)}\n${speedTable()}\n${readme.slice(to)}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const readme = join(root, 'README.md');
  writeFileSync(readme, withSpeedTable(readFileSync(readme, 'utf8')));
  writeFileSync(join(root, 'docs/speed.svg'), await speedPicture());
}
