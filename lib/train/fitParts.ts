// What a training is made of: checked before anything is written, and described so that a run is resumed only with the same.

import type { Backend } from '../backend/backend.ts';
import type { Classifier } from '../classify/classifier.ts';
import { precisionOf } from '../classify/precision.ts';
import type { ComputeType } from '../core/dtype.ts';
import { ArgumentError, DataError } from '../core/errors.ts';
import { checkInteger } from '../data/batch.ts';
import type { PolyakAverage } from '../optim/polyak.ts';
import { monitors } from './best.ts';
import type { Json, RunState } from './checkpoint.ts';
import type { Evaluation } from './evaluate.ts';
import { type FitOptions, isDataset, type TrainerSettings, type TrainingData } from './options.ts';

/** Steps in one epoch, where the data say it. */
export function stepsPerEpoch(data: TrainingData, batchSize: number, accumulate = 1): number | undefined {
  if (!isDataset(data)) return undefined;
  const steps = Math.floor(data.length / (batchSize * accumulate));
  if (steps === 0) {
    const filled = accumulate === 1 ? 'one batch' : `the ${accumulate} batches of a step, each`;
    throw new DataError(`training data: ${data.length} images do not fill ${filled} of ${batchSize}`, {
      code: 'TOO_FEW_SAMPLES',
    });
  }
  return steps;
}

/** What a training is made of, beside what `fit` was told. */
export interface FitParts {
  readonly model: Classifier;
  readonly backend: Backend;
  /** What the precision of the settings is on that backend. */
  readonly computeType: ComputeType;
  readonly settings: TrainerSettings;
  readonly data: TrainingData;
  readonly options: FitOptions;
  /** Put into config.json. */
  readonly config: { readonly [key: string]: Json };
  /** Evaluates the model, or its average, on the validation data. */
  readonly evaluate: (
    average: PolyakAverage | undefined,
    signal: AbortSignal | undefined,
  ) => Promise<Evaluation>;
}

/** What the options alone show to be wrong. */
export function checkFit({ model, data, options }: FitParts): void {
  const { epochs, steps, keep = 3, checkpointEvery, resume, out, patience, monitor, validation } = options;
  if (epochs !== undefined && steps !== undefined) {
    throw new ArgumentError('fit: expected epochs or steps, got both');
  }
  if (epochs !== undefined) checkInteger('epochs', epochs, 1);
  if (steps !== undefined) checkInteger('steps', steps, 1);
  checkInteger('keep', keep, 1);
  if (patience !== undefined) {
    checkInteger('patience', patience, 1);
    if (validation === undefined) throw new ArgumentError('fit: patience needs validation data');
  }
  if (monitor !== undefined && !monitors.includes(monitor)) {
    throw new ArgumentError(
      `monitor: expected one of ${monitors.join(', ')}, got ${JSON.stringify(monitor)}`,
    );
  }
  if (checkpointEvery !== undefined) checkInteger('checkpointEvery', checkpointEvery, 1);
  if (resume === true && out === undefined) {
    throw new ArgumentError('fit: resume needs out, the folder of the run');
  }
  if (model.network.trainableParameters().size === 0) {
    throw new ArgumentError(
      'fit: nothing to train: every layer of the model is frozen, or not among the children() of its module',
    );
  }
  const { classes } = model.config;
  for (const [name, set] of [
    ['training', isDataset(data) ? data : undefined],
    ['validation', options.validation],
  ] as const) {
    if (set === undefined || set.classes.length === classes) continue;
    throw new DataError(`${name} data: the model has ${classes} classes, the data ${set.classes.length}`);
  }
}

/** What decides the result of a run; it is resumed only with the same. */
export function decisive({ model, data, settings, computeType }: FitParts): RunState['config'] {
  const { optimizer, weightDecay, polyak, labelSmoothing, loss, classWeights, seed } = settings;
  const { batchSize, accumulate, clipNorm, augment, color, shuffle, lossScale } = settings;
  const { erasing, mixup, cutmix } = settings;
  const frozen = model.network
    .modules()
    .filter(([, layer]) => !layer.trainable && Object.keys(layer.ownParameters()).length > 0);
  return {
    arch: model.config.arch,
    classes: model.config.classes,
    labels: model.config.labels ?? null,
    size: model.config.size,
    options: model.config.options as { readonly [key: string]: Json },
    optimizer: { name: optimizer.name, ...optimizer.settings },
    weightDecay,
    schedule: scheduleProbe(settings),
    polyak,
    labelSmoothing,
    loss,
    classWeights: classWeights ?? null,
    precision: precisionOf(computeType),
    ...(computeType === 'f16' && { lossScale: { ...lossScale } }),
    seed,
    batchSize,
    ...(accumulate > 1 && { accumulate }),
    ...(clipNorm !== undefined && { clipNorm }),
    augment: augment ?? null,
    color: color ?? null,
    ...(erasing > 0 && { erasing }),
    ...(mixup > 0 && { mixup }),
    ...(cutmix > 0 && { cutmix }),
    shuffle,
    frozen: frozen.map(([path]) => path),
    images: isDataset(data) ? data.length : null,
    ...(isDataset(data) && data.shuffling !== undefined && { shuffling: data.shuffling }),
  };
}

/** A schedule as numbers: what it says at a few places, so that two runs' schedules can be compared. */
function scheduleProbe({ schedule }: TrainerSettings): number[] {
  const places = [0, 1, 10, 100, 1000, 10_000, 100_000];
  return places.map((step) =>
    schedule({ step, epoch: step / 10, samples: step * 1000, totalSteps: 100_000 }),
  );
}
