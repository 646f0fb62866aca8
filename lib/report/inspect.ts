// What a classifier gets wrong: an evaluation that also remembers which images, and pictures of the worst of them.

import { relative } from 'node:path';
import sharp from 'sharp';
import type { Classifier } from '../classify/classifier.ts';
import { Explainer } from '../classify/explain.ts';
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
  using explainer = explainerOf(model);
  const mistakes: Mistake[] = [];
  for (const { index, ...found } of worst.slice(0, most)) {
    const path = data.files[index] as string;
    mistakes.push({
      ...found,
      file: relative(data.dir, path),
      picture: await jpegOf(path),
      explained: await explained(explainer, path, found.answer),
    });
  }
  return { evaluation, classes: data.classes, wrong: wrong.length, mistakes };
}

/** Undefined for a network of one's own that ends otherwise. */
function explainerOf(model: Classifier): Explainer | undefined {
  try {
    return new Explainer(model);
  } catch (error) {
    if (error instanceof UnsupportedError) return undefined;
    throw error;
  }
}

async function explained(
  explainer: Explainer | undefined,
  file: string,
  index: number,
): Promise<Uint8Array | undefined> {
  const made = await explainer?.picture(file, { index, longest: edge });
  return made === undefined ? undefined : await sharp(made.png).jpeg({ quality: 78 }).toBuffer();
}
