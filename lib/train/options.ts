// Options of training: what may be said, what holds if nothing is said, and what is refused.

import { isDeviceName } from '../backend/devices.ts';
import { type Precision, precisions } from '../classify/precision.ts';
import { ArgumentError } from '../core/errors.ts';
import { seedKey } from '../core/philox.ts';
import type { Batch, Dataset } from '../data/batch.ts';
import { type Augmentation, checkAmount, checkAugmentation, checkInteger, maxMixing } from '../data/batch.ts';
import type { LossScaleOptions, LossScaleReading } from '../optim/lossScaler.ts';
import { type OptimizerSpec, sgd } from '../optim/optimizer.ts';
import { constant, type Schedule } from '../optim/schedule.ts';
import type { Monitor } from './best.ts';
import type { Json } from './checkpoint.ts';
import type { LossKind } from './evaluate.ts';
import type { EpochRecord, MetricsLine, StepRecord } from './metrics.ts';

/** Options of a trainer. */
export interface TrainerOptions {
  /** `auto`, `cpu`, `cuda`, `cuda:<n>` or `reference`. Default `auto`. */
  readonly device?: string;
  /** CPU threads; default: all that the process may use. */
  readonly threads?: number;
  /** Only algorithms that give the same bits every time. Default false. */
  readonly deterministic?: boolean;
  /** What is computed in 16 bits, and what is not: {@link Precision}. Default `auto`. */
  readonly precision?: Precision;
  /** Of the loss in fp16; in other precisions there is no scale. Default: PyTorch's. */
  readonly lossScale?: LossScaleOptions;
  /** Default: `sgd({ momentum: 0.9 })`. */
  readonly optimizer?: OptimizerSpec;
  /** L2 penalty λ: adds λw to the gradient of convolution and dense kernels only. Default 0. */
  readonly weightDecay?: number;
  /** Default: constant 0.01. */
  readonly schedule?: Schedule;
  /** Decay of the Polyak average, in force as min(polyak, (1 + n) / (10 + n)) at update n; 0: none. Default 0.9999. */
  readonly polyak?: number;
  /** Default 0. */
  readonly labelSmoothing?: number;
  /** Default 'softmax'; 'sigmoid' for many labels per image. */
  readonly loss?: LossKind;
  /** Weight of each class in the loss, by label: loss = Σ weight[label] · loss / n, as Keras. Default: all 1. */
  readonly classWeights?: readonly number[];
  /** Enters first weights, order, augmentation and dropout. From 0 to 2^53 - 1. Default 0. */
  readonly seed?: number;
  /** Images per batch. Default 32. */
  readonly batchSize?: number;
  /**
   * Batches per step: their gradients are averaged before the update, as if they were one batch; only normalization sees each
   * batch for itself. Default 1.
   */
  readonly accumulate?: number;
  /**
   * Gradients whose norm, over all parameters together and without weight decay, is larger are shortened to it. Default: none
   * is.
   */
  readonly clipNorm?: number;
  /** Random changes to training images. Default: what the data set was made with. */
  readonly augment?: Augmentation;
  /** Random colour of training images. Default: what the data set was made with. */
  readonly color?: boolean;
  /** Probability that a rectangle of a training image is filled with noise: `BatchOptions.erasing`. Default 0. */
  readonly erasing?: number;
  /**
   * Mixes training images, and their labels in the loss: `BatchOptions.mixup` and `cutmix`. The loss of an image is
   * share · loss(own label) + (1 - share) · loss(other label). Default 0: not at all.
   */
  readonly mixup?: number;
  readonly cutmix?: number;
  /** Whether the order changes at random each epoch. Default true. */
  readonly shuffle?: boolean;
  /** Images decoded at the same time. Default: by the number of processors. Changes no result. */
  readonly workers?: number;
  /**
   * 'compiled': a step is one native call, and so is the network in evaluation; 'eager': op by op, for looking inside.
   * Default 'compiled'.
   */
  readonly mode?: 'compiled' | 'eager';
  /** Steps between lines of metrics.jsonl. Default 10. */
  readonly logEvery?: number;
}

/** Options of one training. */
export interface FitOptions {
  /** Evaluated after each epoch and at the end, raw and averaged. */
  readonly validation?: Dataset;
  /** How long to train: this or `steps`, counted from the start of the run also when it is resumed. Default: 1 epoch. */
  readonly epochs?: number;
  /** How long to train, in place of `epochs`. */
  readonly steps?: number;
  /** Folder of the run: config.json, metrics.jsonl, checkpoints. Default: nothing is written. */
  readonly out?: string;
  /** Goes on from the newest whole checkpoint in `out`, exactly where it stopped. Default false. */
  readonly resume?: boolean;
  /** Steps between checkpoints, beside those after each epoch and at the end. Default: none. */
  readonly checkpointEvery?: number;
  /** Newest checkpoints that are kept, beside the best by validation. Default 3. */
  readonly keep?: number;
  /** Ends the training after so many epochs in a row without a better one by validation. Default: never. */
  readonly patience?: number;
  /**
   * What epochs are judged by, of the average where one is kept. Default 'top1' (of equal ones the lower loss), for many labels
   * 'map'.
   */
  readonly monitor?: Monitor;
  /** Put into config.json beside what the trainer knows. */
  readonly config?: { readonly [key: string]: Json };
  /** Stops at the next step, with a checkpoint if `out` is set; `fit` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called for every step, in order, once its loss is known: one or two steps later. */
  readonly onStep?: (record: StepRecord, progress: FitProgress) => void;
  /** Called after each epoch and its validation, and at the end of a run within one. */
  readonly onEpoch?: (record: EpochRecord, progress: FitProgress) => void;
  /** Called with every line of metrics.jsonl, also where there is no `out`; before `onStep` or `onEpoch` of the same. */
  readonly onLine?: (line: MetricsLine, progress: FitProgress) => void;
  /** Called with each batch as it goes to the device. What it keeps it must copy before it returns. */
  readonly onBatch?: (batch: Batch, step: number) => void;
  /** Called with what a person should know: a damaged checkpoint passed over, where a run continues. */
  readonly onNotice?: (message: string) => void;
}

/** Where a training is. */
export interface FitProgress {
  /** Steps done since the start of the run. */
  readonly step: number;
  /** Steps of the whole run; Infinity where the data do not say how many batches they have. */
  readonly totalSteps: number;
  /** Undefined where the data do not say how many batches they have. */
  readonly stepsPerEpoch: number | undefined;
  /** Epoch in progress, from 1. */
  readonly epoch: number;
  /** Over the epoch so far. */
  readonly imagesPerSecond: number;
  /** Seconds per step, over the epoch so far. */
  readonly batchSeconds: number;
  readonly loss: number;
  readonly top1: number;
  /** Fraction of the epoch's training time in which the device had nothing to do because it waited for a batch. */
  readonly dataWait: number;
  /** In fp16: the scale of the next step's loss, and the steps that were skipped since the start of the run. */
  readonly lossScale?: LossScaleReading;
  /** Steps since the start of the run that changed nothing because they were not finite. */
  readonly skippedSteps: number;
  /** Images left out so far because they cannot be read. */
  readonly skipped: number;
}

/** What to train on: a data set, or batches of one's own; one iteration over them is an epoch. */
export type TrainingData = Dataset | AsyncIterable<Batch>;

export const isDataset = (data: TrainingData): data is Dataset => 'batches' in data;

/** {@link TrainerOptions}, checked and complete. */
export interface TrainerSettings
  extends Required<
    Omit<TrainerOptions, 'threads' | 'classWeights' | 'augment' | 'color' | 'workers' | 'clipNorm'>
  > {
  readonly clipNorm: number | undefined;
  readonly threads: number | undefined;
  readonly classWeights: readonly number[] | undefined;
  readonly augment: Augmentation | undefined;
  readonly color: boolean | undefined;
  readonly workers: number | undefined;
}

function fraction(name: string, value: number): number {
  if (!(value >= 0 && value < 1))
    throw new ArgumentError(`${name}: expected a number in [0, 1), got ${value}`);
  return value;
}

function oneOf<T extends string>(name: string, value: T, accepted: readonly T[]): T {
  if (!accepted.includes(value)) {
    throw new ArgumentError(`${name}: expected one of ${accepted.join(', ')}, got ${JSON.stringify(value)}`);
  }
  return value;
}

/** Checks the options and fills in what is not said. @throws ArgumentError */
export function trainerSettings(options: TrainerOptions, classes: number): TrainerSettings {
  const device = options.device ?? 'auto';
  if (!isDeviceName(device)) {
    throw new ArgumentError(
      `device: expected auto, cpu, cuda, cuda:<n> or reference, got ${JSON.stringify(device)}`,
    );
  }
  const precision = oneOf('precision', options.precision ?? 'auto', precisions);
  const weightDecay = options.weightDecay ?? 0;
  if (!(weightDecay >= 0 && weightDecay < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError(`weightDecay: expected a number of at least 0, got ${weightDecay}`);
  }
  const { classWeights, clipNorm } = options;
  if (clipNorm !== undefined && !(clipNorm > 0 && clipNorm < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError(`clipNorm: expected a number above 0, got ${clipNorm}`);
  }
  const loss = oneOf('loss', options.loss ?? 'softmax', ['softmax', 'sigmoid']);
  if (classWeights !== undefined) {
    if (loss === 'sigmoid') throw new ArgumentError("classWeights: they need loss 'softmax', got 'sigmoid'");
    if (
      classWeights.length !== classes ||
      classWeights.some((weight) => !(weight >= 0 && weight < Infinity))
    ) {
      throw new ArgumentError(
        `classWeights: expected ${classes} numbers of at least 0, got [${classWeights.join(', ')}]`,
      );
    }
  }
  const seed = options.seed ?? 0;
  seedKey(seed);
  return {
    device,
    threads: options.threads,
    deterministic: options.deterministic ?? false,
    precision,
    lossScale: options.lossScale ?? {},
    optimizer: options.optimizer ?? sgd({ momentum: 0.9 }),
    weightDecay,
    schedule: options.schedule ?? constant(0.01),
    polyak: fraction('polyak', options.polyak ?? 0.9999),
    labelSmoothing: fraction('labelSmoothing', options.labelSmoothing ?? 0),
    loss,
    classWeights,
    seed,
    batchSize: checkInteger('batchSize', options.batchSize ?? 32, 1),
    accumulate: checkInteger('accumulate', options.accumulate ?? 1, 1),
    clipNorm,
    augment: options.augment === undefined ? undefined : checkAugmentation(options.augment),
    color: options.color,
    erasing: checkAmount('erasing', options.erasing ?? 0, 1),
    mixup: checkAmount('mixup', options.mixup ?? 0, maxMixing),
    cutmix: checkAmount('cutmix', options.cutmix ?? 0, maxMixing),
    shuffle: options.shuffle ?? true,
    workers: options.workers,
    mode: oneOf('mode', options.mode ?? 'compiled', ['compiled', 'eager']),
    logEvery: checkInteger('logEvery', options.logEvery ?? 10, 1),
  };
}
