// The command line as a child process.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

const binary = resolve(import.meta.dirname, '../../bin/depthwise.js');

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command in progress. */
export interface Running {
  readonly child: ChildProcess;
  /** Settles with the end of the process. */
  readonly ended: Promise<Ended>;
  /** Settles once this many lines are on stdout, or with the end. */
  lines(count: number): Promise<void>;
}

/** Starts `depthwise` with these arguments. */
export function startCommand(args: readonly string[], cwd?: string): Running {
  const child = spawn(process.execPath, [binary, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }));
  const lines = async (count: number) => {
    while (stdout.split('\n').length <= count && child.exitCode === null) {
      await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data'), ended]);
    }
  };
  return { child, ended, lines };
}

/** Runs `depthwise` to its end. */
export const runCommand = (...args: string[]): Promise<Ended> => startCommand(args).ended;

/** The JSON lines of an output. */
export const jsonLines = ({ stdout }: Ended): Record<string, unknown>[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
