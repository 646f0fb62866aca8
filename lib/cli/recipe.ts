// How a model is trained, as flags: optimizer, schedule, augmentation; their defaults and what does not go together.

import { type Command, Option } from 'commander';
import { type Augmentation, augmentations, type PresetName, presetNames, presets } from '../index.ts';
import { UsageError } from './failure.ts';
import { boolean, integer, real } from './flags.ts';

/** Flags of the recipe. */
export interface RecipeFlags {
  readonly preset?: PresetName;
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
  readonly decayRate?: number;
  readonly decayEpochs?: number;
  readonly decaySamples?: number;
  readonly warmup: number;
  readonly polyak: number;
  readonly dropout: number;
  readonly batchNormMomentum: number;
  readonly labelSmoothing: number;
  readonly loss: 'softmax' | 'sigmoid';
  readonly augment?: Augmentation;
  readonly color: boolean;
  readonly shuffle: boolean;
}

export function withRecipeFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--preset <name>',
        "the paper's recipe, or one for little data; flags beside it win",
      ).choices(presetNames),
    )
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
      new Option('--schedule <name>', 'step: a tenth at epochs 30, 60, 80; cosine: to 0 at the end')
        .choices(['constant', 'exponential', 'step', 'cosine'])
        .default('constant'),
    )
    .option('--decay-rate <r>', 'of --schedule exponential: the factor (default: 0.94)', real(0, 1, true))
    .option(
      '--decay-epochs <n>',
      'of --schedule exponential: epochs between decays (default: 2)',
      real(0, undefined, true),
    )
    .option('--decay-samples <n>', 'of --schedule exponential: samples between decays', integer(1))
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
      new Option('--augment <kind>', 'default: inception; none for float32 arrays').choices(augmentations),
    )
    .option('--color', 'random brightness, contrast, saturation and hue', false)
    .option('--shuffle <true|false>', 'another order each epoch', boolean, true);
}

/** What the optimizer of the flags does not have. @throws UsageError */
export function checkOptimizer(flags: RecipeFlags): void {
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
}

/** What the schedule of the flags does not have. @throws UsageError */
export function checkSchedule(flags: RecipeFlags): void {
  const { schedule, decayRate, decayEpochs, decaySamples } = flags;
  const given: Readonly<Record<string, number | undefined>> = {
    '--decay-rate': decayRate,
    '--decay-epochs': decayEpochs,
    '--decay-samples': decaySamples,
  };
  const stray = Object.keys(given).find((name) => given[name] !== undefined);
  if (stray !== undefined && schedule !== 'exponential') {
    throw new UsageError(`${stray} is a flag of --schedule exponential, not of ${schedule}`);
  }
  if (decayEpochs !== undefined && decaySamples !== undefined) {
    throw new UsageError('--decay-epochs and --decay-samples exclude each other; expected one of them');
  }
}

/** Flags of a recipe, as a preset gives them. */
type Flags = Readonly<Record<string, unknown>>;

/** Values that mean something only beside another: where that one is said otherwise, the preset's do not hold. */
const belongings: readonly (readonly [name: string, dependents: readonly string[]])[] = [
  ['optimizer', ['lr', 'momentum', 'rho', 'epsilon', 'epsilonOutside']],
  ['schedule', ['decayRate', 'decayEpochs', 'decaySamples', 'warmup']],
  ['decayEpochs', ['decaySamples']],
  ['decaySamples', ['decayEpochs']],
  ['steps', ['epochs']],
];

/**
 * What a preset says beside the flags that were given, which win.
 * @param given the value of a flag that was given, or undefined
 */
export function presetFlags(name: PresetName, given: (flag: string) => unknown): Flags {
  const recipe: Flags = presets[name];
  const left: Record<string, unknown> = { ...recipe };
  for (const flag of Object.keys(recipe)) if (given(flag) !== undefined) delete left[flag];
  for (const [flag, dependents] of belongings) {
    const value = given(flag);
    if (value === undefined || value === recipe[flag]) continue;
    for (const dependent of dependents) delete left[dependent];
  }
  return left;
}
