// A run that is looked at while it goes on, or after: what its folder says, read again no more often than needed.

import { readdir, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { brakeSentence } from '../../train/brake.ts';
import type { Json } from '../../train/checkpoint.ts';
import { heartbeat, type LiveStatus, readLiveStatus } from '../../train/live.ts';
import { isEpochRecord, type MetricsLine, parseMetricsLine, type Scores } from '../../train/metrics.ts';
import { readRunConfig } from '../../train/runFolder.ts';
import { Tail } from './tail.ts';
import { type Row, ThinnedRows } from './thinned.ts';

/** What a page is told of a run: only rows that it does not have yet. */
export interface RunView {
  readonly state: string;
  /** The state as a sentence. */
  readonly sentence: string;
  /** Whether the run may still go on by itself. */
  readonly going: boolean;
  readonly status: LiveStatus | null;
  /** What holds it back. */
  readonly brake: string | null;
  /** Sent back with the next question; where it is another, the page forgets its rows. */
  readonly generation: string;
  /** step, loss, top1, learning rate, images/s, data wait */
  readonly steps: { readonly rows: readonly Row[]; readonly unfinished: Row | null };
  /** step, epoch, validation top1 (for many labels MAP), loss; the same of the average; training top1, loss */
  readonly epochs: { readonly rows: readonly Row[]; readonly unfinished: Row | null };
  /** Newest first. */
  readonly checkpoints: readonly { readonly step: number; readonly time: number }[];
  /** Changes with config.json. */
  readonly configured: number;
}

/** What a page has already. */
export interface Known {
  readonly generation: string;
  readonly steps: number;
  readonly epochs: number;
}

const mostRows = 2000;
const mostCheckpoints = 10;
/** Milliseconds within which the folder is not read again, however many pages ask. */
const fresh = 400;
/** Milliseconds without a sign of life after which a run is not believed to go on. */
const silence = 15_000;

/** Whether a process of this machine is there. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Time as people say it. */
export function ago(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** What a run's last sign of life says now. */
export function judge(
  status: LiveStatus | undefined,
  now: number,
  alive: (pid: number) => boolean = isThere,
): Pick<RunView, 'state' | 'sentence' | 'going'> {
  if (status === undefined) {
    return { state: 'unknown', sentence: 'No sign of life is recorded for this run.', going: false };
  }
  const { state, message, updated, pid, host } = status;
  const age = now - updated;
  const because = message === undefined ? '' : `: ${message}`;
  switch (state) {
    case 'finished':
      return { state, sentence: `Finished ${ago(age)} ago.`, going: false };
    case 'stopped':
    case 'failed': {
      const word = state === 'stopped' ? 'Stopped' : 'Failed';
      return { state, sentence: `${word} ${ago(age)} ago${because}.`, going: false };
    }
    default:
  }
  if (age > 2 * heartbeat && host === hostname() && !alive(pid)) {
    const sentence = `Ended without a word, with its last sign of life ${ago(age)} ago: killed, or the machine went down. --resume continues it.`;
    return { state: 'killed', sentence, going: false };
  }
  if (age > silence) {
    return { state: 'silent', sentence: `No sign of life for ${ago(age)}.`, going: true };
  }
  const words = {
    starting: 'Starting.',
    training: 'Training.',
    evaluating: 'Evaluating on the validation images.',
  };
  return { state, sentence: words[state], going: true };
}

/** A run's folder, read again and again. */
export class WatchedRun {
  readonly folder: string;
  readonly #steps = new ThinnedRows(5, mostRows);
  readonly #epochs = new ThinnedRows(7, mostRows);
  readonly #tail: Tail;
  #config: { readonly [key: string]: Json } = {};
  #configured = 0;
  #status: LiveStatus | undefined;
  #checkpoints: RunView['checkpoints'] = [];
  #lastStep = 0;
  #read = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(folder: string) {
    this.folder = folder;
    this.#tail = new Tail(
      join(folder, 'metrics.jsonl'),
      (line) => this.#add(line),
      () => {
        this.#steps.clear();
        this.#epochs.clear();
        this.#lastStep = 0;
      },
    );
  }

  /** config.json as it was last read. */
  get config(): { readonly [key: string]: Json } {
    return this.#config;
  }

  /** What is new since what is known. */
  async view(known: Known): Promise<RunView> {
    await this.refresh();
    const generation = `${this.#steps.generation}.${this.#epochs.generation}`;
    const same = known.generation === generation;
    const status = this.#status ?? null;
    return {
      ...judge(this.#status, Date.now()),
      status,
      brake: status === null || status.step === 0 ? null : brakeSentence(status),
      generation,
      steps: this.#steps.from(same ? known.steps : 0),
      epochs: this.#epochs.from(same ? known.epochs : 0),
      checkpoints: this.#checkpoints,
      configured: this.#configured,
    };
  }

  /** Reads the folder, unless that was done just now. */
  refresh(): Promise<void> {
    if (this.#reading === undefined && performance.now() - this.#read > fresh) {
      this.#reading = this.#readFolder().finally(() => {
        this.#reading = undefined;
        this.#read = performance.now();
      });
    }
    return this.#reading ?? Promise.resolve();
  }

  async #readFolder(): Promise<void> {
    this.#status = await readLiveStatus(this.folder);
    const changed = (await stat(join(this.folder, 'config.json')).catch(() => undefined))?.mtimeMs ?? 0;
    if (changed !== this.#configured) {
      this.#config = (await readRunConfig(this.folder).catch(() => undefined)) ?? {};
      this.#configured = changed;
    }
    await this.#tail.read();
    await this.#readCheckpoints();
  }

  async #readCheckpoints(): Promise<void> {
    const folder = join(this.folder, 'checkpoints');
    const names = await readdir(folder).catch(() => []);
    const steps = names.flatMap((name) => {
      const step = /^step-(\d+)$/.exec(name)?.[1];
      return step === undefined ? [] : [{ name, step: Number(step) }];
    });
    const newest = steps.sort((a, b) => b.step - a.step).slice(0, mostCheckpoints);
    this.#checkpoints = await Promise.all(
      newest.map(async ({ name, step }) => {
        const found = await stat(join(folder, name)).catch(() => undefined);
        return { step, time: found?.mtimeMs ?? 0 };
      }),
    );
  }

  #add(text: string): void {
    let line: MetricsLine;
    try {
      line = parseMetricsLine(text);
    } catch {
      return; // a line that was damaged is no curve; `report` says where
    }
    if (isEpochRecord(line)) {
      const { epoch, train, validation: raw, validation_average: average } = line;
      const perEpoch = this.#stepsPerEpoch();
      const step = perEpoch === undefined ? this.#lastStep : Math.round(epoch * perEpoch);
      const most = (scores: Scores | undefined) => scores?.map ?? scores?.top1;
      const scores = [most(raw), raw?.loss, most(average), average?.loss, train?.top1, train?.loss];
      this.#epochs.add(step, [epoch, ...scores]);
    } else {
      this.#lastStep = line.step;
      this.#steps.add(line.step, [line.loss, line.top1, line.lr, line.images_per_second, line.data_wait]);
    }
  }

  #stepsPerEpoch(): number | undefined {
    const { images, batchSize } = this.#config;
    return typeof images === 'number' && typeof batchSize === 'number'
      ? Math.max(1, Math.floor(images / batchSize))
      : undefined;
  }
}
