// `watch`, and `train --dashboard`: the live page about runs.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { CheckpointError, defaultWatchPort, type LivePage, readRunConfig, watchRuns } from '../index.ts';
import { Interrupted, messageOf } from './failure.ts';
import { print, say } from './output.ts';

interface WatchFlags {
  readonly port: number;
  readonly open: boolean;
  readonly json: boolean;
}

function port(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 65_535))
    throw new InvalidArgumentError('Expected a port, a number up to 65535; 0: any that is free.');
  return value;
}

export function watchCommand(): Command {
  return new Command('watch')
    .description(
      'a live page about runs on this machine: curves, speed, time left, images as the network sees them',
    )
    .argument('<runs...>', 'folders of runs (--out of a training), in progress or not')
    .option('--port <n>', 'where the page is; where it is taken, the next free one', port, defaultWatchPort)
    .option('--open', 'open the page in the browser', false)
    .option('--json', 'JSON lines on stdout and nothing else', false)
    .action(watch);
}

/** Of `train`. */
export interface DashboardFlags {
  readonly dashboard: boolean;
  readonly dashboardPort: number;
}

export const withDashboardFlags = (command: Command): Command =>
  command
    .option('--dashboard', 'a live page about the run while it trains', false)
    .addOption(
      new Option('--dashboard-port <n>', 'where that page is; where it is taken, the next free one')
        .argParser(port)
        .default(defaultWatchPort)
        .implies({ dashboard: true }),
    );

const moved = (page: LivePage, wanted: number): string => (page.moved ? ` (port ${wanted} is taken)` : '');

async function watch(runs: string[], { port: wanted, open, json }: WatchFlags): Promise<void> {
  for (const run of runs) {
    if ((await readRunConfig(run)) !== undefined) continue;
    throw new CheckpointError(`${run}: no run in it (config.json); expected the --out of a training`, {
      file: run,
      code: 'NO_RUN',
    });
  }
  const page = await watchRuns(
    runs.map((run) => resolve(run)),
    { port: wanted },
  );
  try {
    if (json) print({ url: page.url });
    say(`watch at ${page.url}${moved(page, wanted)}; Ctrl-C ends it`);
    if (open) openInBrowser(page.url);
    const signal = await Promise.race(
      (['SIGINT', 'SIGTERM'] as const).map((name) => once(process, name).then(() => name)),
    );
    throw new Interrupted(signal);
  } finally {
    await page.close();
  }
}

/** What a person's machine opens pages with; where it has nothing, the address was said. */
function openInBrowser(url: string): void {
  const child = spawn('xdg-open', [url], { stdio: 'ignore', detached: true });
  child.on('error', () => say('there is no xdg-open to open the page with'));
  child.unref();
}

/** The live page of a training. Where it cannot be served, that is said, and the training goes on without. */
export class Dashboard implements AsyncDisposable {
  readonly #out: string;
  readonly #flags: DashboardFlags;
  #page: Promise<LivePage | undefined> | undefined;

  constructor(out: string, flags: DashboardFlags) {
    this.#out = out;
    this.#flags = flags;
  }

  /** Called when there is something to see; again, it does nothing. */
  open(): void {
    if (this.#flags.dashboard) this.#page ??= this.#serve(this.#flags.dashboardPort);
  }

  async #serve(wanted: number): Promise<LivePage | undefined> {
    try {
      const page = await watchRuns([resolve(this.#out)], { port: wanted });
      say(`watch at ${page.url}${moved(page, wanted)}`);
      return page;
    } catch (error) {
      say(`no live page: ${messageOf(error, false)}`);
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#page)?.close();
  }
}
