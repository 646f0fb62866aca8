// Where the time of a step goes: each instruction within its program, and each distinct one by itself.

import type { Backend } from '../../lib/backend/backend.ts';
import { type Aval, byteLength, showAval } from '../../lib/core/aval.ts';
import { type Instruction, type Program, programOfOne } from '../../lib/core/program.ts';
import type { ConvAttributes } from '../../lib/ops/conv2d.ts';
import { multiplyAddsOf } from '../../lib/ops/cost.ts';
import { byOp, type InstructionTime, profileProgram } from '../../lib/train/profile.ts';
import { markdownTable } from '../support/results.ts';
import type { Findings, Report } from './report.ts';
import { timeProgram } from './yardsticks.ts';

/** A distinct instruction of a step, measured by itself. */
interface Isolated {
  readonly op: string;
  readonly shapes: string;
  /** How often it comes in a step. */
  readonly calls: number;
  readonly milliseconds: number;
  readonly bytes: number;
  readonly multiplyAdds: number;
  readonly depthwise: boolean;
}

/** Smaller operands may stay in the device's cache from one run to the next: their bandwidth is not that of memory. */
const cachedBytes = 128 * 2 ** 20;

/** What a depthwise kernel is to reach of the speed of a copy. */
const depthwiseShare = 0.85;

const avalsOf = (program: Program, ids: readonly number[]): Aval[] =>
  ids.map((id) => program.values[id] as Aval);

const showShapes = (program: Program, { inputs, outputs }: Instruction): string =>
  `${avalsOf(program, inputs).map(showAval).join(' ')} -> ${avalsOf(program, outputs).map(showAval).join(' ')}`;

const bytesOf = (program: Program, { inputs, outputs }: Instruction): number =>
  [...new Set([...inputs, ...outputs])].reduce((sum, id) => sum + byteLength(program.values[id] as Aval), 0);

/** Whether an instruction is a convolution with a filter for each channel. */
function isDepthwise(program: Program, { op, attributes, inputs }: Instruction): boolean {
  if (op.name.startsWith('depthwise')) return true;
  if (!op.name.startsWith('conv2d')) return false;
  const groups = (attributes as Partial<ConvAttributes>).groups ?? 1;
  return groups > 1 && groups === program.values[inputs[0] as number]?.shape[3];
}

const share = (milliseconds: number, bytes: number, copy: number, calls: number): string =>
  bytes / calls < cachedBytes ? 'in cache' : `${((100 * bytes) / milliseconds / 1e6 / copy).toFixed(0)} %`;

/** Cells of so many calls together. */
const figures = (
  milliseconds: number,
  bytes: number,
  multiplyAdds: number,
  copy: number,
  calls = 1,
): string[] => [
  milliseconds.toFixed(3),
  (bytes / 1e6).toFixed(1),
  (bytes / milliseconds / 1e6).toFixed(0),
  share(milliseconds, bytes, copy, calls),
  multiplyAdds === 0 ? '' : ((2 * multiplyAdds) / milliseconds / 1e9).toFixed(1),
];

const figureTitles = ['ms', 'MB', 'GB/s', 'of copy', 'TFLOP/s'];

/** Every instruction within its program; the device is waited for after each. */
export async function profiled(
  backend: Backend,
  program: Program,
  copy: number,
  report: Report,
): Promise<Findings> {
  const times = await profileProgram(backend, program);
  for (const { op, note, shapes, milliseconds } of times) {
    report.log(`${milliseconds.toFixed(4)} ms ${op} ${shapes} ${note}`);
  }
  const total = times.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const floor = Math.min(...times.map(({ milliseconds }) => milliseconds));
  const ops = byOp(times).map(({ op, calls, milliseconds, bytes, multiplyAdds }) => [
    ...[op, String(calls), `${((100 * milliseconds) / total).toFixed(1)} %`],
    ...figures(milliseconds, bytes, multiplyAdds, copy, calls),
  ]);
  const slowest = times.toSorted((a: InstructionTime, b) => b.milliseconds - a.milliseconds).slice(0, 40);
  const rows = slowest.map(({ op, note, shapes, milliseconds, bytes, multiplyAdds }) => [
    ...[op, note, shapes],
    ...figures(milliseconds, bytes, multiplyAdds, copy),
  ]);
  const right = [false, true, true, true, true, true, true, true];
  return {
    summary: `${total.toFixed(2)} ms in ${times.length} instructions, of which the shortest took ${floor.toFixed(3)} ms`,
    markdown: [
      `The device is waited for after each instruction: ${floor.toFixed(3)} ms of each are that. All of them are in the log.`,
      markdownTable([['op', 'calls', 'share', ...figureTitles], ...ops], right),
      markdownTable(
        [['the slowest', 'of', 'shapes', ...figureTitles], ...rows],
        [false, false, false, true, true, true, true, true],
      ),
    ].join('\n\n'),
    data: { milliseconds: total, instructions: times },
  };
}

/** What {@link isolated} finds. */
export interface IsolatedFindings extends Findings {
  /** Depthwise convolutions that are too large for a cache, and those of them that are as fast as they are to be. */
  readonly depthwise: { readonly measured: number; readonly fast: number };
}

/**
 * Each distinct instruction of a program, run after run by itself; with `only`, the depthwise convolutions among them. What
 * cannot be run by itself is said.
 */
export async function isolated(
  backend: Backend,
  program: Program,
  copy: number,
  seconds: number,
  report: Report,
  only?: 'depthwise',
): Promise<IsolatedFindings> {
  const distinct = new Map<string, { readonly instruction: Instruction; calls: number }>();
  for (const instruction of program.instructions) {
    if (only === 'depthwise' && !isDepthwise(program, instruction)) continue;
    const key = `${instruction.op.name} ${JSON.stringify(instruction.attributes)} ${showShapes(program, instruction)}`;
    const known = distinct.get(key);
    if (known === undefined) distinct.set(key, { instruction, calls: 1 });
    else known.calls += 1;
  }
  // The ones that take longest come first, as far as bytes tell.
  const order = [...distinct.values()].toSorted(
    (a, b) => bytesOf(program, b.instruction) * b.calls - bytesOf(program, a.instruction) * a.calls,
  );
  const found: Isolated[] = [];
  const missing: string[] = [];
  const end = performance.now() + seconds * 1000;
  for (const { instruction, calls } of order) {
    const { op, attributes, inputs, outputs } = instruction;
    const shapes = showShapes(program, instruction);
    if (performance.now() > end) {
      missing.push(`${op.name} ${shapes}: no time left`);
      continue;
    }
    const ins = avalsOf(program, inputs);
    const outs = avalsOf(program, outputs);
    try {
      const { median } = await timeProgram(backend, programOfOne(op, attributes, ins, outs));
      const multiplyAdds = multiplyAddsOf(op.name, ins, outs, attributes);
      const bytes = bytesOf(program, instruction);
      const depthwise = isDepthwise(program, instruction);
      found.push({ op: op.name, shapes, calls, milliseconds: median, bytes, multiplyAdds, depthwise });
      report.log(`${median.toFixed(4)} ms ${op.name} ${shapes}, ${calls} times`);
    } catch (error) {
      missing.push(`${op.name} ${shapes}: ${error instanceof Error ? error.message.split('\n')[0] : error}`);
    }
  }
  return isolatedFindings(found, missing, copy);
}

function isolatedFindings(
  found: readonly Isolated[],
  missing: readonly string[],
  copy: number,
): IsolatedFindings {
  const sum = found.reduce((total, { milliseconds, calls }) => total + milliseconds * calls, 0);
  const table = (of: readonly Isolated[]) =>
    markdownTable(
      [
        ['op', 'shapes', 'calls', ...figureTitles],
        ...of.map(({ op, shapes, calls, milliseconds, bytes, multiplyAdds }) => [
          ...[op, shapes, String(calls)],
          ...figures(milliseconds, bytes, multiplyAdds, copy),
        ]),
      ],
      [false, false, true, true, true, true, true, true],
    );
  const depthwise = found.filter((it) => it.depthwise && it.bytes >= cachedBytes);
  const fast = depthwise.filter((it) => it.bytes / it.milliseconds / 1e6 >= depthwiseShare * copy);
  const percent = `${100 * depthwiseShare} %`;
  return {
    summary:
      `${sum.toFixed(2)} ms in ${found.length} distinct instructions, as often as they come; ` +
      `${fast.length} of ${depthwise.length} depthwise ones at ${percent} of a copy or more` +
      (missing.length === 0 ? '' : `; ${missing.length} not measured`),
    markdown: [
      `Each by itself, run after run; median. A copy moves ${copy.toFixed(0)} GB/s.`,
      ...(depthwise.length === 0
        ? []
        : [`Depthwise convolutions, which are to reach ${percent}:`, table(depthwise)]),
      'All of them:',
      table(found.toSorted((a, b) => b.milliseconds * b.calls - a.milliseconds * a.calls)),
      ...(missing.length === 0 ? [] : [missing.map((line) => `- not measured: ${line}`).join('\n')]),
    ].join('\n\n'),
    data: { milliseconds: sum, isolated: found, missing },
    depthwise: { measured: depthwise.length, fast: fast.length },
  };
}
