// When checkpoints of a training are written, and what happens where they cannot be: the training is worth more than a
// checkpoint. It goes on, and so do the attempts; only at its end there is nothing else left to do.

import { setTimeout as wait } from 'node:timers/promises';
import type { CheckpointError } from '../core/errors.ts';
import type { RunState } from './checkpoint.ts';
import type { RunFolder } from './runFolder.ts';
import { type Snapshot, snapshotOf, type TrainedValues } from './snapshot.ts';

/** Milliseconds before the last checkpoint of a training, which could not be written, is tried again. */
const retries = [1000, 5000, 20_000];

/** A run's state at a step, without what the folder knows. */
export type StateOfRun = Omit<RunState, 'metricsBytes'>;

/** Writes the checkpoints of one training into its folder; does nothing where there is none. */
export class Saving {
  readonly #run: RunFolder | undefined;
  readonly #values: TrainedValues;
  readonly #notice: (message: string) => void;

  constructor(run: RunFolder | undefined, values: TrainedValues, notice: (message: string) => void) {
    this.#run = run;
    this.#values = values;
    this.#notice = notice;
  }

  /**
   * Waits until nothing is being written: checkpoints are written one at a time, so a step with which one is due waits for the
   * one before. Says if that has failed.
   * @throws NonFiniteLossError if one of its weights was not finite
   */
  async ready(): Promise<void> {
    const failure = await this.#run?.written();
    if (failure === undefined) return;
    this.#notice(`${failure.message}; the training goes on, and the next checkpoint is tried`);
  }

  /** The values after the steps that are queued now, for a checkpoint that {@link begin} writes once their state is known. */
  snapshot(): Promise<Snapshot> | undefined {
    if (this.#run === undefined) return undefined;
    const snapshot = snapshotOf(this.#values);
    snapshot.catch(() => undefined); // it is reported when it is written
    return snapshot;
  }

  /** Begins to write a checkpoint of a snapshot; {@link ready} has to be waited for before it is taken. */
  begin(snapshot: Promise<Snapshot>, state: StateOfRun): void {
    this.#run?.save(snapshot, state);
  }

  /** Begins to write a checkpoint, unless there is one of that step. All steps must be done. */
  async save(state: StateOfRun): Promise<void> {
    await this.ready();
    const run = this.#run;
    if (run === undefined) return;
    if (run.lastStep !== state.step) run.save(snapshotOf(this.#values), state);
    else if (state.best?.step === state.step) await run.linkBest(state.step); // stopped during this epoch's evaluation
  }

  /** As {@link save}, waits for it, and tries again where it fails. @throws CheckpointError where all attempts fail */
  async saveForGood(state: StateOfRun): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    await this.ready();
    for (const delay of [...retries, undefined]) {
      await this.save(state);
      const failure: CheckpointError | undefined = await run.written();
      if (failure === undefined) return;
      if (delay === undefined) throw failure;
      this.#notice(`${failure.message}; trying again`);
      await wait(delay);
    }
  }
}
