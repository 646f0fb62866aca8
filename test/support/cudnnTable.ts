// The table of what cuDNN plans where: from rows of graphs to families by device and type.

import { type DescribedDevice, describedDevices, type PlanDType } from '../../lib/cudnn/index.ts';
import { dtypes, type SweepRow } from './cudnnSweep.ts';

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

/** `sm_90 (h100, h200)`: devices that share a compute capability plan alike; the table keeps them apart to show it. */
const smOf = (device: DescribedDevice): number => describedDevices[device].deviceVer / 10;

/** The name of a family in the table: fused ones by what they are fused around. */
function familyOf(row: SweepRow): string {
  const fused = / (sums|affine|mask|bias)/.test(row.family);
  if (row.depthwise) return `${row.family}, depthwise`;
  if (!fused) return row.family;
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

/** What became of a fused graph: a plan; engines of which none gave a plan; or, absent, no engine. */
export type Outcome = 'built' | 'listed';
/** By family, layer, device and type. */
export type FusedOutcomes = Record<
  string,
  Record<string, Partial<Record<DescribedDevice, Partial<Record<PlanDType, Outcome>>>>>
>;

export const outcomeOf = ({ engine, usable }: SweepRow): Outcome | undefined =>
  engine !== undefined ? 'built' : usable > 0 ? 'listed' : undefined;

/** The fused graphs that were tried, for the recorded expectation. Families without any are there, and empty. */
export function fusedOutcomes(rows: readonly SweepRow[]): FusedOutcomes {
  const outcomes: FusedOutcomes = {};
  for (const row of rows) {
    if (!row.tried || !/ (sums|affine|mask|bias)/.test(row.family)) continue;
    const byLayer = outcomes[row.family] ?? {};
    const byDevice = byLayer[row.layer] ?? {};
    const outcome = outcomeOf(row);
    byDevice[row.device] = { ...byDevice[row.device], ...(outcome && { [row.dtype]: outcome }) };
    byLayer[row.layer] = byDevice;
    outcomes[row.family] = byLayer;
  }
  return outcomes;
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

/** The table as Markdown. */
export function showTable(rows: readonly SweepRow[], version: string): string {
  const support = supportOf(rows);
  const devices = (Object.keys(describedDevices) as DescribedDevice[]).filter((device) =>
    rows.some((row) => row.device === device),
  );
  const heads = ['graph', ...devices.map((device) => `${device} (sm_${smOf(device)})`)];
  const section = (dtype: PlanDType): string => {
    const lines = Object.entries(support).map(([family, byDevice]) => [
      family,
      ...devices.map((device) => showSupport(byDevice[device]?.[dtype])),
    ]);
    return `## ${dtype}\n\n${pipeTable(heads, lines)}`;
  };
  const tried = rows.filter((row) => row.tried);
  const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
  const large = tried.filter(({ workspace = 0 }) => workspace > 64 * 2 ** 20);
  return `${[
    `# What cuDNN ${version} plans without a GPU`,
    `Written by \`npm run plan:all -- --write\`: ${rows.length} graphs of Xception and Inception V3 (batch 256, NHWC) on ` +
      `${devices.length} described GPUs; ${tried.length} of them built, ${rows.filter((row) => row.engine !== undefined).length} ` +
      `with success, in ${(seconds / 60).toFixed(0)} minutes of one process. A cell says for how many graphs of a family cuDNN ` +
      'has an engine that may be used; "built" where some of those that were tried gave no plan. f32 is true f32 without ' +
      `fusion, TF32 with it. Of the plans first in the lists, ${large.length} want more than 64 MiB of workspace.`,
    ...dtypes.map(section),
  ].join('\n\n')}\n`;
}
