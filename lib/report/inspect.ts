// What a classifier gets wrong: an evaluation that also remembers which images, and pictures of the worst of them.

import { relative } from 'node:path';
import sharp from 'sharp';
import type { Classifier } from '../classify/classifier.ts';
import { Explainer, type ExplainPicturesOptions } from '../classify/explain.ts';
import type { Precision } from '../classify/precision.ts';
import { UnsupportedError } from '../core/errors.ts';
import { decodeImage, imageInfo } from '../data/decode.ts';
import type { ImageFolder } from '../data/imageFolder.ts';
import { bestOf, type Evaluation, evaluate } from '../train/evaluate.ts';

/** An image whose best class is not its own. */
export interface Mistake {
  /** Relative to the folder of the data. */
  readonly file: string;
  /** Indices of its class and of the answer, and their probabilities. */
  readonly label: number;
  readonly answer: number;
  readonly labelProbability: number;
  readonly answerProbability: number;
  /** JPEG, and the same with Grad-CAM of the answer, where the network allows it. */
  readonly picture: Uint8Array;
  readonly explained: Uint8Array | undefined;
}

/** What was found. */
export interface Inspection {
  readonly evaluation: Evaluation;
  readonly classes: readonly string[];
  /** How many answers are wrong. */
  readonly wrong: number;
  /** The worst of them: those with the largest loss, worst first. */
  readonly mistakes: readonly Mistake[];
}

/** Options of {@link inspect}. */
export interface InspectOptions {
  /** How many mistakes to show. Default 12. */
  readonly mistakes?: number;
  /** Images at a time. Default 32. */
  readonly batchSize?: number;
  readonly precision?: Precision;
  readonly signal?: AbortSignal;
}

/** Edge of the pictures, in pixels: sharp on a dense screen at the width at which they are shown. */
const edge = 320;

interface Wrong {
  readonly index: number;
  readonly label: number;
  readonly answer: number;
  readonly labelProbability: number;
  readonly answerProbability: number;
}

function probabilities(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = Float64Array.from(logits, (x) => Math.exp(x - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

async function jpegOf(file: string): Promise<Uint8Array> {
  const { height, width } = await imageInfo(file);
  const scale = Math.min(1, edge / Math.max(height, width));
  const target = {
    height: Math.max(1, Math.round(height * scale)),
    width: Math.max(1, Math.round(width * scale)),
  };
  const data = await decodeImage(file, target);
  return await sharp(data, { raw: { ...target, channels: 3 } })
    .jpeg({ quality: 78 })
    .toBuffer();
}

/** Evaluates a classifier with one label to an image on a folder, and looks at what it gets wrong. @throws DataError as `evaluate` */
export async function inspect(
  model: Classifier,
  data: ImageFolder,
  options: InspectOptions = {},
): Promise<Inspection> {
  const { mistakes: most = 12, batchSize = 32, precision, signal } = options;
  const wrong: Wrong[] = [];
  const width = data.classes.length;
  const evaluation = await evaluate(model, data, {
    batchSize,
    loss: model.activation,
    ...(precision === undefined ? {} : { precision }),
    ...(signal === undefined ? {} : { signal }),
    onBatch: ({ labels, sampleIds }, logits) => {
      labels.forEach((label, i) => {
        const row = logits.subarray(i * width, (i + 1) * width);
        const answer = bestOf(row, 1)[0] as number;
        const index = sampleIds?.[i];
        if (answer === label || index === undefined) return;
        const p = probabilities(row);
        wrong.push({
          index,
          label,
          answer,
          labelProbability: p[label] as number,
          answerProbability: p[answer] as number,
        });
      });
    },
  });
  const worst = wrong.sort((a, b) => a.labelProbability - b.labelProbability || a.index - b.index);
  const shown = worst.slice(0, most);
  const paths = shown.map(({ index }) => data.files[index] as string);
  const explained = await explanations(model, paths, {
    classes: shown.map(({ answer }) => answer),
    longest: edge,
    batchSize: Math.min(batchSize, data.length), // as in the evaluation, whose kernels are chosen already
    precision,
  });
  const mistakes: Mistake[] = [];
  for (const [i, { index: _, ...found }] of shown.entries()) {
    const path = paths[i] as string;
    const picture = await jpegOf(path);
    mistakes.push({ ...found, file: relative(data.dir, path), picture, explained: explained?.[i] });
  }
  return { evaluation, classes: data.classes, wrong: wrong.length, mistakes };
}

/** JPEGs of the images explained; undefined for a network of one's own that ends otherwise. */
async function explanations(
  model: Classifier,
  files: readonly string[],
  options: ExplainPicturesOptions & { precision: Precision | undefined },
): Promise<Uint8Array[] | undefined> {
  const { precision, ...rest } = options;
  try {
    using explainer = new Explainer(model, precision === undefined ? {} : { precision });
    const pictures = await explainer.pictures(files, rest);
    return await Promise.all(pictures.map(({ png }) => sharp(png).jpeg({ quality: 78 }).toBuffer()));
  } catch (error) {
    if (error instanceof UnsupportedError) return undefined;
    throw error;
  }
}
