// Test files of mocha's, run for one device in processes of their own, several at a time: one that ends its process, or a
// device that fails for good, costs no other its results.

import { modulePath, root, runNode } from './programs.ts';

/** Tests to run together. */
export interface TestJob {
  readonly name: string;
  /** Below the root, without the ending: `test/ops/half.test`. */
  readonly file: string;
  /** Of the full title, as a regular expression. Default: all. */
  readonly grep?: string;
}

/** A test that failed. */
export interface FailedTest {
  readonly title: string;
  /** The first lines of the error. */
  readonly error: string;
}

/** What came of a job. */
export interface TestResult {
  readonly name: string;
  readonly passed: number;
  readonly failed: readonly FailedTest[];
  readonly skipped: number;
  readonly seconds: number;
  /** Why there was no end of it. */
  readonly broken?: string;
}

type Event = readonly [kind: string, data: Readonly<Record<string, unknown>>];

function parseEvent(line: string): Event | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (!Array.isArray(value) || typeof value[0] !== 'string') return undefined;
    return [value[0], (value[1] ?? {}) as Readonly<Record<string, unknown>>];
  } catch {
    return undefined; // something that a test printed
  }
}

/** The environment in which tests run on this device alone, and fail where it is not there. */
export const deviceVariables = (device: string): Readonly<Record<string, string>> => ({
  DEVICES: device,
  REQUIRE_DEVICES: device.split(':')[0] as string,
});

/** Runs one job on a device for at most so many seconds. `say` hears of failures at once, `log` what is printed. */
export async function runTests(
  { name, file, grep }: TestJob,
  device: string,
  seconds: number,
  say: (line: string) => void,
  log: (line: string) => void,
): Promise<TestResult> {
  const started = performance.now();
  let passed = 0;
  let skipped = 0;
  let ended = false;
  const failed: FailedTest[] = [];
  const words = [
    ...[`${root}/node_modules/mocha/bin/mocha.js`, modulePath(file), '--reporter', 'json-stream'],
    ...(grep === undefined ? [] : ['--grep', grep]),
  ];
  // Plans that are timed while others run say nothing about speed: they are not to be kept, nor sought for long.
  const env = { ...deviceVariables(device), DEPTHWISE_PLAN_CACHE: 'off', DEPTHWISE_PLAN_SECONDS: '0.5' };
  const found = await runNode(words, seconds, env, (line) => {
    const [event, data] = parseEvent(line) ?? [];
    if (event === 'pass') passed += 1;
    else if (event === 'end') {
      ended = true;
      skipped = Number(data?.pending ?? 0);
    } else if (event === 'fail') {
      const error = `${data?.err ?? 'unknown'}`.slice(0, 600);
      failed.push({ title: `${data?.fullTitle}`, error });
      say(`failed on ${device}: ${data?.fullTitle}: ${error.split('\n')[0]}`);
      log(`${data?.stack ?? error}`);
    }
  });
  if (found.stderr !== '') log(`${name}: ${found.stderr.trim()}`);
  const how = found.timedOut
    ? `stopped after ${seconds.toFixed(0)} s`
    : `ended with ${found.signal ?? `exit code ${found.code}`}: ${found.stderr.trim().slice(-300)}`;
  return {
    ...{ name, passed, failed, skipped },
    seconds: Math.round((performance.now() - started) / 100) / 10,
    ...(ended ? {} : { broken: how }),
  };
}

/** Runs jobs, `atOnce` at a time, in their order. Those for which no time is left are broken. */
export async function runAll(
  jobs: readonly TestJob[],
  atOnce: number,
  left: () => number,
  run: (job: TestJob, seconds: number) => Promise<TestResult>,
): Promise<TestResult[]> {
  const results: TestResult[] = [];
  const waiting = [...jobs];
  const work = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const seconds = left();
      if (seconds > 5) results.push(await run(job, seconds));
      else
        results.push({
          ...{ name: job.name, passed: 0, failed: [], skipped: 0, seconds: 0 },
          broken: 'not started: out of time',
        });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}
