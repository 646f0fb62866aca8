// The folder of a run: config.json, metrics.jsonl and checkpoints; how a training is put into it and taken up again.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Classifier } from '../classify/classifier.ts';
import { CheckpointError, DataError } from '../core/errors.ts';
import type { Variable } from '../core/tensor.ts';
import { makeFolder, removeTemporaryFiles, writeError, writeFileAtomic } from '../interop/atomic.ts';
import { readSafetensors } from '../interop/safetensors.ts';
import { toFloat32 } from '../interop/storedTensor.ts';
import type { WeightFile } from '../interop/weights.ts';
import {
  type Checkpoint,
  checkpointFolder,
  hasCheckpoints,
  type Json,
  linkBest,
  newestCheckpoint,
  type RunState,
  tidyCheckpoints,
} from './checkpoint.ts';
import { CheckpointWriter } from './checkpointWriter.ts';
import { MetricsLog } from './metrics.ts';
import {
  averageFile,
  modelFile,
  optimizerFile,
  type Snapshot,
  type TrainedValues,
  trainingState,
} from './snapshot.ts';

const configFile = 'config.json';

type WeightTensors = WeightFile['tensors'];

/** The config.json of a run, or undefined where there is none. @throws DataError if it is not JSON */
export async function readRunConfig(run: string): Promise<Record<string, Json> | undefined> {
  const file = join(run, configFile);
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Record<string, Json>;
  } catch (cause) {
    throw new DataError(`${file}: not valid JSON`, { file, cause });
  }
}

/** Whether a run was started in a folder: what it writes is there, or nothing yet, since it was killed at once. */
async function mayHoldRun(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => undefined);
  if (names === undefined) return false;
  return names.length === 0 || names.some((name) => name.includes(configFile) || name === 'checkpoints');
}

/** Schedules are kept as samples, which say little to a person: the first rate does, where it differs. */
function describeSchedules(then: Json | undefined, now: Json | undefined): string {
  const [before, after] = [then, now].map((rates) => (Array.isArray(rates) ? (rates[0] as Json) : undefined));
  return before === after || before === undefined || after === undefined
    ? 'the schedule of the learning rate is another'
    : `the learning rate began at ${before}, would begin at ${after}`;
}

/** Says which settings of a run differ from those it is continued with. */
function refuseDifferences(run: string, then: RunState['config'], now: RunState['config']): void {
  const names = new Set([...Object.keys(then), ...Object.keys(now)]);
  const differences = [...names].flatMap((name) => {
    const [before, after] = [JSON.stringify(then[name]), JSON.stringify(now[name])];
    if (before === after) return [];
    if (name === 'schedule') return [describeSchedules(then[name], now[name])];
    return [`${name} was ${before ?? 'not set'}, is ${after ?? 'not set'}`];
  });
  if (differences.length === 0) return;
  throw new CheckpointError(`${run}: cannot be resumed with other settings: ${differences.join('; ')}`, {
    file: run,
    code: 'CONFIG_MISMATCH',
  });
}

async function weightsOf(file: string): Promise<WeightTensors> {
  const { tensors } = await readSafetensors(file);
  return new Map([...tensors].map(([name, value]) => [name, { shape: value.shape, data: toFloat32(value) }]));
}

/** Reads the values of variables by name. Those that `start` at zero may be missing: earlier versions had none. */
async function fill(
  file: string,
  variables: ReadonlyMap<string, Variable>,
  start: ReadonlySet<string> = new Set(),
): Promise<void> {
  const stored = await weightsOf(file);
  for (const [name, variable] of variables) {
    const found = stored.get(name);
    if (found === undefined && start.has(name)) continue;
    if (found === undefined || found.data.length !== variable.size) {
      throw new CheckpointError(`${file}: ${name} is missing or of another shape`, { file });
    }
    variable.set(found.data);
  }
}

/** A run's folder, open for writing. */
export class RunFolder {
  readonly folder: string;
  readonly metrics: MetricsLog;
  /** What the run goes on from; undefined: it starts. */
  readonly resumed: Checkpoint | undefined;
  readonly #keep: number;
  readonly #writer: CheckpointWriter;
  #lastStep: number | undefined;
  /** Settled when nothing is being written. */
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  private constructor(
    folder: string,
    metrics: MetricsLog,
    resumed: Checkpoint | undefined,
    keep: number,
    writer: CheckpointWriter,
  ) {
    this.#writer = writer;
    this.folder = folder;
    this.metrics = metrics;
    this.resumed = resumed;
    this.#keep = keep;
    this.#lastStep = resumed?.state.step;
  }

  /**
   * Makes the folder, or takes up the run in it.
   * @throws CheckpointError where there is a run already and `resume` is not set, where there is none and it is, where
   *   settings differ, and where the folder cannot be written
   */
  static async open(
    folder: string,
    options: {
      resume: boolean;
      keep: number;
      decisive: RunState['config'];
      config: { readonly [key: string]: Json };
      notice: (message: string) => void;
      writer?: CheckpointWriter;
    },
  ): Promise<RunFolder> {
    const { resume, keep, decisive, config, notice, writer = new CheckpointWriter() } = options;
    if (!resume && (await hasCheckpoints(folder))) {
      throw new CheckpointError(
        `${folder}: holds a run already; continue it with --resume (resume: true), or choose another folder`,
        { file: folder, code: 'RUN_EXISTS' },
      );
    }
    let resumed: Checkpoint | undefined;
    if (resume) {
      if (!(await mayHoldRun(folder))) {
        throw new CheckpointError(`${folder}: no run to resume there`, { file: folder, code: 'NO_RUN' });
      }
      const found = await newestCheckpoint(folder);
      resumed = found.checkpoint;
      if (resumed === undefined && found.damaged.length > 0) {
        throw new CheckpointError(`${folder}: no checkpoint in it is whole (${found.damaged[0]?.reason})`, {
          file: folder,
          code: 'CHECKPOINT_DAMAGED',
        });
      }
      if (resumed !== undefined) refuseDifferences(folder, resumed.state.config, decisive);
      for (const { folder: damaged, reason } of found.damaged) {
        notice(`${reason}; it is put aside as ${damaged}.damaged, and the checkpoint before it is used`);
      }
      await tidyCheckpoints(folder, found.damaged);
      notice(
        resumed === undefined
          ? `${folder}: no checkpoint yet; starting at step 0`
          : `${folder}: continuing after step ${resumed.state.step}`,
      );
    }
    try {
      await makeFolder(folder);
      await removeTemporaryFiles(folder);
    } catch (error) {
      throw writeError(folder, error);
    }
    const text = `${JSON.stringify({ ...config, ...decisive }, undefined, 2)}\n`;
    await writeFileAtomic(join(folder, configFile), [new TextEncoder().encode(text)]);
    const metrics = await MetricsLog.open(join(folder, 'metrics.jsonl'), resumed?.state.metricsBytes ?? 0);
    return new RunFolder(folder, metrics, resumed, keep, writer);
  }

  /** Gives the model the weights of the checkpoint that the run goes on from. */
  async restoreModel(model: Classifier): Promise<void> {
    const file = join((this.resumed as Checkpoint).folder, modelFile);
    model.loadWeights(await weightsOf(file), { file });
  }

  /** Gives optimizer and average their values of that checkpoint. */
  async restoreTraining(values: TrainedValues): Promise<void> {
    const { folder } = this.resumed as Checkpoint;
    const { polyak } = values;
    await fill(join(folder, optimizerFile), trainingState(values), new Set(['gate/skipped']));
    if (polyak !== undefined) await fill(join(folder, averageFile), polyak.averages);
  }

  /** Steps of the newest checkpoint, or undefined before the first. */
  get lastStep(): number | undefined {
    return this.#lastStep;
  }

  /** Folder of the newest checkpoint, or undefined before the first. */
  get lastCheckpoint(): string | undefined {
    return this.#lastStep === undefined ? undefined : checkpointFolder(this.folder, this.#lastStep);
  }

  /**
   * Begins to write a checkpoint, which goes on beside the training; one that cannot be written is said, and the training goes
   * on. One at a time: {@link written} has to be waited for before.
   */
  save(snapshot: Promise<Snapshot>, state: Omit<RunState, 'metricsBytes'>): void {
    const metricsBytes = this.metrics.bytes;
    this.#writing = this.#write(snapshot, { ...state, metricsBytes }).then(
      () => {
        this.#lastStep = state.step;
        this.#failure = undefined;
      },
      (error: unknown) => {
        this.#failure = error;
      },
    );
  }

  async #write(snapshot: Promise<Snapshot>, state: RunState): Promise<void> {
    const copied = await snapshot;
    await this.metrics.flush();
    await this.#writer.write({ run: this.folder, snapshot: copied, state, keep: this.#keep });
  }

  /**
   * Waits for the checkpoint that is being written.
   * @returns why it could not be written; undefined: all is well
   * @throws NonFiniteLossError if a weight was not finite; what is no failure to write
   */
  async written(): Promise<CheckpointError | undefined> {
    await this.#writing;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure === undefined || failure instanceof CheckpointError) return failure;
    throw failure;
  }

  /** Has `checkpoints/best` lead to a checkpoint that is there. */
  async linkBest(step: number): Promise<void> {
    await linkBest(this.folder, step).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#writer.close();
    await this.metrics.close();
  }
}
