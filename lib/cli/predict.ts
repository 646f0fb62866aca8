// `predict`: the best classes of image files, one line each, or the probabilities of an array of images.

import { basename, dirname, extname, join } from 'node:path';
import { Command } from 'commander';
import {
  bestOf,
  CheckpointError,
  type Classifier,
  DataError,
  decodeImage,
  Explainer,
  type Prediction,
  resizingOf,
  writeNpy,
  writePicture,
} from '../index.ts';
import { naming, readImages } from './arrayFiles.ts';
import { PartialFailure, UsageError } from './failure.ts';
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
import { count, print, say } from './output.ts';
import { loadFlagged, type WeightFlags, withWeightFlags } from './weights.ts';

interface PredictFlags extends CommonFlags, ModeFlags, WeightFlags {
  readonly top: number;
  readonly input?: string;
  readonly output?: string;
  readonly logits: boolean;
  readonly batch: number;
  readonly explain: boolean;
  readonly explainOut?: string;
}

export function predictCommand(): Command {
  return withCommonFlags(withModeFlags(withWeightFlags(withModelFlags(new Command('predict')))))
    .description('classify image files, or an array of images')
    .argument('[images...]', 'JPEG, PNG or WebP files')
    .option('--top <k>', 'how many classes', integer(1), 5)
    .option(
      '--input <file>',
      '.npy, [n, height, width, 3]: float32 as it stands, uint8 resized and normalised',
    )
    .option('--output <file>', '.npy for the probabilities, float32 [n, classes]')
    .option('--logits', 'logits in place of probabilities', false)
    .option('--batch <n>', 'images at a time', integer(1), 32)
    .option(
      '--explain',
      'draw where the best class was seen (Grad-CAM) beside each image, as NAME.gradcam.png',
      false,
    )
    .option('--explain-out <dir>', 'folder for these pictures, in place of beside the images')
    .action(async (images: string[], flags: PredictFlags) => {
      const { input, output } = flags;
      if ((input === undefined) !== (output === undefined)) {
        throw new UsageError('--input and --output belong together; expected both, or image files');
      }
      if ((input === undefined) === (images.length === 0)) {
        throw new UsageError('expected image files, or --input X.npy --output Y.npy');
      }
      const explains = flags.explain || flags.explainOut !== undefined;
      if (explains && input !== undefined) {
        throw new UsageError('--explain draws over image files; it does not go with --input');
      }
      const backend = openFlagged(flags);
      using model = await loadFlagged(flags);
      model.to(backend);
      if (input === undefined || output === undefined) await predictFiles(model, images, flags);
      else await predictArray(model, input, output, flags);
    });
}

async function predictArray(
  model: Classifier,
  input: string,
  output: string,
  flags: PredictFlags,
): Promise<void> {
  const { logits, batch, json } = flags;
  const images = await readImages(input);
  naming(input, () => model.checkImages(images));
  const { data, shape } = images;
  const [n = 0, height = 0, width = 0] = shape;
  const results = await model.outputs(
    { data, shape: [n, height, width, 3] },
    { logits, batchSize: batch, mode: modeOf(flags), precision: flags.precision },
  );
  const { classes } = model.config;
  await writeNpy(output, { dtype: 'f32', shape: [n, classes], data: results });
  const line = `${output}: ${logits ? 'logits' : 'probabilities'} of ${count(n, 'image')}, ${classes} classes`;
  if (json) say(line);
  else print(line);
}

/** Files in batches. One that cannot be read is said on stderr and makes the exit code 1; the others are printed. */
async function predictFiles(model: Classifier, files: readonly string[], flags: PredictFlags): Promise<void> {
  const { size, classes, labels, preprocessing } = model.config;
  const resizing = resizingOf(preprocessing);
  const stride = size * size * 3;
  const explains = flags.explain || flags.explainOut !== undefined;
  using explainer = explains ? new Explainer(model, { precision: flags.precision }) : undefined;
  const pictureOf = pictureNames(flags.explainOut);
  let failures = 0;
  for (let from = 0; from < files.length; from += flags.batch) {
    const part = files.slice(from, from + flags.batch);
    const decoded = await Promise.allSettled(
      part.map((file) => decodeImage(file, { height: size, width: size, ...resizing })),
    );
    const readable: string[] = [];
    const pixels = new Uint8Array(part.length * stride);
    decoded.forEach((result, i) => {
      if (result.status === 'fulfilled') {
        pixels.set(result.value, readable.length * stride);
        readable.push(part[i] as string);
      } else {
        failures += 1;
        say(`depthwise: ${result.reason instanceof Error ? result.reason.message : String(result.reason)}`);
      }
    });
    if (readable.length === 0) continue;
    const outputs = await model.outputs(
      { data: pixels.subarray(0, readable.length * stride), shape: [readable.length, size, size, 3] },
      {
        logits: flags.logits,
        batchSize: flags.batch,
        mode: modeOf(flags),
        precision: flags.precision,
      },
    );
    const best = readable.map(
      (_, i) => bestOf(outputs.subarray(i * classes, (i + 1) * classes), 1)[0] as number,
    );
    const batchSize = Math.min(flags.batch, files.length);
    const explained = await explainer?.pictures(readable, { classes: best, batchSize });
    for (const [i, file] of readable.entries()) {
      const row = outputs.subarray(i * classes, (i + 1) * classes);
      const predictions = bestOf(row, Math.min(flags.top, classes)).map(
        (index): Prediction => ({
          index,
          label: labels?.[index] ?? String(index),
          probability: row[index] as number,
        }),
      );
      const png = explained?.[i]?.png;
      const picture = png === undefined ? undefined : pictureOf(file);
      if (png !== undefined && picture !== undefined) await savePicture(picture, png);
      if (flags.json)
        print({ file, predictions, ...(picture === undefined ? {} : { explanation: picture }) });
      else {
        const words = predictions.map(({ label, probability }) => `${label} ${probability.toFixed(3)}`);
        print(`${file}: ${words.join(', ')}${picture === undefined ? '' : `  (${picture})`}`);
      }
    }
  }
  if (failures > 0) throw new PartialFailure(`${failures} files could not be read`);
}

/**
 * Where the picture of each image goes: beside it, or into `folder`, where images of the same name from different folders
 * are told apart by a number.
 */
export function pictureNames(folder: string | undefined): (file: string) => string {
  const taken = new Set<string>();
  return (file) => {
    const stem = basename(file, extname(file));
    const where = folder ?? dirname(file);
    const name = (n: number) => join(where, `${stem}${n === 1 ? '' : `-${n}`}.gradcam.png`);
    let n = 1;
    while (taken.has(name(n))) n += 1;
    taken.add(name(n));
    return name(n);
  };
}

async function savePicture(path: string, png: Uint8Array): Promise<void> {
  try {
    await writePicture(path, png);
  } catch (cause) {
    if (!(cause instanceof CheckpointError)) throw cause;
    throw new DataError(`${cause.message}; --explain-out names another folder`, { file: path, cause });
  }
}
