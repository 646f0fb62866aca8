// The table of what TypeScript costs, each figure beside its bar where it has one.

import { table } from '../../lib/cli/output.ts';
import type { CompileTime, EagerTime, StepTime } from './overhead.ts';
import { markdownTable, type Rows } from './results.ts';

/** What was measured. */
export interface Overhead {
  /** By what was run: the package as it is built, or the sources through a loader. */
  readonly eager: Readonly<Record<'package' | 'sources', readonly EagerTime[]>>;
  readonly compile: CompileTime;
  readonly step: StepTime;
}

/** Upper bounds, in the units of the table. */
const bars = { script: 0.2, eager: 10, compile: 2000 };

/** One row per figure, under a head. A bar that is exceeded is said. */
export function overheadRows({ eager, compile, step }: Overhead): Rows {
  const row = (what: string, value: number, unit: string, bar?: number) => [
    what,
    value < 100 ? value.toFixed(3) : value.toFixed(0),
    unit,
    bar === undefined ? '' : `${value < bar ? 'under' : 'EXCEEDS'} ${bar}`,
  ];
  return [
    ['what', 'time', 'unit', 'bar'],
    row('compiled step: JavaScript', step.script.median, 'ms', bars.script),
    row('compiled step: calls of native code', step.native.median, 'ms'),
    row('compiled step: processor time of the thread', step.processor, 'ms'),
    row('compiled step: whole', step.step.median, 'ms'),
    ...(['package', 'sources'] as const).flatMap((of) =>
      eager[of].flatMap(({ op, queue, whole, processor }) => [
        row(`eager ${op}, ${of}: queue`, queue, 'µs', bars.eager),
        row(`eager ${op}, ${of}: queue and dispose`, whole, 'µs'),
        row(`eager ${op}, ${of}: processor time of the thread`, processor, 'µs'),
      ]),
    ),
    row('compile: trace', compile.trace, 'ms'),
    row('compile: passes', compile.passes, 'ms'),
    row('compile: memory plan', compile.plan, 'ms'),
    row('compile: check', compile.check, 'ms'),
    row('compile: native', compile.native, 'ms'),
    row('compile: in all', compile.total, 'ms', bars.compile),
    row('first run: longer than later ones by', compile.firstRun, 'ms'),
  ];
}

const programLine = ({ instructions, arenaBytes }: CompileTime): string =>
  `The program: ${instructions} instructions, arena ${(arenaBytes / 1e6).toFixed(0)} MB.`;

/** For a terminal. */
export const overheadText = (found: Overhead): string =>
  [table(overheadRows(found)), programLine(found.compile)].join('\n');

/** For bench/results. */
export const overheadMarkdown = (found: Overhead): string =>
  [
    'Medians; processor times are means. JavaScript of a step: time in `TrainingStep.run` less that of its ' +
      'calls to the backend.',
    markdownTable(overheadRows(found), [false, true]),
    programLine(found.compile),
  ].join('\n\n');
