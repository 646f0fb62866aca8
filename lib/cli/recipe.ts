// How a model is trained, as flags: optimizer, schedule, augmentation; their defaults and what does not go together.

import { type Command, Option } from 'commander';
import {
  adam,
  constant,
  cosineDecay,
  exponentialDecay,
  type OptimizerSpec,
  rmsprop,
  type Schedule,
  sgd,
  stepDecay,
  withWarmup,
} from '../index.ts';
import { UsageError } from './failure.ts';
import { boolean, integer, real } from './flags.ts';

/** Flags of the recipe. */
export interface RecipeFlags {
  readonly batch: number;
  readonly epochs?: number;
  readonly steps?: number;
  readonly optimizer: 'sgd' | 'rmsprop' | 'adam';
  readonly lr?: number;
  readonly momentum?: number;
  readonly rho?: number;
  readonly epsilon?: number;
  readonly epsilonOutside: boolean;
  readonly weightDecay: number;
  readonly schedule: 'constant' | 'exponential' | 'step' | 'cosine';
  readonly warmup: number;
  readonly polyak: number;
  readonly dropout: number;
  readonly batchNormMomentum: number;
  readonly labelSmoothing: number;
  readonly loss: 'softmax' | 'sigmoid';
  readonly augment?: 'inception' | 'light' | 'none';
  readonly color: boolean;
  readonly shuffle: boolean;
}

/** Learning rates where none is given: those of Keras. The paper's belong to its recipes and large batches. */
const learningRates = { sgd: 0.01, rmsprop: 0.001, adam: 0.001 } as const;

export function withRecipeFlags(command: Command): Command {
  return command
    .option('--batch <n>', 'images per step', integer(1), 32)
    .option('--epochs <n>', 'how long in all (default: 10, without --steps)', integer(1))
    .option('--steps <n>', 'how long in all', integer(1))
    .addOption(
      new Option('--optimizer <name>', 'how gradients become updates')
        .choices(['sgd', 'rmsprop', 'adam'])
        .default('sgd'),
    )
    .option(
      '--lr <rate>',
      'learning rate (default: sgd 0.01, rmsprop 0.001, adam 0.001)',
      real(0, undefined, true),
    )
    .option('--momentum <m>', 'of sgd and rmsprop (default: 0.9)', real(0, 1))
    .option('--rho <r>', 'of rmsprop (default: 0.9)', real(0, 1))
    .option('--epsilon <e>', 'of rmsprop and adam (default: 1e-7)', real(0, undefined, true))
    .option(
      '--epsilon-outside',
      "rmsprop as PyTorch: epsilon outside the root, and PyTorch's defaults",
      false,
    )
    .option('--weight-decay <l>', 'L2, on kernels only; the printed loss excludes it', real(0), 0)
    .addOption(
      new Option('--schedule <name>', 'exponential: 0.94 every 2 epochs; step: a tenth at epochs 30, 60, 80')
        .choices(['constant', 'exponential', 'step', 'cosine'])
        .default('constant'),
    )
    .option('--warmup <steps>', 'steps over which the rate rises', integer(0), 0)
    .option('--polyak <decay>', 'average at evaluation; 0 turns it off', real(0, 1), 0.9999)
    .option('--dropout <rate>', 'before the classifier', real(0, 1), 0.5)
    .option(
      '--batch-norm-momentum <m>',
      'share of the old running statistics kept at a step; 0.9 for trainings of a few hundred steps',
      real(0, 1),
      0.99,
    )
    .option('--label-smoothing <s>', 'share of the target that is spread over all classes', real(0, 1), 0)
    .addOption(
      new Option('--loss <kind>', 'sigmoid: many labels per image')
        .choices(['softmax', 'sigmoid'])
        .default('softmax'),
    )
    .addOption(
      new Option('--augment <kind>', 'default: inception; none for float32 arrays').choices([
        'inception',
        'light',
        'none',
      ]),
    )
    .option('--color', 'random brightness, contrast, saturation and hue', false)
    .option('--shuffle <true|false>', 'another order each epoch', boolean, true);
}

/** The optimizer of the flags. @throws UsageError for a flag that it does not have */
export function optimizerOf(flags: RecipeFlags): OptimizerSpec {
  const { optimizer, momentum, rho, epsilon, epsilonOutside } = flags;
  const given: Readonly<Record<string, boolean>> = {
    '--momentum': momentum !== undefined,
    '--rho': rho !== undefined,
    '--epsilon': epsilon !== undefined,
    '--epsilon-outside': epsilonOutside,
  };
  const taken = {
    sgd: ['--momentum'],
    rmsprop: ['--momentum', '--rho', '--epsilon', '--epsilon-outside'],
    adam: ['--epsilon'],
  }[optimizer];
  const stray = Object.keys(given).find((name) => given[name] === true && !taken.includes(name));
  if (stray !== undefined) {
    throw new UsageError(`${stray} is not a flag of --optimizer ${optimizer}; it takes ${taken.join(', ')}`);
  }
  const some = {
    ...(momentum === undefined ? {} : { momentum }),
    ...(rho === undefined ? {} : { rho }),
    ...(epsilon === undefined ? {} : { epsilon }),
  };
  if (optimizer === 'rmsprop') return rmsprop({ ...some, epsilonOutside });
  return optimizer === 'adam' ? adam(some) : sgd(some);
}

/** The learning rate that the schedule starts from. */
export const learningRateOf = ({ optimizer, lr }: Pick<RecipeFlags, 'optimizer' | 'lr'>): number =>
  lr ?? learningRates[optimizer];

/** The learning rate over time. */
export function scheduleOf(flags: RecipeFlags): Schedule {
  const { schedule, warmup } = flags;
  const initial = learningRateOf(flags);
  const rates: Readonly<Record<RecipeFlags['schedule'], () => Schedule>> = {
    constant: () => constant(initial),
    exponential: () => exponentialDecay({ initial, rate: 0.94, everyEpochs: 2 }),
    step: () => stepDecay({ initial, rate: 0.1, epochs: [30, 60, 80] }),
    cosine: () => cosineDecay({ initial }),
  };
  const rate = rates[schedule]();
  return warmup > 0 ? withWarmup(warmup, rate) : rate;
}
