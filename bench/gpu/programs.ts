// Programs that a phase starts: this project's commands and its tests, from the sources or compiled, each in a group of
// processes that ends with it.

import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';

/** Of the repository, or of the bundle. */
export const root = resolve(import.meta.dirname, '../..');

const isSource = import.meta.filename.endsWith('.ts');

/** Before a script, so that Node reads sources. */
export const loader: readonly string[] = isSource ? ['--import', import.meta.resolve('tsx')] : [];

/** The path of a module of this project, below the root: `test/ops/half.test`. */
export const modulePath = (name: string): string => `${name}.${isSource ? 'ts' : 'js'}`;

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

const running = new Set<ChildProcess>();

/** Ends a program with all that it started. */
function end(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It is gone.
  }
}

process.once('exit', () => {
  for (const child of running) end(child);
});

/** Runs Node on a script with these words, for at most so many seconds. `onLine` hears each line of stdout at once. */
export async function runNode(
  words: readonly string[],
  seconds: number,
  env: Readonly<Record<string, string>> = {},
  onLine: (line: string) => void = () => undefined,
): Promise<Ended> {
  const child = spawn(process.execPath, words, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  running.add(child);
  const found = { stdout: '', stderr: '' };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    found.stdout += chunk;
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    found.stderr += chunk;
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    end(child);
  }, seconds * 1000);
  try {
    const [code, signal] = await new Promise<[number | null, string | null]>((settle, refuse) => {
      child.once('error', refuse);
      child.once('close', (code, signal) => settle([code, signal]));
    });
    return { code, signal, ...found, timedOut };
  } finally {
    clearTimeout(timer);
    running.delete(child);
  }
}

/** Runs a command of this project: `depthwise doctor`. */
export const runCommand = (words: readonly string[], seconds: number): Promise<Ended> =>
  runNode([resolve(root, 'bin/depthwise.js'), ...words], seconds);

/** The end of what a program said, on one line. */
export const lastWords = ({ stderr, stdout }: Ended): string =>
  (stderr.trim() || stdout.trim()).split('\n').slice(-3).join(' | ').slice(-400);
