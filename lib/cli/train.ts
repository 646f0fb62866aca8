// `train`: from a folder of images or arrays to a run folder with checkpoints.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import {
  architecture,
  CheckpointError,
  defaultBackend,
  type Json,
  learningRateOf,
  optimizerOf,
  presets,
  readRunConfig,
  readWeights,
  scheduleOf,
  showProgram,
  Trainer,
  type WeightFile,
  writeRunReport,
} from '../index.ts';
import {
  checkPaths,
  type IndexFlags,
  type ShuffleFlags,
  withIndexFlags,
  withShuffleFlags,
} from './dataSets.ts';
import { messageOf, UsageError } from './failure.ts';
import {
  type CommonFlags,
  checkSize,
  integer,
  type ModeFlags,
  modeOf,
  openFlagged,
  variantOf,
  withCommonFlags,
  withModeFlags,
  withModelFlags,
  withVariantFlags,
} from './flags.ts';
import { sayHowManySkipped } from './folders.ts';
import { type ImageFlags, imageOptions, withImageFlags } from './imageFlags.ts';
import { interruptible } from './interrupt.ts';
import { count, print, say } from './output.ts';
import { sayProfile } from './profile.ts';
import { ProgressLine } from './progress.ts';
import { checkOptimizer, checkSchedule, presetFlags, type RecipeFlags, withRecipeFlags } from './recipe.ts';
import { fitFlags, type StepFlags, trainerFlags, withStepFlags } from './stepFlags.ts';
import { openTrainingData } from './trainingData.ts';
import { classifierFor, preprocessingOf, type StartFlags } from './trainingModel.ts';
import { Dashboard, type DashboardFlags, withDashboardFlags } from './watch.ts';
import { readFlagged } from './weights.ts';

interface TrainFlags
  extends CommonFlags,
    ModeFlags,
    RecipeFlags,
    StartFlags,
    StepFlags,
    ImageFlags,
    IndexFlags,
    ShuffleFlags,
    DashboardFlags {
  readonly out?: string;
  readonly validation?: string;
  readonly arrays?: string[];
  readonly resume: boolean;
  readonly checkpointEvery?: number;
  readonly keep: number;
  readonly workers?: number;
  readonly logEvery: number;
  readonly profile: boolean;
  readonly dumpProgram: boolean;
  readonly report: boolean;
}

/** Flags that a resumed run takes from its config.json where they are not given again. */
const remembered = [
  'arch',
  'archOption',
  'classes',
  'size',
  'preset',
  'batch',
  'epochs',
  'steps',
  'optimizer',
  'lr',
  'momentum',
  'rho',
  'epsilon',
  'epsilonOutside',
  'weightDecay',
  'schedule',
  'decayRate',
  'decayEpochs',
  'decaySamples',
  'warmup',
  'polyak',
  'dropout',
  'batchNormMomentum',
  'labelSmoothing',
  'loss',
  'augment',
  'color',
  'erasing',
  'mixup',
  'cutmix',
  'onBadImage',
  'shuffle',
  'shuffleBuffer',
  'seed',
  'validation',
  'arrays',
  'clipNorm',
  'accumulate',
  'patience',
  'monitor',
  'checkpointEvery',
  'keep',
  'logEvery',
  'deterministic',
  'precision',
] as const satisfies readonly (keyof TrainFlags)[];

export function trainCommand(): Command {
  return withCommonFlags(
    withModeFlags(
      withIndexFlags(
        withShuffleFlags(
          withDashboardFlags(
            withStepFlags(
              withImageFlags(withRecipeFlags(withVariantFlags(withModelFlags(new Command('train'))))),
            ),
          ),
        ),
      ),
    ),
  )
    .description('train a classifier')
    .argument(
      '[data...]',
      'folder with train/ and validation/, each with a folder per class or tar shards; or shards',
    )
    .option('--arrays <files...>', 'X.npy Y.npy in place of a folder: images and labels')
    .option(
      '--validation <dir>',
      'folder per class or of shards to evaluate on (default: validation/ in the data)',
    )
    .option('--out <dir>', 'folder of the run (default: the first free of runs/<arch>-<n>)')
    .option('--init <file>', 'start from weights; a classifier of another size is left out')
    .option('--resume', 'continue the run in --out exactly where it stopped', false)
    .option('--checkpoint-every <n>', 'steps, beside the end of each epoch', integer(1))
    .option('--keep <n>', 'newest checkpoints to keep, beside the best by validation', integer(1), 3)
    .option('--workers <n>', 'images decoded at the same time', integer(1))
    .option('--dump-program', 'print the program of a step on standard error before training', false)
    .option('--profile', 'at the end, where the time of a step goes: data, transfer, each op', false)
    .option('--no-report', 'do not write report.html at the end')
    .option('--log-every <n>', 'steps between lines of metrics.jsonl', integer(1), 10)
    .action(async (paths: string[], flags: TrainFlags, command: Command) => {
      await train(paths.length === 0 ? undefined : paths, flags, command);
    });
}

/** The first folder runs/<arch>-<n> that is not there. */
function freeFolder(arch: string): string {
  let n = 1;
  while (existsSync(`runs/${arch}-${n}`)) n += 1;
  return `runs/${arch}-${n}`;
}

/** What the flags alone show to be wrong. */
function checkUsage(data: readonly string[] | undefined, flags: TrainFlags): void {
  if (flags.resume && flags.out === undefined)
    throw new UsageError('--resume needs --out, the folder of the run');
  if (flags.epochs !== undefined && flags.steps !== undefined) {
    throw new UsageError('--epochs and --steps exclude each other; expected one of them');
  }
  if (flags.arrays !== undefined && flags.arrays.length !== 2) {
    throw new UsageError(`--arrays takes two files, X.npy Y.npy; got ${flags.arrays.length}`);
  }
  if (data !== undefined && flags.arrays !== undefined) {
    throw new UsageError('a data folder and --arrays exclude each other; expected one of them');
  }
  if (data === undefined && flags.arrays === undefined && !flags.resume) {
    throw new UsageError('expected a data folder, or --arrays X.npy Y.npy');
  }
  checkPaths(data ?? []);
  if (flags.arch !== undefined || flags.init === undefined) {
    const arch = flags.arch ?? 'xception';
    checkSize(arch, flags.size, variantOf(arch, flags));
  }
  checkOptimizer(flags);
  checkSchedule(flags);
}

/** The flags of a resumed run: those given now, else those that it was started with. */
async function rememberedFlags(
  data: readonly string[] | undefined,
  flags: TrainFlags,
  command: Command,
): Promise<{ data: readonly string[] | undefined; flags: TrainFlags }> {
  const config = await readRunConfig(flags.out as string);
  const before = config?.command as Record<string, Json> | undefined;
  if (before === undefined) return { data, flags };
  // Another preset than the run's counts as if its flags were given: it is refused where it changes the run.
  const anew = flags.preset === undefined || flags.preset === before.preset ? {} : presets[flags.preset];
  const given = (name: string) => command.getOptionValueSource(name) === 'cli' || Object.hasOwn(anew, name);
  const total = given('epochs') || given('steps');
  const kept: Record<string, Json> = {};
  // What `auto` was then: the run goes on as it is, on another device too.
  const then = { ...before, precision: config?.precision ?? null };
  for (const name of remembered) {
    const value = (then as Record<string, Json>)[name];
    if (given(name) || value === null || value === undefined) continue;
    if (total && (name === 'epochs' || name === 'steps')) continue;
    if (data !== undefined && name === 'arrays') continue;
    kept[name] = value;
  }
  if (flags.init === undefined && typeof before.init === 'string') {
    if ((await newestOf(flags.out as string)) === undefined) kept.init = before.init;
  }
  const paths = [before.data].flat().filter((path) => typeof path === 'string');
  return {
    data: data ?? (paths.length === 0 || given('arrays') ? undefined : paths),
    flags: { ...flags, ...kept } as TrainFlags,
  };
}

/** The newest checkpoint of a run, for its rules; undefined where there is none, which the trainer says better. */
const newestOf = (run: string): Promise<WeightFile | undefined> =>
  readWeights(run, { raw: true, warn: () => undefined }).catch(() => undefined);

/** The flags with what their preset says. */
function withPreset(flags: TrainFlags, command: Command): TrainFlags {
  if (flags.preset === undefined) return flags;
  const given = (name: string): unknown =>
    command.getOptionValueSource(name) === 'cli' ? flags[name as keyof TrainFlags] : undefined;
  return { ...flags, ...presetFlags(flags.preset, given) };
}

async function train(
  given: readonly string[] | undefined,
  flagsAlone: TrainFlags,
  command: Command,
): Promise<void> {
  const givenFlags = withPreset(flagsAlone, command);
  checkUsage(given, givenFlags);
  const { data, flags } = givenFlags.resume
    ? await rememberedFlags(given, givenFlags, command)
    : { data: given, flags: givenFlags };
  if (data === undefined && flags.arrays === undefined) {
    throw new CheckpointError(`${flags.out}: no run to resume there`, {
      file: flags.out as string,
      code: 'NO_RUN',
    });
  }
  checkUsage(data, flags);
  const { signal, release } = interruptible('stopping after this step');
  try {
    openFlagged(flags);
    const weights = flags.init === undefined ? undefined : await readFlagged(flags.init, true);
    // A run that was stopped before its first checkpoint begins again with the weights that it began with.
    const before = (flags.resume ? await newestOf(flags.out as string) : undefined) ?? weights;
    const defaultSize = architecture(flags.arch ?? before?.arch ?? 'xception').size;
    const sets = await openTrainingData({
      data,
      arrays: flags.arrays,
      validation: flags.validation,
      classes: flags.classes,
      size: flags.size,
      defaultSize,
      augment: flags.augment,
      color: flags.color,
      loss: flags.loss,
      onBadImage: flags.onBadImage,
      preprocessing: preprocessingOf(before),
      ...(flags.indexCache === undefined ? {} : { indexCache: flags.indexCache }),
      ...(flags.shuffleBuffer === undefined ? {} : { shuffleBuffer: flags.shuffleBuffer }),
    });
    using model = classifierFor(flags, sets.training, sets.named, weights, before);
    const out = flags.out ?? freeFolder(model.config.arch);
    const { device, threads, deterministic, precision, seed, weightDecay, polyak, labelSmoothing, loss } =
      flags;
    using trainer = new Trainer(model, {
      device,
      deterministic,
      precision,
      optimizer: optimizerOf(flags),
      weightDecay,
      schedule: scheduleOf(flags),
      polyak,
      labelSmoothing,
      loss,
      augment: sets.augment,
      color: flags.color,
      seed,
      batchSize: flags.batch,
      shuffle: flags.shuffle,
      mode: modeOf(flags),
      logEvery: flags.logEvery,
      ...trainerFlags(flags),
      ...imageOptions(flags),
      ...(threads === undefined ? {} : { threads }),
      ...(flags.workers === undefined ? {} : { workers: flags.workers }),
    });
    await using dashboard = new Dashboard(out, flags);
    const progress = new ProgressLine(flags.json ? process.stderr : process.stdout);
    const { epochs, steps, checkpointEvery } = flags;
    const length = steps !== undefined ? { steps } : { epochs: epochs ?? 10 };
    if (flags.dumpProgram) say(showProgram(await trainer.program(sets.training)));
    const history = await trainer.fit(sets.training, {
      ...(sets.validation === undefined ? {} : { validation: sets.validation }),
      ...length,
      out,
      resume: flags.resume,
      keep: flags.keep,
      ...fitFlags(flags),
      ...(checkpointEvery === undefined ? {} : { checkpointEvery }),
      config: { command: commandJson(data, { ...flags, ...length, lr: learningRateOf(flags) }) },
      signal,
      onNotice: (message) => {
        progress.end();
        say(message);
      },
      onLine: (line) => {
        if (flags.json) print(line);
      },
      onBatch: () => dashboard.open(),
      onStep: (_, at) => progress.step(at),
      onEpoch: (record) => progress.epoch(record),
    });
    progress.end();
    if (flags.profile) await sayProfile(await trainer.profile(sets.training), history, out);
    if (flags.report && history.steps.length > 0) await report(out, flags, signal);
    sayHowManySkipped(sets.training.skipped);
    const done =
      history.steps.length === 0
        ? `nothing to do: ${count(history.step, 'step')} done already`
        : count(history.step, 'step');
    say(`${done}; the run is in ${out}: depthwise predict IMAGE --weights ${out}`);
  } finally {
    release();
  }
}

/** The page about the run. A training that is done does not fail because of it. */
async function report(out: string, { batch, precision }: TrainFlags, signal: AbortSignal): Promise<void> {
  const file = join(out, 'report.html');
  try {
    await writeRunReport(file, [out], { batchSize: batch, precision, backend: defaultBackend(), signal });
  } catch (error) {
    signal.throwIfAborted();
    say(`${file}: not written: ${messageOf(error, false)}`);
  }
}

/** The flags in force, as config.json keeps them: with absolute paths, so that a run can be resumed from any folder. */
function commandJson(
  data: readonly string[] | undefined,
  flags: TrainFlags,
): { readonly [key: string]: Json } {
  const kept: Record<string, Json> = {};
  for (const name of remembered) kept[name] = (flags[name] as Json | undefined) ?? null;
  const absolute = (path: string | undefined): Json => (path === undefined ? null : resolve(path));
  const paths = data?.map((path) => resolve(path)) ?? [];
  return {
    data: paths.length > 1 ? paths : (paths[0] ?? null),
    init: absolute(flags.init),
    ...kept,
    arrays: flags.arrays?.map((path) => resolve(path)) ?? null,
    validation: absolute(flags.validation),
  };
}
