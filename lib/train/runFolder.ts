// The folder of a run: config.json, metrics.jsonl and checkpoints; how a training is put into it and taken up again.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Classifier } from '../classify/classifier.ts';
import { CheckpointError, DataError, NonFiniteLossError } from '../core/errors.ts';
import { readAll } from '../core/flat.ts';
import type { Variable } from '../core/tensor.ts';
import { makeFolder, removeTemporaryFiles, writeError, writeFileAtomic } from '../interop/atomic.ts';
import { readSafetensors, writeSafetensors } from '../interop/safetensors.ts';
import { type StoredTensor, toFloat32 } from '../interop/storedTensor.ts';
import { type WeightFile, writeWeights } from '../interop/weights.ts';
import type { LossScaler } from '../optim/lossScaler.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import type { PolyakAverage } from '../optim/polyak.ts';
import {
  type Checkpoint,
  checkpointFolder,
  type FileWriter,
  hasCheckpoints,
  type Json,
  newestCheckpoint,
  type RunState,
  tidyCheckpoints,
  writeCheckpoint,
} from './checkpoint.ts';
import { MetricsLog } from './metrics.ts';

/** The values that training changes. */
export interface TrainedValues {
  readonly model: Classifier;
  readonly optimizer: Optimizer;
  readonly polyak: PolyakAverage | undefined;
  /** In fp16. */
  readonly scaler: LossScaler | undefined;
}

/** What the optimizer's file holds: its state, and the loss scale's. */
const trainingState = ({ optimizer, scaler }: TrainedValues): Map<string, Variable> =>
  new Map([...optimizer.state(), ...(scaler?.state() ?? [])]);

const modelFile = 'model.safetensors';
const averageFile = 'average.safetensors';
const optimizerFile = 'optimizer.safetensors';
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

async function storedOf(variables: ReadonlyMap<string, Variable>): Promise<Map<string, StoredTensor>> {
  const data = (await readAll([...variables.values()])) as Float32Array[];
  return new Map(
    [...variables].map(([name, { shape }], i) => [
      name,
      { dtype: 'f32', shape, data: data[i] as Float32Array },
    ]),
  );
}

async function weightsOf(file: string): Promise<WeightTensors> {
  const { tensors } = await readSafetensors(file);
  return new Map([...tensors].map(([name, value]) => [name, { shape: value.shape, data: toFloat32(value) }]));
}

/** Reads the values of variables by name. */
async function fill(file: string, variables: ReadonlyMap<string, Variable>): Promise<void> {
  const stored = await weightsOf(file);
  for (const [name, variable] of variables) {
    const found = stored.get(name);
    if (found === undefined || found.data.length !== variable.size) {
      throw new CheckpointError(`${file}: ${name} is missing or of another shape`, { file });
    }
    variable.set(found.data);
  }
}

/** A training that went wrong without its loss showing it must not push out the last good checkpoint. */
function refuseNonFinite(tensors: WeightTensors, step: number): void {
  for (const [name, { data }] of tensors) {
    let sum = 0;
    for (const value of data) sum += value * 0; // 0, or NaN from the first value that is not finite
    if (sum !== 0) {
      throw new NonFiniteLossError(`step ${step}: ${name} is not finite; no checkpoint is written`, step);
    }
  }
}

/** A run's folder, open for writing. */
export class RunFolder {
  readonly folder: string;
  readonly metrics: MetricsLog;
  /** What the run goes on from; undefined: it starts. */
  readonly resumed: Checkpoint | undefined;
  readonly #keep: number;
  #lastStep: number | undefined;

  private constructor(folder: string, metrics: MetricsLog, resumed: Checkpoint | undefined, keep: number) {
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
    },
  ): Promise<RunFolder> {
    const { resume, keep, decisive, config, notice } = options;
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
    return new RunFolder(folder, metrics, resumed, keep);
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
    await fill(join(folder, optimizerFile), trainingState(values));
    if (polyak !== undefined) await fill(join(folder, averageFile), polyak.averages);
  }

  /** Folder of the newest checkpoint, or undefined before the first. */
  get lastCheckpoint(): string | undefined {
    return this.#lastStep === undefined ? undefined : checkpointFolder(this.folder, this.#lastStep);
  }

  /** Writes a checkpoint, unless there is one of this step. All steps must be done. */
  async save(values: TrainedValues, state: Omit<RunState, 'metricsBytes'>): Promise<void> {
    if (this.#lastStep === state.step) return;
    const { model, polyak } = values;
    await this.metrics.flush();
    const weights = await model.toWeightFile();
    refuseNonFinite(weights.tensors, state.step);
    const files = new Map<string, FileWriter>([[modelFile, (file) => writeWeights(file, weights)]]);
    if (polyak !== undefined) {
      const tensors = new Map(weights.tensors);
      for (const [name, { shape, data }] of await storedOf(polyak.averages)) {
        tensors.set(name, { shape, data: data as Float32Array });
      }
      files.set(averageFile, (file) => writeWeights(file, { ...weights, tensors }));
    }
    const optimizerState = await storedOf(trainingState(values));
    files.set(optimizerFile, (file) => writeSafetensors(file, optimizerState));
    const metricsBytes = this.metrics.bytes;
    await writeCheckpoint(this.folder, files, { ...state, metricsBytes }, this.#keep);
    this.#lastStep = state.step;
  }

  async close(): Promise<void> {
    await this.metrics.close();
  }
}
