// The table of what cuDNN plans where: from rows of graphs to families by device and type.

import { type DescribedDevice, describedDevices, type PlanDType } from '../../lib/cudnn/index.ts';
import { batches, dtypes, isRepresentative, type SweepRow } from './cudnnSweep.ts';

export type { SweepRow };

/** Rows as they are kept, one a line; a line that was cut off is left out. */
export function readRows(text: string): SweepRow[] {
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as SweepRow];
    } catch {
      return [];
    }
  });
}

const isStrided = ({ layer }: SweepRow): boolean => /\/\d/.test(layer);
const isFusedRow = ({ family }: SweepRow): boolean => / (sums|affine|mask|bias)/.test(family);

/** `sm_90 (h100, h200)`: devices that share a compute capability plan alike; the table keeps them apart to show it. */
const smOf = (device: DescribedDevice): number => describedDevices[device].deviceVer / 10;

/** The name of a family in the table: fused ones by what they are fused around. */
function familyOf(row: SweepRow): string {
  if (row.depthwise) return `${row.family}, depthwise`;
  if (!isFusedRow(row)) return row.family;
  return `${row.family}${isStrided(row) ? ', strided' : ''}`;
}

/** How many graphs of a family there are on a device, and how many have an engine, or a plan where one was tried. */
export interface Support {
  graphs: number;
  /** Graphs for which some engine may be used. */
  listed: number;
  tried: number;
  built: number;
}

/** Support by family, device and type. */
export type SupportTable = Record<string, Record<string, Partial<Record<PlanDType, Support>>>>;

export function supportOf(rows: readonly SweepRow[]): SupportTable {
  const table: SupportTable = {};
  for (const row of rows) {
    const family = familyOf(row);
    const byDevice = table[family] ?? {};
    const byType = byDevice[row.device] ?? {};
    const support = byType[row.dtype] ?? { graphs: 0, listed: 0, tried: 0, built: 0 };
    support.graphs += 1;
    if (row.usable > 0) support.listed += 1;
    if (row.tried) support.tried += 1;
    if (row.engine !== undefined) support.built += 1;
    byType[row.dtype] = support;
    byDevice[row.device] = byType;
    table[family] = byDevice;
  }
  return table;
}

/** What became of a fused graph: a plan; engines, of which none was tried or none gave a plan; or, absent, no engine. */
export type Outcome = 'built' | 'listed';
/** By family, layer, device and type. */
export type FusedOutcomes = Record<
  string,
  Record<string, Partial<Record<DescribedDevice, Partial<Record<PlanDType, Outcome>>>>>
>;

export const outcomeOf = ({ engine, usable }: SweepRow): Outcome | undefined =>
  engine !== undefined ? 'built' : usable > 0 ? 'listed' : undefined;

/** The name of a layer among recorded expectations. */
export const titleOf = ({ layer, batch }: Pick<SweepRow, 'layer' | 'batch'>): string =>
  batch === 1 ? `${layer}, batch 1` : layer;

/** The fused graphs of layers that stand for their family, for the recorded expectation. */
export function fusedOutcomes(rows: readonly SweepRow[]): FusedOutcomes {
  const outcomes: FusedOutcomes = {};
  for (const row of rows) {
    if (!isRepresentative(row) || !isFusedRow(row)) continue;
    const byLayer = outcomes[row.family] ?? {};
    const byDevice = byLayer[titleOf(row)] ?? {};
    const outcome = outcomeOf(row);
    byDevice[row.device] = { ...byDevice[row.device], ...(outcome && { [row.dtype]: outcome }) };
    byLayer[titleOf(row)] = byDevice;
    outcomes[row.family] = byLayer;
  }
  return outcomes;
}

/** For how many fused graphs cuDNN has an engine that may be used: by family as in the table, device and type. */
export type FusedCounts = Record<
  string,
  Partial<Record<DescribedDevice, Partial<Record<PlanDType, number>>>>
>;

/** Counts of the fused graphs among the rows, which are those of one batch; families with none are there, with 0. */
export function fusedCounts(rows: readonly SweepRow[]): FusedCounts {
  const counts: FusedCounts = {};
  for (const [family, byDevice] of Object.entries(supportOf(rows.filter(isFusedRow)))) {
    counts[family] = Object.fromEntries(
      Object.entries(byDevice).map(([device, byType]) => [
        device,
        Object.fromEntries(Object.entries(byType).map(([dtype, { listed }]) => [dtype, listed])),
      ]),
    );
  }
  return counts;
}

/** `59/59`, or `3/59 (0/1 built)` where plans that were tried failed. */
function showSupport(support: Support | undefined): string {
  if (support === undefined) return '';
  const { graphs, listed, tried, built } = support;
  const failed = tried > built && built < listed;
  return `${listed}/${graphs}${failed ? ` (built ${built}/${tried})` : ''}`;
}

function pipeTable(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;
  return row(heads) + row(heads.map(() => '---')) + lines.map(row).join('');
}

/** `120 graphs listed, 80 built, 79 of these with success` */
function countOf(rows: readonly SweepRow[]): string {
  const tried = rows.filter((row) => row.tried);
  const built = tried.filter((row) => row.engine !== undefined);
  return `${rows.length} graphs listed, ${tried.length} built, ${built.length} of these with success`;
}

/** The table as Markdown. */
export function showTable(rows: readonly SweepRow[], version: string): string {
  const devices = (Object.keys(describedDevices) as DescribedDevice[]).filter((device) =>
    rows.some((row) => row.device === device),
  );
  const heads = ['graph', ...devices.map((device) => `${device} (sm_${smOf(device)})`)];
  const sections = batches.flatMap((batch) => {
    const support = supportOf(rows.filter((row) => row.batch === batch));
    return dtypes.map((dtype) => {
      const lines = Object.entries(support).map(([family, byDevice]) => [
        family,
        ...devices.map((device) => showSupport(byDevice[device]?.[dtype])),
      ]);
      return `## ${dtype}, batch ${batch}\n\n${pipeTable(heads, lines)}`;
    });
  });
  const ofDevices = devices.map((device) => {
    const own = rows.filter((row) => row.device === device);
    const engines = own.reduce((sum, { engines }) => sum + engines, 0);
    const seconds = own.reduce((sum, row) => sum + row.seconds, 0);
    return [device, countOf(own), `${engines}`, `${seconds.toFixed(0)} s`];
  });
  const large = rows.filter(({ workspace = 0 }) => workspace > 64 * 2 ** 20);
  return `${[
    `# What cuDNN ${version} plans without a GPU`,
    `Written by \`npm run plan:all -- --write\`: every graph of Xception and Inception V3 (NHWC, 299 pixels) on ` +
      `${devices.length} described GPUs: ${countOf(rows)}. A cell says for how many graphs of a family cuDNN has an ` +
      'engine that may be used; "built" where some of those that were tried gave no plan. Plans are built of unfused ' +
      'convolutions, and of layers that stand for their family where engines are compiled, which takes seconds. ' +
      'f32 is true f32 without fusion, TF32 with it. ' +
      `Of the plans first in the lists, ${large.length} want more than 64 MiB of workspace.`,
    pipeTable(['device', 'graphs', 'engines proposed', 'time'], ofDevices).trimEnd(),
    ...sections,
  ].join('\n\n')}\n`;
}
