// A machine as tables: what the search for CUDA would read, and what programs would answer. Nothing is run.

import { dirname } from 'node:path';
import type { CudaSystem, EndedProgram } from '../../lib/backend/cuda/system.ts';

/** How a program ends; what is left out is a good end. */
export type Ending = Partial<EndedProgram>;

export class TableSystem implements CudaSystem {
  readonly env: Record<string, string> = {};
  /** Files by path, with their text. */
  readonly files = new Map<string, string>();
  /** What programs answer, by their path and first word; others cannot be started. */
  readonly answers = new Map<string, Ending | ((words: readonly string[]) => Ending)>();
  /** Programs run so far, with their words. */
  readonly ran: string[] = [];

  add(...paths: string[]): this {
    for (const path of paths) this.files.set(path, '');
    return this;
  }

  list = (folder: string): string[] => {
    const names = [...this.files.keys()]
      .filter((path) => path.startsWith(`${folder}/`))
      .map((path) => path.slice(folder.length + 1).split('/')[0] as string);
    return [...new Set(names)].sort();
  };

  read = (path: string): string | undefined => this.files.get(path);

  stamp = (path: string): string | undefined => {
    if (this.files.has(path)) return `stamp of ${path}: ${this.files.get(path)}`;
    return [...this.files.keys()].some((file) => dirname(file).startsWith(path)) ? 'folder' : undefined;
  };

  write = (path: string, text: string): void => {
    this.files.set(path, text);
  };

  run = (program: string, words: readonly string[], milliseconds: number): EndedProgram => {
    this.ran.push([program, ...words].join(' '));
    const answer = this.answers.get(`${program} ${words[0]}`);
    const ending =
      answer === undefined
        ? { status: null, failure: `spawnSync ${program} ENOENT` }
        : typeof answer === 'function'
          ? answer(words)
          : answer;
    const late = ending.failure === 'late' ? { failure: `no answer within ${milliseconds / 1000} s` } : {};
    return { stdout: '', status: 0, signal: null, failure: undefined, ...ending, ...late };
  };
}
