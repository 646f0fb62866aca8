// The phases `train`, `infer` and `inception`: networks beside PyTorch eager and compiled, which take turns in one run. The
// phase `goals` compares by it too.

import { availableParallelism } from 'node:os';
import { alternate, type Comparison, type Rounds } from '../support/alternate.ts';
import { type Contender, ours, peers, takes } from '../support/contenders.ts';
import { comparisonMarkdown, conclusions } from '../support/peersReport.ts';
import type { Arch, BenchPrecision, Mode, Setting } from '../support/protocol.ts';
import { lastWords, runCommand } from './programs.ts';
import type { Findings, Report } from './report.ts';

/** What the phases take. */
export interface SpeedOptions extends Omit<Rounds, 'steps'> {
  /** Counted in a turn. Default: by the batch. */
  readonly steps?: number;
  readonly arch: Arch;
  readonly mode: Mode;
  readonly device: string;
  readonly size: number;
  readonly warmup: number;
  /** Default: {@link settings}. */
  readonly batch?: readonly number[];
  readonly precision?: readonly BenchPrecision[];
  readonly peers: readonly string[];
}

/** Seconds that a comparison takes: PyTorch compiles for most of them. */
export const expectedSeconds = 100;
/** Cores that feed a GPU, where nothing of the network is computed; all of them on a CPU. */
export const threadsFor = (device: string): number => (device === 'cpu' ? availableParallelism() : 8);

/** What is measured, the most important first: what time is too short for is left out. */
const settings: Readonly<Record<Mode, readonly (readonly [precision: BenchPrecision, batch: number])[]>> = {
  train: [
    ['bf16', 256],
    ['fp32', 128],
    ['bf16', 64],
    ['fp32', 32],
    ['fp16', 256],
  ],
  infer: [
    ['bf16', 256],
    ['fp32', 256],
    ['bf16', 1],
    ['bf16', 32],
    ['fp32', 1],
    ['fp16', 256],
  ],
};

/** Steps so that a turn is long enough to be measured, however small the batch. */
const stepsFor = (batch: number): number => Math.min(200, Math.max(10, Math.ceil(2560 / batch)));

/** What was compared, and why this project is not in it. */
export interface Outcome {
  readonly comparison: Comparison;
  readonly without?: string;
}

/** A comparison for people. */
export function comparisonFindings({ comparison, without }: Outcome): Findings {
  const lines = conclusions([comparison]);
  const missing = without === undefined ? [] : [`depthwise was not measured: ${without}`];
  return {
    summary: [...missing, lines[0] ?? 'measured alone'].join('; '),
    markdown: comparisonMarkdown([comparison]),
    data: { comparison },
    wrong: without !== undefined,
  };
}

/** What {@link compare} takes of the options. */
export type CompareOptions = Pick<SpeedOptions, 'peers' | 'rounds' | 'settle' | 'steps'>;

/** Compares on one setting. Where this project fails, its peers are measured all the same, and it is said. */
export async function compare(setting: Setting, options: CompareOptions, report: Report): Promise<Outcome> {
  const others: readonly Contender[] = peers.filter(
    (peer) => options.peers.includes(peer.name) && takes(peer, setting),
  );
  const { rounds, settle } = options;
  const length = { rounds, settle, steps: options.steps ?? stepsFor(setting.batch) };
  const say = (line: string) => report.say(line);
  try {
    return { comparison: await alternate([ours, ...others], setting, length, say) };
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' | ');
    report.say(`depthwise: ${reason}`);
    if (others.length === 0) throw error;
    return { comparison: await alternate(others, setting, length, say), without: reason };
  }
}

/** The same by the command line, alone: what a user sees. */
async function byCommand(setting: Setting): Promise<Findings> {
  const { arch, mode, batch, size, device, precision, warmup } = setting;
  const words = [
    'bench',
    '--arch',
    arch,
    '--mode',
    mode,
    '--precision',
    precision,
    '--batch',
    batch,
    '--size',
    size,
  ];
  const more = ['--steps', 20, '--warmup', warmup, '--device', device, '--json'];
  const found = await runCommand([...words, ...more].map(String), 120);
  if (found.code !== 0) throw new Error(lastWords(found));
  const result = JSON.parse(found.stdout) as { readonly images_per_second: number };
  return {
    summary: `${result.images_per_second.toFixed(1)} images/s`,
    markdown: `\`depthwise ${words.join(' ')}\`\n\n\`\`\`json\n${found.stdout.trim()}\n\`\`\``,
    data: { result },
  };
}

/** Runs the phase. */
export async function runSpeed(options: SpeedOptions, report: Report): Promise<void> {
  const { arch, mode, device, size, warmup } = options;
  const chosen =
    options.batch === undefined && options.precision === undefined
      ? settings[mode].slice(0, arch === 'xception' ? undefined : 2)
      : (options.precision ?? ['fp32' as const]).flatMap((precision) =>
          (options.batch ?? [256]).map((batch) => [precision, batch] as const),
        );
  const first = chosen[0];
  for (const [precision, batch] of chosen) {
    const threads = threadsFor(device);
    const setting: Setting = { arch, mode, batch, size, threads, warmup, device, precision };
    const seconds = options.peers.length === 0 ? 10 : expectedSeconds;
    await report.part(`${arch}, ${mode}, ${precision}, batch ${batch}`, seconds, async () =>
      comparisonFindings(await compare(setting, options, report)),
    );
    // No command knows the simulation.
    if (precision !== first?.[0] || batch !== first[1] || device.startsWith('cudasim')) continue;
    await report.part(`depthwise bench, ${arch}, ${mode}, ${precision}, batch ${batch}`, 30, () =>
      byCommand(setting),
    );
  }
}
