// `npm run experiments -- figure6|figure9|figure10|table3|segments`: repeats experiments of the paper on a folder of images,
// with one recipe and the same seeds for all variants, and writes one page with the paper's results beside those found.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { Interrupted } from '../lib/cli/failure.ts';
import { checkSize, integer, listOf, real } from '../lib/cli/flags.ts';
import { print, say, table } from '../lib/cli/output.ts';
import {
  architecture,
  closeDevices,
  type Precision,
  type PresetName,
  precisions,
  presetNames,
  presets,
  type Recipe,
} from '../lib/index.ts';
import { isTraining, type TrainingName, trainings } from './experiments/definitions.ts';
import { contrastSentence, contrasts, findingsOf, type VariantFindings } from './experiments/findings.ts';
import { trainingPage } from './experiments/pages.ts';
import { type ExperimentName, experimentNames, paper } from './experiments/paper.ts';
import {
  keepSettings,
  type Outcome,
  recipeFor,
  type TrainingSettings,
  trainVariant,
} from './experiments/runs.ts';
import { measureNetworks, measureSegments, type SpeedSettings } from './experiments/speed.ts';
import { segmentsPage, table3Page } from './experiments/speedPages.ts';
import { peers } from './support/contenders.ts';
import { circumstances } from './support/machine.ts';
import { runMain } from './support/main.ts';
import { resultsFolder, writeJson } from './support/results.ts';

interface Flags {
  readonly data: string;
  readonly out: string;
  readonly results: string;
  readonly preset: PresetName;
  readonly size: number;
  readonly epochs?: number;
  readonly batch?: number;
  readonly lr?: number;
  readonly seeds: number;
  readonly fraction: number;
  readonly device: string;
  readonly precision: Precision;
  readonly threads?: number;
  readonly workers?: number;
  readonly steps: number;
  readonly warmup: number;
  readonly segments: (number | 'channels')[];
  readonly peers: string[];
}

const segmentNumbers = (text: string): (number | 'channels')[] =>
  text.split(',').map((part) => (part === 'channels' ? part : integer(1)(part)));

const fraction = (text: string): number => {
  const value = real(0, undefined, true)(text);
  if (value > 1) throw new InvalidArgumentError('Expected a number above 0, at most 1.');
  return value;
};

const names = peers.map(({ name }) => name);
const command = new Command('experiments')
  .description("the paper's experiments: figures 6, 9 and 10 by training, table 3 and segments by measuring")
  .addArgument(new Argument('<experiments...>', 'one or more, in this order').choices(experimentNames))
  .option('--data <dir>', 'folder with train/ and validation/', 'examples/data/clothing')
  .option('--out <dir>', 'folder of the runs and of the page', 'runs/experiments')
  .option('--results <dir>', 'folder of the figures as JSON', resultsFolder)
  .addOption(
    new Option('--preset <name>', 'the recipe of all variants').choices(presetNames).default('small'),
  )
  .option('--size <pixels>', 'edge of the images', integer(1), 96)
  .option('--epochs <n>', "length of each run (default: the preset's, else 15)", integer(1))
  .option('--batch <n>', "images per step (default: the preset's, else 32)", integer(1))
  .option('--lr <rate>', "the first learning rate (default: the preset's)", real(0, undefined, true))
  .option('--seeds <n>', 'runs of each variant: seeds 0, 1, …', integer(1), 3)
  .option('--fraction <f>', 'share of the training images of each class', fraction, 1)
  .option('--device <name>', 'auto, cpu, cuda or cuda:<n>', 'auto')
  .addOption(new Option('--precision <type>').choices(precisions).default('auto'))
  .option('--threads <n>', 'threads that compute', integer(1))
  .option('--workers <n>', 'images decoded at the same time', integer(1))
  .option('--steps <n>', 'table3, segments: steps that are counted', integer(1), 5)
  .option('--warmup <n>', 'table3, segments: steps before them', integer(0), 2)
  .option('--segments <list>', 'segments: how many, separated by commas', segmentNumbers, [
    ...[1, 2, 4, 8, 16, 32, 64],
    'channels',
  ])
  .option('--peers <names>', `table3: among ${names.join(', ')}; separated by commas`, listOf(names), names)
  .parse();
const flags = command.opts<Flags>();

/** Writes the page and the figures. @returns their paths */
function write(name: ExperimentName, page: string, found: object): string[] {
  const folder = resolve(flags.out, name);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'report.html');
  writeFileSync(file, page);
  return [
    relative('.', file),
    writeJson(join(resolve(flags.results), `experiment-${name}.json`), circumstances('experiments'), found),
  ];
}

/** The recipe in words, for the list of what is different from the paper. */
function recipeWords(settings: TrainingSettings): (readonly [string, string])[] {
  const recipe = recipeFor(settings.preset, 'xception', settings);
  const other = recipeFor(settings.preset, 'inception_v3', settings);
  const { optimizer, momentum, lr, schedule, warmup = 0, weightDecay = 0, dropout, polyak } = recipe;
  const rest = `augmentation ${recipe.augment ?? 'inception'}, label smoothing ${recipe.labelSmoothing ?? 0}`;
  return [
    [
      'optimizer',
      `${optimizer}${momentum === undefined ? '' : `, momentum ${momentum}`} (preset ${settings.preset})`,
    ],
    ['learning rate', `${lr}, ${schedule}${warmup > 0 ? `, rising over ${warmup} steps` : ''}`],
    [
      'weight decay',
      other.weightDecay === recipe.weightDecay
        ? String(weightDecay)
        : `${weightDecay} for Xception, ${other.weightDecay} for Inception V3`,
    ],
    ['dropout', `${dropout ?? 0.5}; ${rest}`],
    ['evaluation', polyak === 0 ? 'the weights themselves' : `Polyak average, decay ${polyak ?? 0.9999}`],
  ];
}

function trainingSettings(): TrainingSettings {
  const recipe: Recipe = presets[flags.preset];
  return {
    data: flags.data,
    fraction: flags.fraction,
    size: flags.size,
    preset: flags.preset,
    epochs: flags.epochs ?? recipe.epochs ?? 15,
    batch: flags.batch ?? recipe.batch ?? 32,
    lr: flags.lr ?? null,
  };
}

/** All variants with all seeds; seed by seed, so that a part of it compares already. */
async function runTraining(experiment: TrainingName, signal: AbortSignal): Promise<void> {
  const variants = trainings[experiment];
  const settings = trainingSettings();
  for (const { arch, options } of variants) checkSize(arch, flags.size, options);
  const folder = resolve(flags.out, experiment);
  keepSettings(folder, settings);
  const { device, precision, threads, workers, seeds } = flags;
  const outcomes: Outcome[] = [];
  let findings: VariantFindings[] = [];
  let files: string[] = [];
  for (let seed = 0; seed < seeds; seed += 1) {
    for (const variant of variants) {
      const place = { device, precision, threads, workers };
      outcomes.push(await trainVariant(folder, variant, seed, settings, place, { say, signal }));
      findings = findingsOf(variants, outcomes);
      const planned = variants.length * seeds;
      const at = circumstances('experiments');
      const words = recipeWords(settings);
      const page = trainingPage(paper[experiment], at, settings, words, findings, planned);
      files = write(experiment, page, { experiment, settings, outcomes });
    }
  }
  const percent = (value: number) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : '-');
  print(
    table([
      ['variant', 'seeds', 'top-1', 'deviation', 'best', 'loss'],
      ...findings.map(({ variant, outcomes: own, top1, best, loss }) => [
        variant.label,
        own.length,
        percent(top1.mean),
        percent(top1.deviation),
        percent(best.mean),
        loss.mean.toFixed(3),
      ]),
    ]),
  );
  for (const contrast of contrasts(findings)) print(contrastSentence(contrast));
  say(`written: ${files.join(', ')}`);
}

async function runSpeed(experiment: 'table3' | 'segments', signal: AbortSignal): Promise<void> {
  const { size, steps, warmup, device, precision, threads, batch = 8 } = flags;
  for (const arch of experiment === 'table3' ? ['xception', 'inception_v3'] : ['xception']) {
    checkSize(architecture(arch).name, size);
  }
  const settings: SpeedSettings = { size, batch, steps, warmup, device, precision, threads };
  const folder = resolve(flags.out, experiment);
  keepSettings(folder, { size, batch, device, precision });
  const at = circumstances('experiments');
  if (experiment === 'table3') {
    const chosen = peers.filter((peer) => flags.peers.includes(peer.name));
    const found = await measureNetworks(folder, settings, chosen, { say, signal });
    say(
      `written: ${write(experiment, table3Page(at, settings, found), { experiment, settings, found }).join(', ')}`,
    );
    return;
  }
  const found = await measureSegments(folder, flags.segments, settings, { say, signal });
  print(
    table([
      ['segments', 'parameters', 'multiply-adds', 'train images/s', 'infer images/s'],
      ...found.map(({ segments, parameters, multiplyAdds, train, infer }) => [
        String(segments),
        parameters.toLocaleString('en-US'),
        `${(multiplyAdds / 1e9).toFixed(2)} G`,
        train.imagesPerSecond.toFixed(1),
        infer.imagesPerSecond.toFixed(1),
      ]),
    ]),
  );
  say(
    `written: ${write(experiment, segmentsPage(at, settings, found), { experiment, settings, found }).join(', ')}`,
  );
}

const controller = new AbortController();
for (const stop of ['SIGINT', 'SIGTERM'] as const) {
  process.on(stop, () => {
    const reason = new Interrupted(stop);
    if (controller.signal.aborted) process.exit(reason.exitCode);
    say(`${stop}: stopping when this is done; the same command goes on from there`);
    controller.abort(reason);
  });
}

await runMain('experiments', async () => {
  try {
    for (const name of command.args as ExperimentName[]) {
      if (isTraining(name)) await runTraining(name, controller.signal);
      else await runSpeed(name, controller.signal);
    }
  } finally {
    closeDevices();
  }
});
