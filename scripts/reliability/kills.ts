// A training that is killed again and again ends with the weights of one that is left alone, to the bit: two runs of the
// command line on a folder of photographs, one with SIGKILL at random moments. Prints what happened and the verdict; ends
// with 1 where a byte differs.
//
//   node --import tsx scripts/reliability/kills.ts DATA [--minutes 60] [--steps N] [--together] [--size 71] [--every 20]
//                                            [--out FOLDER] [--seed 1]
//
// DATA: a folder with train/ and validation/. --minutes: how long the undisturbed run takes, about; the killed one takes the
// time again, and what the kills cost. --steps: that many instead. --together: both side by side.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { uniform } from '../../lib/core/philox.ts';
import { newestCheckpoint } from '../../lib/train/checkpoint.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '60' },
    steps: { type: 'string' },
    together: { type: 'boolean', default: false },
    size: { type: 'string', default: '71' },
    every: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});
const [data] = positionals;
if (data === undefined) {
  console.error('expected DATA, a folder with train/ and validation/');
  process.exit(2);
}
const out = values.out ?? (await mkdtemp(join(tmpdir(), 'depthwise-kills-')));
const every = Number(values.every);
const seed = Number(values.seed);
const binary = resolve(import.meta.dirname, '../../bin/depthwise.js');

interface Running {
  readonly child: ChildProcess;
  /** Step of the last line of metrics. */
  step: number;
  errors: string;
}

/** The recipe for little data, without a page at its end; every step printed. */
function start(run: string, steps: number, resume: boolean): Running {
  const first = [resolve(data as string), '--preset', 'small', '--size', String(values.size)];
  const flags = [
    ...(resume ? ['--resume'] : first),
    '--out',
    run,
    '--steps',
    String(steps),
    '--device',
    'cpu',
  ];
  const more = [
    '--checkpoint-every',
    String(every),
    '--keep',
    '2',
    '--log-every',
    '1',
    '--json',
    '--no-report',
  ];
  const child = spawn(process.execPath, [binary, 'train', ...flags, ...more, '--deterministic'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const running: Running = { child, step: 0, errors: '' };
  let rest = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) running.step = (JSON.parse(line) as { step?: number }).step ?? running.step;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    running.errors += chunk;
  });
  return running;
}

async function finish(running: Running): Promise<void> {
  const [code] = (await once(running.child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`ended with ${code}: ${running.errors}`);
}

const seconds = (since: number) => (performance.now() - since) / 1000;

// How fast it trains says how many steps fill the time.
const probe = start(join(out, 'probe'), 1_000_000, false);
while (probe.step < 2 && probe.child.exitCode === null) await new Promise((done) => setTimeout(done, 50));
const [from, at] = [probe.step, performance.now()];
while (seconds(at) < 15 && probe.child.exitCode === null) await new Promise((done) => setTimeout(done, 50));
const perStep = seconds(at) / Math.max(1, probe.step - from);
probe.child.kill('SIGKILL');
if (probe.step < 2) throw new Error(`it does not train: ${probe.errors}`);
const steps = Math.max(3 * every, Number(values.steps ?? Math.ceil((Number(values.minutes) * 60) / perStep)));
console.log(`${perStep.toFixed(2)} s a step: ${steps} steps`);

/** Trains without a disturbance; minutes. */
async function trainWhole(): Promise<number> {
  const began = performance.now();
  await finish(start(join(out, 'whole'), steps, false));
  const minutes = seconds(began) / 60;
  console.log(`undisturbed: ${minutes.toFixed(1)} min`);
  return minutes;
}
const whole = trainWhole();
if (!values.together) await whole;

// A kill at a random moment of each so many steps, about one in two minutes of an hour.
const span = Math.max(2 * every * perStep, (steps * perStep) / 30);
const lost: number[] = [];
let damaged = 0;
let kills = 0;
const again = performance.now();
for (let last = 0; ; ) {
  const running = start(join(out, 'killed'), steps, kills > 0);
  const ended = once(running.child, 'close');
  let done = false;
  void ended.then(() => {
    done = true;
  });
  // It gets at least to where the last one was, so that the run comes to an end.
  while (!done && running.step <= last) await new Promise((tick) => setTimeout(tick, 20));
  const moment = performance.now();
  const wait = uniform(seed, kills) * span;
  while (!done && seconds(moment) < wait) await new Promise((tick) => setTimeout(tick, 20));
  if (done) {
    const [code] = (await ended) as [number | null];
    if (code !== 0) throw new Error(`ended with ${code}: ${running.errors}`);
    break;
  }
  running.child.kill('SIGKILL');
  await ended;
  kills += 1;
  last = running.step;
  const found = await newestCheckpoint(join(out, 'killed'));
  damaged += found.damaged.length;
  lost.push(Math.max(0, last - (found.checkpoint?.state.step ?? 0)));
}
const disturbed = seconds(again) / 60;
const undisturbed = await whole;

const differing: string[] = [];
const [expected, got] = await Promise.all(['whole', 'killed'].map((run) => newestCheckpoint(join(out, run))));
for (const name of expected?.checkpoint?.files ?? []) {
  const read = (found: typeof expected) => readFile(join(found?.checkpoint?.folder as string, name));
  const [a, b] = await Promise.all([read(expected), read(got)]);
  if (!a.equals(b)) differing.push(name);
}
const linesOf = async (run: string) =>
  (await readFile(join(out, run, 'metrics.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => {
      const { images_per_second: _, data_wait: __, ...rest } = JSON.parse(line);
      return JSON.stringify(rest);
    });
const [a, b] = [await linesOf('whole'), await linesOf('killed')];
if (a.join('\n') !== b.join('\n')) {
  differing.push('metrics.jsonl');
  const at = a.findIndex((line, index) => line !== b[index]);
  console.log(`line ${at + 1} of ${a.length} and ${b.length}:\n  ${a[at]}\n  ${b[at]}`);
}
lost.sort((x, y) => x - y);
console.log(
  JSON.stringify({
    steps,
    kills,
    damaged,
    minutes: { undisturbed, killed: disturbed },
    stepsLost: { median: lost[lost.length >> 1], most: lost.at(-1) },
    lines: a.length,
    differing,
  }),
);
console.log(differing.length === 0 ? 'the same, to the bit' : `different: ${differing.join(', ')}`);
process.exitCode = differing.length === 0 && kills > 0 ? 0 : 1;
