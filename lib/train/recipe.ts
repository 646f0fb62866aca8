// A recipe: everything that is chosen about a training, as plain values that a file, a flag or a preset can hold.

import type { Augmentation } from '../data/batch.ts';
import { adam, type OptimizerSpec, rmsprop, sgd } from '../optim/optimizer.ts';
import {
  constant,
  cosineDecay,
  exponentialDecay,
  type Schedule,
  stepDecay,
  withWarmup,
} from '../optim/schedule.ts';
import type { LossKind } from './evaluate.ts';
import type { TrainerOptions } from './options.ts';

/** How the rate falls: see {@link scheduleOf}. */
export type ScheduleName = 'constant' | 'exponential' | 'step' | 'cosine';

/** How gradients become updates, and how large. */
export interface OptimizerRecipe {
  /** Which one: {@link sgd}, {@link rmsprop}, {@link adam}. */
  readonly optimizer: 'sgd' | 'rmsprop' | 'adam';
  /** The first rate. Default: that of Keras, sgd 0.01, rmsprop and adam 0.001. */
  readonly lr?: number;
  /** Of sgd and rmsprop. Default: that of the optimizer. */
  readonly momentum?: number;
  /** Of rmsprop. Default: that of the optimizer. */
  readonly rho?: number;
  /** Of rmsprop and adam. Default: that of the optimizer. */
  readonly epsilon?: number;
  /** Of rmsprop: PyTorch's form in place of Keras'. Default false. */
  readonly epsilonOutside?: boolean;
}

/** How the learning rate goes. */
export interface ScheduleRecipe extends Pick<OptimizerRecipe, 'optimizer' | 'lr'> {
  /** How it falls. */
  readonly schedule: ScheduleName;
  /** Of `exponential`: the factor of each decay. Default 0.94. */
  readonly decayRate?: number;
  /** Of `exponential`: epochs between decays. Default 2, unless `decaySamples` is given. */
  readonly decayEpochs?: number;
  /** Of `exponential`: training samples between decays. */
  readonly decaySamples?: number;
  /** Steps over which the rate rises. */
  readonly warmup?: number;
}

/** A whole recipe; what is left out holds the trainer's or the network's default. */
export interface Recipe extends OptimizerRecipe, ScheduleRecipe {
  /** The network that it was made for. */
  readonly arch?: string;
  /** How long to train. */
  readonly epochs?: number;
  /** Images per step. */
  readonly batch?: number;
  /** See {@link TrainerOptions.weightDecay}. */
  readonly weightDecay?: number;
  /** See {@link TrainerOptions.polyak}. */
  readonly polyak?: number;
  /** Rate before the classifier: an option of the network. */
  readonly dropout?: number;
  /** Share of the running statistics that is kept at each step: an option of the network. */
  readonly batchNormMomentum?: number;
  /** See {@link TrainerOptions.labelSmoothing}. */
  readonly labelSmoothing?: number;
  /** See {@link TrainerOptions.loss}. */
  readonly loss?: LossKind;
  /** See {@link TrainerOptions.augment}. */
  readonly augment?: Augmentation;
  /** See {@link TrainerOptions.color}. */
  readonly color?: boolean;
}

/** Learning rates where none is given: those of Keras. The paper's belong to its recipes and large batches. */
const learningRates = { sgd: 0.01, rmsprop: 0.001, adam: 0.001 } as const;

/** The learning rate that the schedule starts from. */
export const learningRateOf = ({ optimizer, lr }: Pick<OptimizerRecipe, 'optimizer' | 'lr'>): number =>
  lr ?? learningRates[optimizer];

/** The optimizer of a recipe. What the optimizer does not have is left aside. */
export function optimizerOf(recipe: OptimizerRecipe): OptimizerSpec {
  const { optimizer, momentum, rho, epsilon, epsilonOutside = false } = recipe;
  const some = {
    ...(momentum === undefined ? {} : { momentum }),
    ...(rho === undefined ? {} : { rho }),
    ...(epsilon === undefined ? {} : { epsilon }),
  };
  if (optimizer === 'rmsprop') return rmsprop({ ...some, epsilonOutside });
  return optimizer === 'adam' ? adam(some) : sgd(some);
}

/**
 * The learning rate over time. `exponential`: `decayRate` every `decayEpochs` or `decaySamples`, in steps; `step`: a tenth
 * at epochs 30, 60 and 80; `cosine`: along half a cosine to 0 over the whole training.
 * @throws ArgumentError for intervals that are not positive, or two of them
 */
export function scheduleOf(recipe: ScheduleRecipe): Schedule {
  const { schedule, warmup = 0, decayRate = 0.94, decayEpochs, decaySamples } = recipe;
  const initial = learningRateOf(recipe);
  const interval = {
    ...(decaySamples === undefined ? { everyEpochs: decayEpochs ?? 2 } : { everySamples: decaySamples }),
    ...(decayEpochs === undefined ? {} : { everyEpochs: decayEpochs }),
  };
  const rates: Readonly<Record<ScheduleName, () => Schedule>> = {
    constant: () => constant(initial),
    exponential: () => exponentialDecay({ initial, rate: decayRate, ...interval }),
    step: () => stepDecay({ initial, rate: 0.1, epochs: [30, 60, 80] }),
    cosine: () => cosineDecay({ initial }),
  };
  const rate = rates[schedule]();
  return warmup > 0 ? withWarmup(warmup, rate) : rate;
}

/** What of a recipe a trainer takes; network, dropout and number of epochs are for whoever makes the model and calls `fit`. */
export function trainerOptionsOf(recipe: Recipe): TrainerOptions {
  const { batch, weightDecay, polyak, labelSmoothing, loss, augment, color } = recipe;
  return {
    optimizer: optimizerOf(recipe),
    schedule: scheduleOf(recipe),
    ...(batch === undefined ? {} : { batchSize: batch }),
    ...(weightDecay === undefined ? {} : { weightDecay }),
    ...(polyak === undefined ? {} : { polyak }),
    ...(labelSmoothing === undefined ? {} : { labelSmoothing }),
    ...(loss === undefined ? {} : { loss }),
    ...(augment === undefined ? {} : { augment }),
    ...(color === undefined ? {} : { color }),
  };
}
