// The phase `goals`: what this project wants to reach on one GPU, each goal beside what was measured, in one run of nine
// minutes. The other phases measure more around each of them.

import { closeDevices, openDevice } from '../../lib/backend/devices.ts';
import type { Comparison, Measured } from '../support/alternate.ts';
import type { Arch, Mode, Setting } from '../support/protocol.ts';
import { markdownTable } from '../support/results.ts';
import { isolated } from './instructions.ts';
import { trainingProgram, yardsticks } from './kernels.ts';
import type { Findings, Report } from './report.ts';
import { type CompareOptions, compare, comparisonFindings, expectedSeconds, threadsFor } from './speed.ts';

/** A network beside the faster of PyTorch eager and compiled, in bf16. */
interface SpeedGoal {
  readonly arch: Arch;
  readonly mode: Mode;
  /** Images per second over the peer's, at least. */
  readonly speed: number;
  /** Memory of the GPU over the same peer's, at most. */
  readonly memory?: number;
}

/** The most important first: what time is too short for is left out. */
const speedGoals: readonly SpeedGoal[] = [
  { arch: 'xception', mode: 'train', speed: 1.5, memory: 0.7 },
  { arch: 'xception', mode: 'infer', speed: 1.3 },
  { arch: 'inception_v3', mode: 'train', speed: 1.1 },
];

/** A goal beside what was measured. */
export interface Verdict {
  readonly goal: string;
  readonly wanted: string;
  readonly measured: string;
  /** undefined: not measured. */
  readonly reached?: boolean;
}

/** A ratio, and whether it is as wanted. */
type Finding = readonly [value: number, reached: boolean];

const ratio = (value: number): string => `${value.toFixed(2)} times`;

/** What a comparison says of a goal. `without`: why this project was not in it. */
export function judge(
  { arch, mode, speed, memory }: SpeedGoal,
  { setting, measured }: Comparison,
  without?: string,
): Verdict[] {
  const where = `${arch}, ${mode}, ${setting.precision}, batch ${setting.batch}`;
  const [first, others] = without === undefined ? [measured[0], measured.slice(1)] : [undefined, measured];
  const peer = others.toSorted((a, b) => a.ratio - b.ratio)[0];
  const verdict = (what: string, wanted: string, reaches: (first: Measured, peer: Measured) => Finding) => {
    const [goal, missing] = [`${where}: ${what}`, without ?? (peer === undefined ? 'no PyTorch here' : '')];
    if (first === undefined || peer === undefined)
      return { goal, wanted, measured: `not measured: ${missing}` };
    const [value, reached] = reaches(first, peer);
    return { goal, wanted, measured: `${ratio(value)} ${peer.name}`, reached };
  };
  return [
    verdict('images/s', `at least ${ratio(speed)} the faster PyTorch`, (_, { ratio: value }) => [
      value,
      value >= speed,
    ]),
    ...(memory === undefined
      ? []
      : [
          verdict('memory', `at most ${ratio(memory)} the faster PyTorch's`, (us, them) => {
            const value = us.peakBytes / them.peakBytes;
            return [value, value <= memory];
          }),
        ]),
  ];
}

const word = ({ reached }: Verdict): string => (reached === undefined ? '' : reached ? 'reached' : 'missed');

const said = (verdicts: readonly Verdict[]): string =>
  verdicts.map((it) => `${it.goal}: ${it.measured}, ${it.wanted} ${word(it)}`.trim()).join('; ');

/** All goals so far. A goal that was missed is no failure of the phase. */
export function overview(verdicts: readonly Verdict[]): Findings {
  const reached = verdicts.filter((it) => it.reached === true).length;
  return {
    summary: `${reached} of ${verdicts.length} goals reached`,
    markdown: markdownTable([
      ['goal', 'wanted', 'measured', ''],
      ...verdicts.map((it) => [it.goal, it.wanted, it.measured, word(it)]),
    ]),
    data: { goals: verdicts },
  };
}

/** What the phase takes. */
export interface GoalOptions extends CompareOptions {
  readonly device: string;
  readonly size: number;
  readonly warmup: number;
  /** Default: 256. */
  readonly batch?: readonly number[];
}

/** Runs the phase. */
export async function runGoals(options: GoalOptions, report: Report): Promise<void> {
  const { device, size, warmup } = options;
  const [batch = 256] = options.batch ?? [];
  const precision = 'bf16';
  const verdicts: Verdict[] = [];
  await report.part('depthwise convolutions of a training step', 30, async () => {
    const backend = openDevice(device);
    try {
      const found = { copy: Number.NaN };
      const { markdown } = await yardsticks(backend, found);
      const program = trainingProgram(backend, batch, size, precision);
      const seconds = Math.min(90, report.left - 15);
      const { depthwise, ...rest } = await isolated(
        backend,
        program,
        found.copy,
        seconds,
        report,
        'depthwise',
      );
      const { measured, fast } = depthwise;
      verdicts.push({
        goal: 'depthwise convolutions',
        wanted: 'each at least 85 % of the speed of a copy',
        measured:
          measured === 0 ? 'not measured: none is larger than the cache' : `${fast} of ${measured} are`,
        ...(measured === 0 ? {} : { reached: fast === measured }),
      });
      return { ...rest, markdown: `${markdown}\n\n${rest.markdown}` };
    } finally {
      closeDevices();
    }
  });
  for (const goal of speedGoals) {
    const { arch, mode } = goal;
    const setting: Setting = {
      arch,
      mode,
      batch,
      size,
      threads: threadsFor(device),
      warmup,
      device,
      precision,
    };
    await report.part(`${arch}, ${mode}`, options.peers.length === 0 ? 10 : expectedSeconds, async () => {
      const outcome = await compare(setting, options, report);
      const own = judge(goal, outcome.comparison, outcome.without);
      verdicts.push(...own);
      const { summary, ...rest } = comparisonFindings(outcome);
      return { ...rest, summary: `${said(own)}; ${summary}` };
    });
    // What the clock cuts off later leaves what is known by now.
    await report.part('goals so far', 0, async () => overview(verdicts));
  }
}
