// Writes checkpoints beside the training: large ones in a thread of their own, small ones where they are, since their
// hashes take less time than a thread takes to start.

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { CheckpointError, NonFiniteLossError } from '../core/errors.ts';
import type { RunState } from './checkpoint.ts';
import { blocksOf, type Snapshot, writeSnapshot } from './snapshot.ts';

/** What the thread is given. */
export interface WriteJob {
  readonly run: string;
  readonly snapshot: Snapshot;
  readonly state: RunState;
  readonly keep: number;
}

/** What it answers; a failure with `step` is a weight that is not finite. */
export interface WriteAnswer {
  readonly failure?: {
    readonly message: string;
    readonly step?: number;
    readonly code?: string;
    readonly file?: string;
  };
}

/** Snapshots of this many bytes are written by a thread of their own. */
const largeBytes = 16 * 2 ** 20;

/** This file's neighbour, as sources or as built. Threads do not inherit the loader that sources need. */
function startThread(): Worker {
  const source = import.meta.url.endsWith('.ts');
  const url = new URL(`./checkpointWorker.${source ? 'ts' : 'js'}`, import.meta.url);
  const worker = source ? new Worker(withLoader(url), { eval: true, execArgv: [] }) : new Worker(url);
  worker.unref();
  return worker;
}

function withLoader(url: URL): string {
  const { resolve } = createRequire(import.meta.url);
  const loader = pathToFileURL(resolve('tsx/esm/api').replace(/cjs$/, 'mjs')).href;
  const [first, then] = [loader, url.href].map((it) => JSON.stringify(it));
  return `import(${first}).then(({ register }) => { register(); return import(${then}); })`;
}

/** Writes one checkpoint at a time. */
export class CheckpointWriter {
  readonly #large: number;
  #worker: Worker | undefined;

  /** @param large bytes from which on a thread of its own writes; for tests */
  constructor(large = largeBytes) {
    this.#large = large;
  }

  /**
   * Writes a checkpoint. The snapshot is given away: its arrays must not be used any more.
   * @throws CheckpointError; NonFiniteLossError if a weight is not finite
   */
  async write(job: WriteJob): Promise<void> {
    const blocks = [...blocksOf(job.snapshot)];
    const bytes = blocks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (bytes < this.#large) {
      await writeSnapshot(job.run, job.snapshot, job.state, job.keep);
      return;
    }
    this.#worker ??= startThread();
    const worker = this.#worker;
    worker.ref(); // the process must not end before this is written
    const answered = new AbortController(); // listeners of this checkpoint do not outlast it
    const { signal } = answered;
    try {
      worker.postMessage(job, blocks);
      const [answer] = (await Promise.race([
        once(worker, 'message', { signal }),
        once(worker, 'exit', { signal }).then(([code]) =>
          Promise.reject(new Error(`its thread ended with ${code}`)),
        ),
      ])) as [WriteAnswer];
      raise(answer);
    } catch (error) {
      if (error instanceof CheckpointError || error instanceof NonFiniteLossError) throw error;
      this.#worker = undefined; // the next checkpoint has a fresh one
      await worker.terminate();
      const reason = error instanceof Error ? error.message : String(error);
      const message = `${job.run}: checkpoint of step ${job.state.step}: not written: ${reason}`;
      throw new CheckpointError(message, { file: job.run, code: 'WRITE_FAILED', cause: error });
    } finally {
      answered.abort();
      worker.unref();
    }
  }

  /** Ends the thread, which must have nothing to do. */
  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function raise({ failure }: WriteAnswer): void {
  if (failure === undefined) return;
  const { message, step, code, file } = failure;
  if (step !== undefined) throw new NonFiniteLossError(message, step);
  throw new CheckpointError(message, {
    ...(file === undefined ? {} : { file }),
    ...(code === undefined ? {} : { code }),
  });
}
