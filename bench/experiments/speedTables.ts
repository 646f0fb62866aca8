// Cells of the tables about speed, for pages and for Markdown alike: table 3, and the continuum of segments.

import { whole } from '../../lib/report/parts.ts';
import { ours } from '../support/contenders.ts';
import type { Spread } from '../support/statistics.ts';
import type { ModeSpeed, NetworkSpeed, SegmentSpeed, SpeedSettings } from './speed.ts';

const titles = { xception: 'Xception', inception_v3: 'Inception V3' } as const;

/** What the paper's table 3 has for each network. */
const paperRows = {
  inception_v3: { parameters: 23_626_728, stepsPerSecond: 31 },
  xception: { parameters: 22_855_952, stepsPerSecond: 28 },
} as const;

/** How speed was measured, in words. */
export const how = ({ size, batch, device, precision, threads, rounds, steps }: SpeedSettings): string => {
  const by = threads === undefined ? '' : `, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  return `${batch} images a step, ${size} pixels, ${precision} on ${device}${by}, ${rounds} turns of ${steps} steps`;
};

const fromTo = ({ min, max }: Spread, digits: number): string =>
  `${min.toFixed(digits)} to ${max.toFixed(digits)}`;

/** Of {@link table3Cells}. */
export const table3Columns = [
  { title: 'network' },
  { title: 'who' },
  { title: 'parameters', number: true },
  { title: 'multiply-adds', number: true },
  { title: 'steps/s', number: true },
  { title: 'images/s', number: true },
  { title: 'least to largest', number: true },
] as const;

/** Rows of table 3, the paper's, ours and the peers'; and how the two networks' speeds compare for each of them. */
export function table3Cells(
  settings: SpeedSettings,
  found: readonly NetworkSpeed[],
): { readonly rows: string[][]; readonly ratios: string[][] } {
  const rows = found.flatMap(({ arch, parameters, multiplyAdds, comparison }) => {
    const { parameters: printed, stepsPerSecond } = paperRows[arch];
    return [
      [titles[arch], 'paper, 60 K80', whole(printed), '–', String(stepsPerSecond), '–', '–'],
      ...comparison.measured.map(({ name, parameters: told, imagesPerSecond }) => [
        titles[arch],
        name,
        whole(name === ours.name ? parameters : told),
        name === ours.name ? `${(multiplyAdds / 1e9).toFixed(2)} G` : '–',
        (imagesPerSecond.median / settings.batch).toFixed(3),
        imagesPerSecond.median.toFixed(2),
        fromTo(imagesPerSecond, 2),
      ]),
    ];
  });
  const speedOf = (arch: NetworkSpeed['arch'], who: string) =>
    found.find((each) => each.arch === arch)?.comparison.measured.find(({ name }) => name === who)
      ?.imagesPerSecond.median;
  const names = [...new Set(found.flatMap(({ comparison }) => comparison.measured.map(({ name }) => name)))];
  const { xception: ofXception, inception_v3: ofInception } = paperRows;
  const ratios = [
    ['paper', (ofXception.stepsPerSecond / ofInception.stepsPerSecond).toFixed(2)],
    ...names.flatMap((name) => {
      const [xception, inception] = [speedOf('xception', name), speedOf('inception_v3', name)];
      if (xception === undefined || inception === undefined) return [];
      return [[name, (xception / inception).toFixed(2)]];
    }),
  ];
  return { rows, ratios };
}

/** Who was measured, in which version; and who was not, and why. */
export function versionsOf(found: readonly NetworkSpeed[]): string[] {
  const versions = new Map(
    found.flatMap(({ comparison }) =>
      comparison.measured.map(({ name, description }) => [name, description]),
    ),
  );
  const leftOut = found.flatMap(({ arch, comparison }) =>
    comparison.leftOut.map(({ name, reason }) => `${titles[arch]} without ${name}: ${reason}`),
  );
  return [...[...versions].map(([name, words]) => `${name}: ${words}`), ...leftOut];
}

/** Of {@link segmentCells}. */
export const segmentColumns = [
  { title: 'segments' },
  { title: 'parameters', number: true },
  { title: 'multiply-adds', number: true },
  { title: 'training, images/s', number: true },
  { title: 'share of the plain network', number: true },
  { title: 'inference, images/s', number: true },
  { title: 'share of the plain network', number: true },
] as const;

const modeCells = ({ imagesPerSecond, relative }: ModeSpeed): string[] => [
  imagesPerSecond.median.toFixed(2),
  `${relative.median.toFixed(2)} (${fromTo(relative, 2)})`,
];

/** A row of the continuum. */
export const segmentCells = ({
  segments,
  parameters,
  multiplyAdds,
  train,
  infer,
}: SegmentSpeed): string[] => [
  String(segments),
  whole(parameters),
  `${(multiplyAdds / 1e9).toFixed(2)} G`,
  ...modeCells(train),
  ...modeCells(infer),
];
