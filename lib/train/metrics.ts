// metrics.jsonl: one line per logged step, one per epoch; cut back to a checkpoint when a run is continued.

import { type FileHandle, open } from 'node:fs/promises';
import { writeError } from '../interop/atomic.ts';
import type { Monitor } from './best.ts';

/** A logged step. */
export interface StepRecord {
  /** From 1. */
  readonly step: number;
  /** Mean loss of the batch before this step's update, without weight decay. */
  readonly loss: number;
  /** Fraction of the batch's images whose best class was right, before this step's update. */
  readonly top1: number;
  /** Learning rate of the update. */
  readonly lr: number;
  /** In fp16: the scale of the next step's loss. */
  readonly loss_scale?: number;
  /** With clipping: norm of the gradient before it was shortened, without weight decay. */
  readonly gradient_norm?: number;
  /**
   * Steps since the start of the run that changed nothing because a loss or a gradient was not finite; in fp16 always said,
   * else from the first one on. The loss of such a step may be null in JSON.
   */
  readonly skipped_steps?: number;
}

/** A logged step as metrics.jsonl has it, with what was measured since the line before. */
export interface StepLine extends StepRecord {
  /** Of training alone; evaluation and checkpoints do not count. */
  readonly images_per_second: number;
  /** Fraction of the training time in which the device had nothing to do because it waited for a batch. */
  readonly data_wait: number;
}

/** Accuracies are fractions; `loss` is the mean over the images, without label smoothing and weight decay. */
export interface Scores {
  /** The best class is right. */
  readonly top1: number;
  /** The right class is among the best five. */
  readonly top5: number;
  /** Mean over the images. */
  readonly loss: number;
  /** For many labels at once: mean average precision. */
  readonly map?: number;
}

/** What is said after an epoch, and at the end of a run. */
export interface EpochRecord {
  /** Epochs done: 1, 2, …; a fraction where the run ends within one. */
  readonly epoch: number;
  /** Means over the epoch's steps, each before its update and with augmentation and dropout. */
  readonly train: { readonly loss: number; readonly top1: number };
  /** Of the weights themselves, where there are validation data. */
  readonly validation?: Scores;
  /** The same of the Polyak average. */
  readonly validation_average?: Scores;
  /** Of training alone; evaluation and checkpoints do not count. */
  readonly images_per_second: number;
  /** Fraction of the training time in which the device had nothing to do because it waited for a batch. */
  readonly data_wait: number;
  /** On the best epoch so far by validation: what it was judged by. */
  readonly best?: Monitor;
  /** On the last epoch of a training that was ended because none had been better for so many epochs. */
  readonly stopped_early?: number;
}

/** A line of metrics.jsonl. */
export type MetricsLine = StepLine | EpochRecord;

export const isEpochRecord = (line: MetricsLine): line is EpochRecord => 'epoch' in line;

/**
 * A line as it was written. JSON has no number for what is not finite, and null in its place: the loss of a skipped step is NaN.
 * @throws SyntaxError where it is damaged
 */
export function parseMetricsLine(text: string): MetricsLine {
  const line: unknown = JSON.parse(text, (_, value: unknown) => (value === null ? Number.NaN : value));
  if (typeof line !== 'object' || line === null || Array.isArray(line)) {
    throw new SyntaxError('expected an object');
  }
  return line as MetricsLine;
}

/**
 * The file, open for appending. Lines are written in order, without blocking. What cannot be written (a full disk) is kept,
 * and tried again with the next line.
 */
export class MetricsLog {
  readonly #file: string;
  readonly #handle: FileHandle;
  /** Length with everything in `#waiting`. */
  #bytes: number;
  /** Length of what is in the file for good; a half-written line may follow. */
  #written: number;
  #waiting: Uint8Array[] = [];
  /** Whether something may follow behind `#written` that has to go. */
  #tail = true;
  #last: Promise<void> = Promise.resolve();
  #error: unknown;

  private constructor(file: string, handle: FileHandle, bytes: number) {
    this.#file = file;
    this.#handle = handle;
    this.#bytes = this.#written = bytes;
  }

  /**
   * Opens or makes the file. What is behind its first `keepBytes` bytes goes when the first line is written, so that
   * resuming a run that is finished takes nothing away.
   */
  static async open(file: string, keepBytes: number): Promise<MetricsLog> {
    try {
      const handle = await open(file, 'a');
      return new MetricsLog(file, handle, Math.min(keepBytes, (await handle.stat()).size));
    } catch (error) {
      throw writeError(file, error);
    }
  }

  /** Length with everything written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  write(line: MetricsLine): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
    this.#bytes += bytes.byteLength;
    this.#waiting.push(bytes);
    this.#last = this.#last.then(() => this.#drain());
  }

  async #drain(): Promise<void> {
    const lines = this.#waiting;
    if (lines.length === 0) return;
    this.#waiting = [];
    try {
      if (this.#tail) await this.#handle.truncate(this.#written);
      this.#tail = true;
      const all = Buffer.concat(lines);
      await this.#handle.writeFile(all);
      this.#written += all.byteLength;
      this.#tail = false;
      this.#error = undefined;
    } catch (error) {
      this.#waiting = [...lines, ...this.#waiting];
      this.#error = error; // said at the next flush
    }
  }

  /** Waits until everything is on the disk. @throws CheckpointError if it could not be written */
  async flush(): Promise<void> {
    this.#last = this.#last.then(() => this.#drain());
    await this.#last;
    if (this.#error !== undefined) throw writeError(this.#file, this.#error);
    await this.#handle.sync().catch((error: unknown) => {
      throw writeError(this.#file, error);
    });
  }

  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#handle.close();
    }
  }
}
