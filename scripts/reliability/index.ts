// The long forms of the promises of docs/reliability.md: the tests of CI with the numbers of the promises.
//
//   npm run reliability                 all of them, about two hours
//   npm run reliability -- kills disk   some of them
//   npm run reliability -- --list
//
// Ends with 1 where one is not kept. The one-hour training is a script of its own: scripts/reliability/kills.ts.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

interface Promised {
  /** What is run, of test/. */
  readonly files: readonly string[];
  readonly grep?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly what: string;
}

const promises: Readonly<Record<string, Promised>> = {
  kills: {
    what: '200 SIGKILLs at random moments of a run that saves every 5 steps',
    files: ['train/killed.test.ts'],
    grep: 'compiled',
    env: { KILLS: '200' },
  },
  corruption: {
    what: '1,000 flipped bits and cuts of checkpoints',
    files: ['train/checkpoint.test.ts'],
    env: { CORRUPTIONS: '1000' },
  },
  disk: { what: 'disks that are full, fail or are read-only', files: ['train/disk.test.ts'] },
  resume: { what: '40 steps are 20 and 20 more', files: ['train/resume.test.ts'] },
  nonFinite: { what: 'steps that are not finite', files: ['train/nonFinite.test.ts'] },
  memory: {
    what: '60,000 steps compiled (10,000 are promised: after these resident memory still settles)',
    files: ['train/memory.test.ts'],
    grep: 'holds no more memory.*compiled',
    env: { MEMORY_STEPS: '60000' },
  },
  models: {
    what: '1,000 models made and disposed of',
    files: ['train/endurance.test.ts'],
    grep: 'models that were',
    env: { MODELS: '1000' },
  },
  threads: {
    what: '200 worker threads started and ended',
    files: ['train/endurance.test.ts'],
    grep: 'threads that were',
    env: { THREADS: '200' },
  },
  outOfMemory: { what: 'a batch that is too large', files: ['train/endurance.test.ts'], grep: 'too large' },
  eventLoop: {
    what: 'the event loop while Xception trains',
    files: ['train/endurance.test.ts'],
    grep: 'event loop',
  },
  evaluation: { what: '10,007 images', files: ['train/endurance.test.ts'], grep: '10,007' },
  signals: { what: 'SIGINT and SIGTERM', files: ['cli/commands.test.ts'], grep: 'SIGINT' },
};

const names = process.argv.slice(2);
if (names.includes('--list')) {
  for (const [name, { what }] of Object.entries(promises)) console.log(`${name.padEnd(12)} ${what}`);
  process.exit(0);
}
const unknown = names.find((name) => !Object.hasOwn(promises, name));
if (unknown !== undefined) {
  console.error(`${unknown}: expected ${Object.keys(promises).join(', ')}`);
  process.exit(2);
}

const root = join(import.meta.dirname, '../..');
const failed: string[] = [];
for (const name of names.length === 0 ? Object.keys(promises) : names) {
  const { what, files, grep, env = {} } = promises[name] as Promised;
  console.log(`\n${name}: ${what}`);
  const started = performance.now();
  const paths = files.map((file) => join(root, 'test', file));
  const { status } = spawnSync(
    join(root, 'node_modules/.bin/mocha'),
    ['--reporter', 'spec', '--timeout', '7200000', ...(grep === undefined ? [] : ['--grep', grep]), ...paths],
    { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } },
  );
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  console.log(`${name}: ${status === 0 ? 'kept' : 'NOT KEPT'} (${minutes} min)`);
  if (status !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`\nnot kept: ${failed.join(', ')}`);
  process.exit(1);
}
