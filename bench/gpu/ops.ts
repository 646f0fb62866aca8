// The phase `ops`: whether a device computes what the reference does. Every op in f32, f16 and bf16, the fused ones among
// them; programs as CUDA graphs against single launches; networks and training against recorded results.

import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type OpName, opTable } from '../../lib/ops/index.ts';
import { markdownTable } from '../support/results.ts';
import { lastWords, loader, modulePath, root, runCommand, runNode } from './programs.ts';
import { type Findings, HopelessError, type Report } from './report.ts';
import { deviceVariables, runAll, runTests, type TestJob, type TestResult } from './tests.ts';

/** What the phase takes. */
export interface OpsOptions {
  readonly device: string;
  /** Only these ops, and nothing but them. Default: all, and everything else. */
  readonly ops?: readonly string[];
}

/** Seconds in which a first process opens the device; a disk that is cold reads gigabytes of libraries meanwhile. */
const startSeconds = 180;

const ofFile = (file: string): TestJob => ({ name: file.replace(/^test\/|\.test$/g, ''), file });

/** The test files of a folder, except some. */
const filesOf = (folder: string, ...except: readonly string[]): string[] =>
  readdirSync(resolve(root, folder))
    .flatMap((name) => /^(\w+)\.test\.[jt]s$/.exec(name)?.[1] ?? [])
    .filter((name) => !except.includes(name))
    .sort()
    .map((name) => `${folder}/${name}.test`);

const named = (...names: readonly string[]): string[] => names.map((name) => `test/${name}.test`);

/** Parts after the ops one by one: name, seconds that it needs at least, test files. */
const parts: readonly (readonly [name: string, seconds: number, files: readonly string[]])[] = [
  ['ops in f16 and bf16', 20, named('ops/half', 'ops/wideShapes')],
  ['graphs against single launches', 20, named('native/graphs')],
  [
    'known results and shapes of networks',
    20,
    filesOf('test/ops', 'everyOp', 'half', 'wideShapes', 'messages'),
  ],
  [
    'programs: eager, compiled, fused, plain',
    20,
    named('core/eager', 'core/compile', 'core/scope', 'core/flat', 'passes/training', 'passes/inference'),
  ],
  // The command line's own choice of precision is no parity in fp32.
  ['parity with Keras', 40, filesOf('test/parity', 'kerasFiles')],
  [
    'training',
    40,
    named('optim/optimizer', 'train/step', 'train/trainer', 'train/memory', 'train/precision'),
  ],
  ['cuDNN by itself', 20, named('cudnn/tensors')],
];

/** A file, or an op, that takes longer than this is stopped: seconds. */
const patience = 180;

/** As many processes as there are cores to prepare what the device runs; each holds a context on it. */
const atOnce = Math.max(1, Math.min(12, availableParallelism() - 2));

function findings(results: readonly TestResult[]): Findings {
  const sum = (of: (result: TestResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  const failed = results.flatMap((result) => result.failed);
  const broken = results.filter((result) => result.broken !== undefined);
  const passed = sum((result) => result.passed);
  const rows = results.map(({ name, passed, failed, skipped, seconds }) => [
    ...[name, String(passed), String(failed.length), String(skipped), seconds.toFixed(1)],
  ]);
  const table = markdownTable(
    [['tests', 'passed', 'failed', 'skipped', 'seconds'], ...rows],
    [false, true, true, true, true],
  );
  const lines = [
    ...broken.map(({ name, broken }) => `- ${name}: ${broken?.replace(/\s*\n\s*/g, ' | ')}`),
    ...failed.map(({ title, error }) => `- ${title}: ${error.replace(/\s*\n\s*/g, ' | ')}`),
  ];
  const skipped = sum((result) => result.skipped);
  return {
    summary:
      `${passed} passed, ${failed.length} failed, ${skipped} skipped` +
      (broken.length === 0 ? '' : `, ${broken.length} of ${results.length} without an end`),
    markdown: [table, ...(lines.length === 0 ? [] : [lines.join('\n')])].join('\n\n'),
    data: { results },
    // A part in which nothing ran has shown nothing.
    wrong: failed.length > 0 || broken.length > 0 || passed === 0,
  };
}

/** What doctor says of a device. @throws HopelessError where it cannot be used */
export async function examine(device: string, report: Report): Promise<Findings> {
  // The simulation is for tests only, and no command knows it.
  const asked = device.startsWith('cudasim') ? 'cpu' : device;
  const found = await runCommand(['doctor', '--device', asked], startSeconds);
  report.log(found.stdout.trim());
  if (found.code !== 0) {
    // `cuda: not used: no NVIDIA driver: …`, and what would mend it.
    const lines = found.stdout.trim().split('\n');
    const from = lines.findIndex((line) => line.startsWith('cuda: not used'));
    const reason = from < 0 ? lastWords(found) : lines.slice(from).join('; ').replace(/\s+/g, ' ');
    throw new HopelessError(`the device ${device} cannot be used: ${reason}`);
  }
  return {
    summary: found.stdout.split('\n')[0] ?? '',
    markdown: `\`\`\`\n${found.stdout.trim()}\n\`\`\``,
    data: { doctor: found.stdout.trim().split('\n') },
  };
}

/** Which devices the tests see. @throws HopelessError where it is not the one that they are to run on */
async function seen(device: string): Promise<Findings> {
  const module = pathToFileURL(resolve(root, modulePath('test/support/devices'))).href;
  const script = `const { devices } = await import(${JSON.stringify(module)});
    console.log(JSON.stringify(devices.map(({ name }) => name)));`;
  const words = [...loader, '--input-type=module', '--eval', script];
  const found = await runNode(words, startSeconds, deviceVariables(device));
  if (found.code !== 0) throw new HopelessError(`the tests cannot open ${device}: ${lastWords(found)}`);
  const names = JSON.parse(found.stdout) as readonly string[];
  const kind = device.split(':')[0];
  if (!names.some((name) => name.split(':')[0] === kind)) {
    throw new HopelessError(`the tests run on ${names.join(', ') || 'nothing'}, not on ${device}`);
  }
  return { summary: `tests run on ${names.join(', ')}`, markdown: '', data: { devices: names } };
}

/** Runs the phase. */
export async function runOps({ device, ops }: OpsOptions, report: Report): Promise<void> {
  await report.part('doctor', 5, () => examine(device, report));
  await report.part('device of the tests', 5, () => seen(device));
  const run = (jobs: readonly TestJob[]) =>
    runAll(
      jobs,
      atOnce,
      () => Math.min(patience, report.left - 10),
      (job, seconds) =>
        runTests(
          job,
          device,
          seconds,
          (line) => report.say(line),
          (line) => report.log(line),
        ),
    );
  const known = Object.keys(opTable) as OpName[];
  const names = ops === undefined ? known : known.filter((name) => ops.includes(name));
  const jobs = names.map((name) => ({ name, file: 'test/ops/everyOp.test', grep: `^${name} ` }));
  await report.part(`${names.length} ops in f32, each against the reference`, 30, async () =>
    findings(await run(jobs)),
  );
  if (ops !== undefined) return;
  for (const [name, seconds, files] of parts) {
    await report.part(name, seconds, async () => findings(await run(files.map(ofFile))));
  }
}
