// The folder live/ of a run: where the training is, a sign of life, and images as the network sees them. Small files that are
// replaced now and then, for whoever watches; nothing in them is needed to go on, and no error of theirs ends a training.

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Backend } from '../backend/backend.ts';
import type { Batch } from '../data/batch.ts';
import type { FitProgress } from './options.ts';
import { type SampleSheet, sampleSheet } from './sampleSheet.ts';

/** What a training is doing, or how it ended. */
export type LiveState = 'starting' | 'training' | 'evaluating' | 'finished' | 'stopped' | 'failed';

/** live/status.json */
export interface LiveStatus {
  readonly state: LiveState;
  /** Why it failed or was stopped. */
  readonly message?: string;
  /** Of the process that trains. */
  readonly pid: number;
  readonly host: string;
  /** Milliseconds since 1970: when this process began, and when it last gave a sign of life. */
  readonly started: number;
  readonly updated: number;
  readonly step: number;
  /** Null where there is no end. */
  readonly totalSteps: number | null;
  readonly stepsPerEpoch: number | null;
  /** In progress, from 1. */
  readonly epoch: number;
  /** Over the epoch so far, as {@link FitProgress} has them. */
  readonly imagesPerSecond: number;
  readonly dataWait: number;
  /** Without steps that were not finite. */
  readonly loss: number;
  readonly top1: number;
  /** Steps since the start of the run that changed nothing because they were not finite. */
  readonly skippedSteps: number;
  /** Of training, without evaluations; null before the first step. */
  readonly secondsLeft: number | null;
  readonly device: string;
  /** Bytes: resident memory of the process, and what the device has held at most. */
  readonly memory: { readonly resident: number; readonly devicePeak: number };
  /** Images left out because they cannot be read: how many, and some of them with the reason. */
  readonly skipped: {
    readonly count: number;
    readonly some: readonly (readonly [file: string, reason: string])[];
  };
  /** What a person should know, newest last. */
  readonly notices: readonly string[];
}

const folderName = 'live';
const statusFile = 'status.json';
const samplesFile = 'samples.json';

/** Milliseconds between signs of life, and between sheets of samples. */
export const heartbeat = 2000;
const sampleInterval = 30_000;

const mostSkipped = 50;
const mostNotices = 20;

async function read<T>(run: string, name: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(join(run, folderName, name), 'utf8')) as T;
  } catch {
    return undefined; // not there, or damaged: it will be replaced
  }
}

/** Undefined where the run was never watched over, or its file is damaged. */
export const readLiveStatus = (run: string): Promise<LiveStatus | undefined> => read(run, statusFile);
export const readSamples = (run: string): Promise<SampleSheet | undefined> => read(run, samplesFile);

/** What a {@link LiveWriter} is told of the run. */
export interface LiveParts {
  readonly folder: string;
  readonly backend: Backend;
  readonly classes: readonly string[];
  /** Images left out so far. */
  readonly skipped: () => ReadonlyMap<string, string>;
  /** Told of the first error. */
  readonly failed: (error: unknown) => void;
}

/** Writes live/ while a training runs. */
export class LiveWriter {
  readonly #parts: LiveParts;
  readonly #started = Date.now();
  readonly #notices: string[] = [];
  #state: LiveState = 'starting';
  #message: string | undefined;
  #progress: FitProgress | undefined;
  #timer: NodeJS.Timeout | undefined;
  #sampled = Number.NEGATIVE_INFINITY;
  #last: Promise<void> = Promise.resolve();
  #writing = 0;
  #broken = false;

  constructor(parts: LiveParts) {
    this.#parts = parts;
  }

  /** Signs of life from now on. */
  start(): void {
    this.#write(statusFile, () => this.#status());
    this.#timer = setInterval(() => this.#beat(), heartbeat);
    this.#timer.unref();
  }

  enter(state: LiveState): void {
    this.#state = state;
  }

  progress(progress: FitProgress): void {
    this.#progress = progress;
  }

  notice(message: string): void {
    this.#notices.push(message);
    if (this.#notices.length > mostNotices) this.#notices.shift();
  }

  /** A batch on its way to the device. Copies a few images now and then. */
  batch(batch: Batch, step: number): void {
    const now = performance.now();
    if (this.#broken || now - this.#sampled < sampleInterval) return;
    this.#sampled = now;
    const sheet = sampleSheet(batch, step, this.#parts.classes);
    sheet.catch(() => undefined); // told where it is written
    this.#write(samplesFile, () => sheet);
  }

  /** The last sign of life. */
  async end(state: LiveState, message?: string): Promise<void> {
    clearInterval(this.#timer);
    this.#state = state;
    this.#message = message;
    this.#write(statusFile, () => this.#status());
    await this.#last;
  }

  #beat(): void {
    if (this.#writing === 0) this.#write(statusFile, () => this.#status());
  }

  #status(): LiveStatus {
    const { backend, skipped } = this.#parts;
    const at = this.#progress;
    const left = at === undefined ? Number.NaN : (at.totalSteps - at.step) * at.batchSeconds;
    const total = at?.totalSteps;
    const all = skipped();
    const some: (readonly [string, string])[] = [];
    for (const entry of all) {
      if (some.length === mostSkipped) break;
      some.push(entry);
    }
    return {
      state: this.#state,
      ...(this.#message === undefined ? {} : { message: this.#message }),
      pid: process.pid,
      host: hostname(),
      started: this.#started,
      updated: Date.now(),
      step: at?.step ?? 0,
      totalSteps: total !== undefined && Number.isFinite(total) ? total : null,
      stepsPerEpoch: at?.stepsPerEpoch ?? null,
      epoch: at?.epoch ?? 0,
      imagesPerSecond: at?.imagesPerSecond ?? 0,
      dataWait: at?.dataWait ?? 0,
      loss: at?.loss ?? 0,
      top1: at?.top1 ?? 0,
      skippedSteps: at?.skippedSteps ?? 0,
      secondsLeft: Number.isFinite(left) ? left : null,
      device: backend.name,
      memory: { resident: process.memoryUsage.rss(), devicePeak: backend.memory().peak },
      skipped: { count: all.size, some },
      notices: this.#notices,
    };
  }

  /** One file after the other, each replaced whole. Without a sync: what a crash takes is written again. */
  #write(name: string, content: () => object | Promise<object>): void {
    this.#writing += 1;
    this.#last = this.#last.then(async () => {
      try {
        if (this.#broken) return;
        const folder = join(this.#parts.folder, folderName);
        await mkdir(folder).catch(() => undefined); // it is there, or the next line says what is wrong
        const temporary = join(folder, `.${name}.tmp`);
        await writeFile(temporary, JSON.stringify(await content()));
        await rename(temporary, join(folder, name));
      } catch (error) {
        this.#broken = true;
        this.#parts.failed(error);
      } finally {
        this.#writing -= 1;
      }
    });
  }
}
