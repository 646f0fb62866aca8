// Trains the variants of experiments, each with every seed, one after the other. Each run goes on where it was killed; what is
// finished stays as result.json, without its checkpoints, for every experiment that has the same variant.

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../lib/cli/failure.ts';
import {
  createClassifier,
  DataError,
  type EpochRecord,
  imageFolder,
  learningRateOf,
  type Precision,
  type PresetName,
  presets,
  type Recipe,
  Trainer,
  trainerOptionsOf,
} from '../../lib/index.ts';
import { readRun } from '../../lib/report/runs.ts';
import { writeWhole } from '../support/results.ts';
import type { Variant } from './definitions.ts';
import { linkFraction } from './fraction.ts';

/** What all runs in a folder have in common, and what decides their results. */
export interface TrainingSettings {
  /** Folder with train/ and validation/. */
  readonly data: string;
  /** Share of the training images of each class. */
  readonly fraction: number;
  readonly size: number;
  readonly preset: PresetName;
  readonly epochs: number;
  /** Images per step. */
  readonly batch: number;
  /** In place of the preset's. */
  readonly lr: number | null;
}

/** Where and how it is computed; changes results by rounding at most. */
export interface Place {
  readonly device: string;
  readonly precision: Precision;
  readonly threads: number | undefined;
  readonly workers: number | undefined;
}

/** A finished run. */
export interface Outcome {
  readonly variant: string;
  readonly seed: number;
  readonly parameters: number;
  readonly stepsPerEpoch: number;
  readonly trainingImages: number;
  readonly validationImages: number;
  readonly classes: number;
  readonly device: string;
  readonly precision: string;
  readonly epochs: readonly EpochRecord[];
}

/** The preset for a network: the paper's recipes differ between the two in weight decay. */
export function recipeFor(
  preset: PresetName,
  arch: Variant['arch'],
  { lr, batch }: TrainingSettings,
): Recipe {
  const own = preset.replace(
    /^(xception|inception-v3)-/,
    arch === 'xception' ? 'xception-' : 'inception-v3-',
  );
  const recipe: Recipe = presets[own as PresetName];
  return { ...recipe, batch, ...(lr === null ? {} : { lr }) };
}

/** Notes what results in a folder have in common, or refuses to mix them with others. @throws UsageError */
export function keepSettings(folder: string, settings: object): void {
  const file = join(folder, 'settings.json');
  mkdirSync(folder, { recursive: true });
  if (!existsSync(file)) {
    writeWhole(file, `${JSON.stringify(settings, undefined, 2)}\n`);
    return;
  }
  const before = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const differences = Object.entries(settings).flatMap(([name, value]) =>
    JSON.stringify(before[name]) === JSON.stringify(value)
      ? []
      : [`${name} was ${JSON.stringify(before[name])}, is ${JSON.stringify(value)}`],
  );
  if (differences.length > 0) {
    throw new UsageError(
      `${folder}: begun with other settings (${differences.join('; ')}); expected the same, or another --out`,
    );
  }
}

const resultFile = (run: string): string => join(run, 'result.json');

/** The outcome of a finished run, or undefined. */
export function readOutcome(run: string): Outcome | undefined {
  const file = resultFile(run);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Outcome) : undefined;
}

/** The folder of all runs below `--out`, which experiments share. */
export const runsFolder = (out: string): string => join(out, 'trained');

/** The folder of a run in that of all. */
export const runFolder = (runs: string, variant: Variant, seed: number): string =>
  join(runs, `${variant.id}-seed${seed}`);

/** What is told while it goes on, and what stops it. */
export interface RunEvents {
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Trains one variant with one seed, from where it was left; a finished run is only read. Runs of the same seed see the same
 * images in the same order, changed in the same way, and layers of the same name begin with the same weights.
 * @param runs folder of all runs @throws the signal's reason; DataError; NonFiniteLossError
 */
export async function trainVariant(
  runs: string,
  variant: Variant,
  seed: number,
  settings: TrainingSettings,
  place: Place,
  { say, signal }: RunEvents,
): Promise<Outcome> {
  const out = runFolder(runs, variant, seed);
  const done = readOutcome(out);
  if (done !== undefined) {
    dropCheckpoints(out); // it may have been killed right before
    return done;
  }
  const { data, fraction, size, preset, epochs } = settings;
  const recipe = recipeFor(preset, variant.arch, settings);
  const train = linkFraction(join(data, 'train'), join(runs, 'images'), fraction);
  const training = imageFolder(train, { size });
  const validation = imageFolder(join(data, 'validation'), { size, classes: training.classes });
  if (training.length < settings.batch) {
    throw new DataError(`${train}: ${training.length} images do not fill a batch of ${settings.batch}`, {
      file: train,
    });
  }
  using model = createClassifier(variant.arch, {
    classes: training.classes,
    size,
    variant: variant.options,
    ...(recipe.dropout === undefined ? {} : { dropout: recipe.dropout }),
    ...(recipe.batchNormMomentum === undefined ? {} : { batchNormMomentum: recipe.batchNormMomentum }),
  });
  const { device, precision, threads, workers } = place;
  using trainer = new Trainer(model, {
    augment: 'inception',
    ...trainerOptionsOf(recipe),
    device,
    precision,
    seed,
    ...(threads === undefined ? {} : { threads }),
    ...(workers === undefined ? {} : { workers }),
  });
  const resume = existsSync(out);
  say(`${variant.label}, seed ${seed}${resume ? ', continued' : ''}`);
  await trainer.fit(training, {
    validation,
    epochs,
    out,
    resume,
    keep: 1,
    signal,
    config: { command: { data, preset, lr: learningRateOf(recipe), schedule: recipe.schedule } },
    onEpoch: ({ epoch, train: { loss }, validation_average, validation: raw, images_per_second }) => {
      const top1 = (validation_average ?? raw)?.top1 ?? Number.NaN;
      say(
        `  epoch ${epoch} of ${epochs}: loss ${loss.toFixed(3)}, validation top-1 ${(100 * top1).toFixed(1)} %, ` +
          `${images_per_second.toFixed(1)} images/s`,
      );
    },
  });
  const { config, epochs: records } = await readRun(out);
  const outcome: Outcome = {
    variant: variant.id,
    seed,
    parameters: [...model.network.parameters().values()].reduce((sum, { size: n }) => sum + n, 0),
    stepsPerEpoch: Math.floor(training.length / settings.batch),
    trainingImages: training.length,
    validationImages: validation.length,
    classes: training.classes.length,
    device: String(config.backend),
    precision: String(config.precision),
    epochs: records,
  };
  writeWhole(resultFile(out), `${JSON.stringify(outcome, undefined, 2)}\n`);
  dropCheckpoints(out);
  return outcome;
}

const dropCheckpoints = (run: string): void =>
  rmSync(join(run, 'checkpoints'), { recursive: true, force: true });
