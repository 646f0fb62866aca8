// Where and when something was measured.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { resolve } from 'node:path';

/** What a figure depends on besides the code. */
export interface Circumstances {
  /** ISO 8601, day and time. */
  readonly date: string;
  /** As typed, so that it can be repeated. */
  readonly command: string;
  /** Short hash; ends in `+` where files differ from it. Empty outside of a checkout. */
  readonly commit: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  /** Mean number of runnable processes over the minute before. */
  readonly load: number;
}

const root = resolve(import.meta.dirname, '../..');

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    // A bundle is no checkout, and says which commit it was made of.
    const noted = resolve(root, 'commit');
    if (existsSync(noted)) return readFileSync(noted, 'utf8').trim();
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '-uno') === '' ? '' : '+'}`;
  } catch {
    return '';
  }
}

/** What holds now. @param script name of the npm script that runs */
export const circumstances = (script: string): Circumstances => {
  const args = process.argv.slice(2);
  return {
    date: new Date().toISOString(),
    command: `npm run ${script}${args.length === 0 ? '' : ` -- ${args.join(' ')}`}`,
    commit: commit(),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    load: loadavg()[0] as number,
  };
};

/** Circumstances as a line of text. */
export const showCircumstances = (c: Circumstances): string =>
  [
    `${c.date.slice(0, 16).replace('T', ' ')} UTC`,
    c.processor,
    `${c.cores} cores`,
    `${(c.memoryBytes / 2 ** 30).toFixed(0)} GiB`,
    c.system,
    `Node ${c.node.slice(1)}`,
    `commit ${c.commit || 'unknown'}`,
    `load before ${c.load.toFixed(1)}`,
  ].join(', ');

/** Bytes of memory that a new process could have without swapping. */
export function availableBytes(): number {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return match === null ? totalmem() : Number(match[1]) * 1024;
}
