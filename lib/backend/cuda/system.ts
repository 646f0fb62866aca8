// What the search for CUDA asks of the machine, as an interface: tests answer from a table in place of a disk.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { threadId } from 'node:worker_threads';

/** How a program ended. */
export interface EndedProgram {
  /** What it printed, also where it was killed. */
  readonly stdout: string;
  readonly status: number | null;
  readonly signal: string | null;
  /** Why it was not started, or that it was stopped for want of an answer. */
  readonly failure: string | undefined;
}

/** The machine as the search sees it. Nothing here throws. */
export interface CudaSystem {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Names in a folder, sorted; empty where there is no such folder. */
  list(folder: string): readonly string[];
  /** A file as text; undefined where it cannot be read. */
  read(path: string): string | undefined;
  /** Changes whenever the file behind a path does; undefined where there is none. */
  stamp(path: string): string | undefined;
  /** Writes a file that is whole or not there, and makes its folder; where that is impossible, nothing happens. */
  write(path: string, text: string): void;
  /** Runs a program to its end, or to a kill after so many milliseconds. */
  run(program: string, words: readonly string[], milliseconds: number): EndedProgram;
}

const quietly = <T>(body: () => T): T | undefined => {
  try {
    return body();
  } catch {
    return undefined;
  }
};

function write(path: string, text: string): void {
  const temporary = `${path}.${process.pid}-${threadId}.tmp`;
  const written = quietly(() => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(temporary, text);
    renameSync(temporary, path);
    return true;
  });
  if (written === undefined) quietly(() => rmSync(temporary, { force: true }));
}

function run(program: string, words: readonly string[], milliseconds: number): EndedProgram {
  const { stdout, status, signal, error } = spawnSync(program, [...words], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'], // a driver's own words on stderr are nobody's result
    timeout: milliseconds,
    killSignal: 'SIGKILL',
  });
  const late = error !== undefined && 'code' in error && error.code === 'ETIMEDOUT';
  const failure = late ? `no answer within ${milliseconds / 1000} s` : error?.message;
  return { stdout: stdout ?? '', status, signal, failure };
}

/** This machine, with this process' environment as it is now. */
export const thisMachine = (): CudaSystem => ({
  env: { ...process.env },
  list: (folder) => (quietly(() => readdirSync(folder)) ?? []).sort(),
  read: (path) => quietly(() => readFileSync(path, 'utf8')),
  stamp: (path) =>
    quietly(() => {
      const { dev, ino, size, mtimeMs } = statSync(path);
      return `${dev}-${ino}-${size}-${mtimeMs}`;
    }),
  write,
  run,
});
