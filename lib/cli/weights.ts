// Weights as commands take them: `--weights`, `--raw`, `--labels`, and the model that they make.

import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type Classifier, DataError, fromWeightFile, readWeights, type WeightFile } from '../index.ts';
import { checkSize, type ModelFlags } from './flags.ts';
import { say } from './output.ts';

/** Flags of a command that reads weights. */
export interface WeightFlags extends ModelFlags {
  readonly weights: string;
  readonly raw: boolean;
  readonly labels?: string;
}

export function withWeightFlags(command: Command): Command {
  return command
    .requiredOption(
      '--weights <file>',
      'run folder, checkpoint folder, .safetensors, .h5, .weights.h5 or .keras',
    )
    .option('--raw', 'the weights themselves, not their Polyak average', false)
    .option('--labels <file>', 'names of the classes, one a line');
}

/** Reads weights, saying on stderr if a damaged checkpoint is passed over. */
export const readFlagged = (path: string, raw: boolean): Promise<WeightFile> =>
  readWeights(path, { raw, warn: say });

/** The lines of a text file. `expected` is said where it cannot be read. */
export async function readLines(file: string, expected: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new DataError(`${file}: cannot be read; expected a text file with ${expected}`, { file, cause });
  }
  return text.replace(/\r?\n$/, '').split(/\r?\n/);
}

/** The names of the classes in a text file, one a line. */
export const readLabels = (file: string): Promise<string[]> => readLines(file, 'one class name a line');

/** The classifier that the flags name. */
export async function loadFlagged(flags: WeightFlags): Promise<Classifier> {
  if (flags.arch !== undefined) checkSize(flags.arch, flags.size);
  const labels = flags.labels === undefined ? undefined : await readLabels(flags.labels);
  const weights = await readFlagged(flags.weights, flags.raw);
  checkSize(flags.arch ?? weights.arch, flags.size);
  if (flags.classes !== undefined && weights.classes !== undefined && flags.classes !== weights.classes) {
    throw new DataError(
      `${flags.weights}: weights of ${weights.classes} classes; --classes is ${flags.classes}`,
      { file: flags.weights },
    );
  }
  const model = fromWeightFile(weights, {
    file: weights.file ?? flags.weights,
    ...(flags.arch === undefined ? {} : { arch: flags.arch }),
    ...(flags.classes === undefined ? {} : { classes: flags.classes }),
    ...(flags.size === undefined ? {} : { size: flags.size }),
  });
  const { classes } = model.config;
  if (labels !== undefined && labels.length !== classes) {
    throw new DataError(`${flags.labels}: ${labels.length} names; the weights have ${classes} classes`, {
      file: flags.labels as string,
    });
  }
  if (labels !== undefined) model.configure({ labels });
  return model;
}
