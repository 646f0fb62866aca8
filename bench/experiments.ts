// `npm run experiments -- figure6|figure9|figure10|table3|segments`: repeats experiments of the paper on a folder of images,
// with one recipe and the same seeds for all variants, and writes one page with the paper's results beside those found.

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
import { isTraining, type TrainingName, trainings, type Variant } from './experiments/definitions.ts';
import { contrastSentence, contrasts, findingsOf, type VariantFindings } from './experiments/findings.ts';
import { trainingPage } from './experiments/pages.ts';
import { type ExperimentName, experimentNames, paper } from './experiments/paper.ts';
import {
  keepSettings,
  type Outcome,
  runsFolder,
  type TrainingSettings,
  trainVariant,
} from './experiments/runs.ts';
import { begunUnder, measureNetworks, measureSegments, type SpeedSettings } from './experiments/speed.ts';
import { segmentsPage, table3Page } from './experiments/speedPages.ts';
import { segmentCells, segmentColumns, table3Cells, table3Columns } from './experiments/speedTables.ts';
import { segmentsSections, table3Sections, trainingSections } from './experiments/summary.ts';
import { peers } from './support/contenders.ts';
import { type Circumstances, circumstances } from './support/machine.ts';
import { runMain } from './support/main.ts';
import { resultsFolder, writeResults, writeWhole } from './support/results.ts';

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
  readonly rounds: number;
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
  .addArgument(new Argument('<experiments...>', 'one or more').choices(experimentNames))
  .option('--data <dir>', 'folder with train/ and validation/', 'examples/data/clothing')
  .option('--out <dir>', 'folder of the runs and of the pages', 'runs/experiments')
  .option('--results <dir>', 'folder of the figures, as JSON and Markdown', resultsFolder)
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
  .option('--rounds <n>', 'table3, segments: turns of each', integer(1), 5)
  .option('--steps <n>', 'table3, segments: steps that are counted in a turn', integer(1), 2)
  .option('--warmup <n>', 'table3, segments: steps before the first turn', integer(0), 2)
  .option('--segments <list>', 'segments: how many, separated by commas', segmentNumbers, [
    ...[1, 2, 4, 8, 16, 32, 64],
    'channels',
  ])
  .option('--peers <names>', `table3: among ${names.join(', ')}; separated by commas`, listOf(names), names)
  .parse();
const flags = command.opts<Flags>();

/** Writes the page, and the figures as JSON and Markdown. @returns their paths */
function write(
  name: ExperimentName,
  at: Circumstances,
  page: string,
  found: object,
  sections: readonly string[],
): string[] {
  const file = resolve(flags.out, name, 'report.html');
  writeWhole(file, page);
  return [
    relative('.', file),
    ...writeResults(
      resolve(flags.results),
      `experiment-${name}`,
      paper[name].title,
      at,
      { experiment: name, ...found },
      sections,
    ),
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

/** An experiment that trains, and what it has so far. */
interface Training {
  readonly name: TrainingName;
  readonly variants: readonly Variant[];
  readonly outcomes: Outcome[];
  findings: VariantFindings[];
  files: string[];
}

/** Page and figures of what an experiment has so far. */
function publish(training: Training, settings: TrainingSettings): void {
  const { name, variants, outcomes } = training;
  const findings = findingsOf(variants, outcomes);
  const planned = variants.length * flags.seeds;
  const at = circumstances('experiments');
  const summary = findings.map(({ variant, outcomes: _, ...figures }) => ({ ...variant, ...figures }));
  training.findings = findings;
  training.files = write(
    name,
    at,
    trainingPage(paper[name], at, settings, findings, planned),
    { settings, planned, summary, contrasts: contrasts(findings), outcomes },
    trainingSections(name, settings, findings, planned),
  );
}

/** All variants of all experiments with the first seed, then with the next: a part of it compares already. */
async function runTrainings(names: readonly TrainingName[], signal: AbortSignal): Promise<void> {
  const experiments = names.map(
    (name): Training => ({ name, variants: trainings[name], outcomes: [], findings: [], files: [] }),
  );
  const settings = trainingSettings();
  for (const { arch, options } of experiments.flatMap(({ variants }) => variants)) {
    checkSize(arch, flags.size, options);
  }
  const runs = runsFolder(resolve(flags.out));
  keepSettings(runs, settings);
  const { device, precision, threads, workers, seeds } = flags;
  for (let seed = 0; seed < seeds; seed += 1) {
    for (const training of experiments) {
      for (const variant of training.variants) {
        const place = { device, precision, threads, workers };
        training.outcomes.push(await trainVariant(runs, variant, seed, settings, place, { say, signal }));
        publish(training, settings);
      }
    }
  }
  for (const training of experiments) printTraining(training);
}

function printTraining({ name, findings, files }: Training): void {
  const percent = (value: number) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : '-');
  print(
    table([
      [name, 'seeds', 'top-1', 'deviation', 'on the way', 'loss'],
      ...findings.map(({ variant, outcomes, top1, onTheWay, loss }) => [
        variant.label,
        outcomes.length,
        percent(top1.mean),
        percent(top1.deviation),
        percent(onTheWay.mean),
        loss.mean.toFixed(3),
      ]),
    ]),
  );
  for (const contrast of contrasts(findings)) print(contrastSentence(contrast));
  say(`written: ${files.join(', ')}`);
}

async function runSpeed(experiment: 'table3' | 'segments', signal: AbortSignal): Promise<void> {
  const { size, rounds, steps, warmup, device, precision, threads, batch = 8 } = flags;
  for (const arch of experiment === 'table3' ? ['xception', 'inception_v3'] : ['xception']) {
    checkSize(architecture(arch).name, size);
  }
  const settings: SpeedSettings = { size, batch, rounds, steps, warmup, device, precision, threads };
  const folder = join(resolve(flags.out), experiment);
  keepSettings(folder, settings);
  const at = begunUnder(folder, circumstances('experiments'));
  const titles = (columns: readonly { readonly title: string }[]) => columns.map(({ title }) => title);
  let files: string[];
  if (experiment === 'table3') {
    const chosen = peers.filter((peer) => flags.peers.includes(peer.name));
    const found = await measureNetworks(folder, settings, chosen, { say, signal });
    const { rows } = table3Cells(settings, found);
    print(table([titles(table3Columns), ...rows]));
    const page = table3Page(at, settings, found);
    files = write(experiment, at, page, { settings, found }, table3Sections(settings, found));
  } else {
    const found = await measureSegments(folder, flags.segments, settings, { say, signal });
    print(table([titles(segmentColumns), ...found.map(segmentCells)]));
    const page = segmentsPage(at, settings, found);
    files = write(experiment, at, page, { settings, found }, segmentsSections(settings, found));
  }
  say(`written: ${files.join(', ')}`);
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
  const chosen = [...new Set(command.args as ExperimentName[])];
  const training = chosen.filter(isTraining);
  try {
    if (training.length > 0) await runTrainings(training, controller.signal);
    for (const name of chosen) if (!isTraining(name)) await runSpeed(name, controller.signal);
  } finally {
    closeDevices();
  }
});
