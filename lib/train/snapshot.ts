// What a checkpoint holds, in host memory: copied from the device between two steps, written while training goes on.

import type { Classifier } from '../classify/classifier.ts';
import { NonFiniteLossError } from '../core/errors.ts';
import { readAll } from '../core/flat.ts';
import type { Variable } from '../core/tensor.ts';
import { writeSafetensors } from '../interop/safetensors.ts';
import type { StoredTensor } from '../interop/storedTensor.ts';
import { type WeightFile, writeWeights } from '../interop/weights.ts';
import type { GradientGate } from '../optim/gradientGate.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import type { PolyakAverage } from '../optim/polyak.ts';
import { type FileWriter, type RunState, writeCheckpoint } from './checkpoint.ts';

/** The values that training changes. */
export interface TrainedValues {
  readonly model: Classifier;
  readonly optimizer: Optimizer;
  readonly polyak: PolyakAverage | undefined;
  readonly gate: GradientGate;
}

/** What the optimizer's file holds: its state, and the gate's. */
export const trainingState = ({ optimizer, gate }: TrainedValues): Map<string, Variable> =>
  new Map([...optimizer.state(), ...gate.state()]);

export const modelFile = 'model.safetensors';
export const averageFile = 'average.safetensors';
export const optimizerFile = 'optimizer.safetensors';

/** Plain data, which another thread can be given. */
export interface Snapshot {
  readonly weights: WeightFile;
  readonly averages: ReadonlyMap<string, StoredTensor> | undefined;
  readonly training: ReadonlyMap<string, StoredTensor>;
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

/**
 * Copies everything as it is after the steps that are queued now. The copies are queued behind these before this returns, so
 * that later steps do not change them, and nothing is waited for.
 */
export async function snapshotOf(values: TrainedValues): Promise<Snapshot> {
  const { model, polyak } = values;
  const parts = [
    model.toWeightFile(),
    polyak === undefined ? undefined : storedOf(polyak.averages),
    storedOf(trainingState(values)),
  ] as const;
  const [weights, averages, training] = await Promise.all(parts);
  return { weights, averages, training };
}

/** The blocks of memory that the tensors of a snapshot lie in. */
export function blocksOf({ weights, averages, training }: Snapshot): Set<ArrayBuffer> {
  const blocks = new Set<ArrayBuffer>();
  for (const tensors of [weights.tensors, averages ?? new Map<string, StoredTensor>(), training]) {
    for (const { data } of tensors.values()) blocks.add(data.buffer as ArrayBuffer);
  }
  return blocks;
}

/** A training that went wrong without its loss showing it must not push out the last good checkpoint. */
function refuseNonFinite(tensors: WeightFile['tensors'], step: number): void {
  for (const [name, { data }] of tensors) {
    let sum = 0;
    for (const value of data) sum += value * 0; // 0, or NaN from the first value that is not finite
    if (sum !== 0) {
      throw new NonFiniteLossError(`step ${step}: ${name} is not finite; no checkpoint is written`, step);
    }
  }
}

/**
 * Writes a checkpoint.
 * @throws CheckpointError as {@link writeCheckpoint}; NonFiniteLossError if a weight is not finite
 */
export async function writeSnapshot(
  run: string,
  { weights, averages, training }: Snapshot,
  state: RunState,
  keep: number,
): Promise<void> {
  refuseNonFinite(weights.tensors, state.step);
  const files = new Map<string, FileWriter>([[modelFile, (file) => writeWeights(file, weights)]]);
  if (averages !== undefined) {
    const tensors = new Map(weights.tensors);
    for (const [name, { shape, data }] of averages) tensors.set(name, { shape, data: data as Float32Array });
    files.set(averageFile, (file) => writeWeights(file, { ...weights, tensors }));
  }
  files.set(optimizerFile, (file) => writeSafetensors(file, training));
  await writeCheckpoint(run, files, state, keep);
}
