// `eval`: a classifier on a folder per class: top-1, top-5, loss, table per class, confusion matrix.

import { join } from 'node:path';
import { Command } from 'commander';
import { arrays, type Classifier, DataError, type Dataset, type Evaluation, evaluate } from '../index.ts';
import { naming, readArrayLabels, readImages } from './arrayFiles.ts';
import {
  checkPaths,
  type IndexFlags,
  type LabelledImages,
  openImagesOf,
  withIndexFlags,
} from './dataSets.ts';
import { UsageError } from './failure.ts';
import {
  type CommonFlags,
  integer,
  type ModeFlags,
  modeOf,
  openFlagged,
  withCommonFlags,
  withModeFlags,
  withModelFlags,
} from './flags.ts';
import { isFolder, sayHowManySkipped } from './folders.ts';
import { count, percent, print, table } from './output.ts';
import { loadFlagged, readLines, type WeightFlags, withWeightFlags } from './weights.ts';

interface EvalFlags extends CommonFlags, ModeFlags, WeightFlags, IndexFlags {
  readonly batch: number;
  readonly workers?: number;
  readonly arrays?: string[];
  readonly classImportance?: string;
}

/** Images and labels from files, with the classes of the model. */
async function evaluationArrays(files: readonly string[], model: Classifier): Promise<Dataset> {
  const [imageFile = '', labelFile = ''] = files;
  const images = await readImages(imageFile);
  const labels = await readArrayLabels(labelFile);
  naming(imageFile, () => model.checkImages(images));
  const { size, labels: names, classes } = model.config;
  return naming(labelFile, () =>
    arrays(images, labels, {
      classes: names ?? classes,
      ...(images.data instanceof Float32Array ? {} : { size }),
    }),
  );
}

/** A number a line, one for each class. */
async function readImportance(file: string): Promise<number[]> {
  const numbers = (await readLines(file, 'one number a line')).map((line) =>
    line.trim() === '' ? Number.NaN : Number(line),
  );
  const wrong = numbers.findIndex((value) => !(value >= 0 && Number.isFinite(value)));
  if (wrong >= 0) throw new DataError(`${file}: line ${wrong + 1} is not a number of at least 0`, { file });
  return numbers;
}

/** The images of the data, or of the `validation/` in it, with the classes of the model. */
async function evaluationImages(
  paths: readonly string[],
  model: Classifier,
  { weights, indexCache }: EvalFlags,
): Promise<LabelledImages> {
  const [data = ''] = paths;
  const validation = join(data, 'validation');
  const { size, labels, classes, preprocessing } = model.config;
  const own = paths.length === 1 && isFolder(validation) ? [validation] : paths;
  const options = { size, preprocessing, ...(indexCache === undefined ? {} : { indexCache }) };
  const found = await openImagesOf(own, options, labels, classes);
  if (found.classes.length !== classes) {
    throw new DataError(
      `${own.join(' ')}: ${found.classes.length} classes; the weights in ${weights} have ${classes}, without names (--labels gives them)`,
      { file: own[0] as string },
    );
  }
  return found;
}

/** What `eval` says of an evaluation as JSON. */
export function evaluationJson(found: Evaluation): object {
  const { images, top1, top5, loss, map } = found;
  if (map !== undefined) return { images, map };
  const per_class = found.perClass.map(({ class: name, images, top1, top5, precision }) => ({
    class: name,
    images,
    top1: top1 ?? null,
    top5: top5 ?? null,
    precision: precision ?? null,
  }));
  return { images, top1, top5, loss, per_class, confusion: found.confusion };
}

/** The most classes whose confusion matrix is printed for people. */
const widestMatrix = 30;

function printEvaluation(found: Evaluation): void {
  const { images, top1, top5, loss, perClass, confusion, map } = found;
  if (map !== undefined) {
    const { k, value, weighted } = map;
    print(
      `${count(images, 'image')}: MAP@${k} ${percent(value)}, weighted ${percent(weighted)}, loss ${loss.toFixed(4)}`,
    );
    return;
  }
  print(`${count(images, 'image')}: top-1 ${percent(top1)}, top-5 ${percent(top5)}, loss ${loss.toFixed(4)}`);
  print('');
  const rows = perClass.map((scores) => [
    scores.class,
    scores.images,
    percent(scores.top1),
    percent(scores.top5),
    percent(scores.precision),
  ]);
  print(table([['class', 'images', 'top-1', 'top-5', 'precision'], ...rows]));
  print('');
  if (confusion.length > widestMatrix) {
    print(`confusion matrix: ${confusion.length} x ${confusion.length}, printed with --json`);
    return;
  }
  print('confusion matrix (rows: true class, columns: answer)');
  const matrix = confusion.map((row, i) => [`${i} ${perClass[i]?.class ?? ''}`, ...row]);
  print(table([['', ...confusion.map((_, i) => String(i))], ...matrix]));
}

export function evalCommand(): Command {
  return withCommonFlags(withModeFlags(withIndexFlags(withWeightFlags(withModelFlags(new Command('eval'))))))
    .description(
      'top-1, top-5, loss, per-class table, confusion matrix; mean average precision for many labels',
    )
    .argument('[data...]', 'a folder per class, or a folder that has validation/; or tar shards')
    .option('--arrays <files...>', 'X.npy Y.npy in place of a folder: images and labels')
    .option(
      '--class-importance <file>',
      'for many labels: weights of the classes in the weighted mean, one number a line (default: how common they are)',
    )
    .option('--batch <n>', 'images at a time', integer(1), 32)
    .option('--workers <n>', 'images decoded at the same time', integer(1))
    .action(async (paths: string[], flags: EvalFlags) => {
      const { arrays: files } = flags;
      if ((paths.length === 0) === (files === undefined)) {
        throw new UsageError('expected a data folder, or --arrays X.npy Y.npy, and not both');
      }
      if (files !== undefined && files.length !== 2) {
        throw new UsageError(`--arrays takes two files, X.npy Y.npy; got ${files.length}`);
      }
      checkPaths(paths);
      const backend = openFlagged(flags);
      using model = await loadFlagged(flags);
      const set =
        files === undefined
          ? await evaluationImages(paths, model, flags)
          : await evaluationArrays(files, model);
      const importance = flags.classImportance;
      model.to(backend);
      const found = await evaluate(model, set, {
        batchSize: flags.batch,
        loss: model.activation,
        ...(importance === undefined ? {} : { classImportance: await readImportance(importance) }),
        mode: modeOf(flags),
        precision: flags.precision,
        ...(flags.workers === undefined ? {} : { workers: flags.workers }),
      });
      sayHowManySkipped(set.skipped);
      if (flags.json) print(evaluationJson(found));
      else printEvaluation(found);
    });
}
