// What is written beside metrics.jsonl while a run goes on, for people: TensorBoard's events and the folder live/. It hangs
// on what a training calls, and no error of it reaches the training.

import { EventLog } from './eventLog.ts';
import { type LiveParts, LiveWriter } from './live.ts';
import type { FitOptions } from './options.ts';
import { readRunConfig } from './runFolder.ts';

/** Records one call of `fit` into the folder of its run. */
export class RunRecorder {
  readonly #events: EventLog;
  readonly #live: LiveWriter;
  readonly #options: FitOptions;

  constructor(
    folder: string,
    options: FitOptions,
    parts: Pick<LiveParts, 'backend' | 'classes' | 'skipped'>,
  ) {
    const failed = (what: string) => (error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      options.onNotice?.(`${what}: no longer written: ${reason}; the training goes on`);
    };
    this.#options = options;
    this.#events = new EventLog(
      folder,
      () => readRunConfig(folder),
      failed(`${folder}: events for TensorBoard`),
    );
    this.#live = new LiveWriter({ ...parts, folder, failed: failed(`${folder}: the folder live`) });
  }

  /** The options with what records beside what their owner asked to be called. */
  get hooked(): FitOptions {
    const { onBatch, onLine, onStep, onNotice } = this.#options;
    return {
      ...this.#options,
      onBatch: (batch, step) => {
        this.#live.enter('training');
        this.#events.begin(step);
        this.#live.batch(batch, step);
        onBatch?.(batch, step);
      },
      onLine: (line, progress) => {
        this.#events.line(line, progress.step);
        onLine?.(line, progress);
      },
      onStep: (record, progress) => {
        this.#live.progress(progress);
        onStep?.(record, progress);
      },
      onNotice: (message) => {
        this.#live.notice(message);
        onNotice?.(message);
      },
    };
  }

  /** An evaluation, which is then what the run is doing. */
  async evaluating<T>(body: () => Promise<T>): Promise<T> {
    this.#live.enter('evaluating');
    return await body();
  }

  /** A training, from its start to its end. */
  async during<T>(body: () => Promise<T>): Promise<T> {
    this.#live.start();
    try {
      const result = await body();
      await this.#live.end('finished');
      return result;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      await this.#live.end(this.#options.signal?.aborted === true ? 'stopped' : 'failed', message);
      throw error;
    } finally {
      await this.#events.close();
    }
  }
}
