// Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): which places of the last feature map a class's score rests on.
// For networks that end in a global mean of a feature map and what follows it.

import { dirname } from 'node:path';
import { type Compiled, compile } from '../core/compile.ts';
import { ArgumentError, DataError, UnsupportedError } from '../core/errors.ts';
import { scope } from '../core/scope.ts';
import { valueAndGrad } from '../core/tape.ts';
import { type Tensor, tensor } from '../core/tensor.ts';
import { centerCrop } from '../data/augment.ts';
import { decodeImage, imageInfo } from '../data/decode.ts';
import { heatOverlay } from '../data/heatmap.ts';
import { makeFolder, writeFileAtomic } from '../interop/atomic.ts';
import { Lambda, Sequential } from '../nn/layers.ts';
import { ForwardContext, type Module } from '../nn/module.ts';
import { ops } from '../ops/index.ts';
import { castIfNeeded } from '../ops/shape.ts';
import type { Classifier } from './classifier.ts';
import { computeTypeOf, type Precision } from './precision.ts';
import { resizingOf } from './preprocess.ts';

/** Where a classifier looked for one class in one image. */
export interface Explanation {
  /** Index of the class that is explained. */
  readonly index: number;
  /** The class's logit. */
  readonly logit: number;
  /** [height, width] of the feature map, row after row: 0 where nothing speaks for the class, 1 where most does. */
  readonly map: Float32Array;
  readonly height: number;
  readonly width: number;
}

/** Options of {@link Explainer.maps}. */
export interface ExplainOptions {
  /** The class to explain of each image, [n]. Default: the one with the largest logit. */
  readonly classes?: readonly number[];
}

/** A network in two: up to the last feature map, and from its mean over the image to the logits. */
export interface SplitNetwork {
  /** Images [n, h, w, 3] to features [n, height, width, channels]. */
  readonly features: Module;
  /** Features to logits [n, classes]. */
  readonly head: Module;
}

/**
 * Splits a network before its global mean.
 * @throws UnsupportedError for a network that is no `Sequential` with a global mean among its own layers
 */
export function splitAtGlobalPool(network: Module): SplitNetwork {
  const layers = network instanceof Sequential ? network.children() : [];
  const at = layers.findLastIndex(([, layer]) => layer instanceof Lambda && layer.label === 'globalAvgPool');
  if (at < 1) {
    throw new UnsupportedError(
      'explain: needs a network with a mean over the image between features and classifier (globalAvgPool)',
    );
  }
  return { features: new Sequential(...layers.slice(0, at)), head: new Sequential(...layers.slice(at)) };
}

/** Options of {@link Explainer.pictures}. */
export interface ExplainPicturesOptions extends ExplainOptions {
  /** The longest edge of a picture in pixels; larger images are shrunk. Default 800. */
  readonly longest?: number;
  /** Images at a time; the last of them are filled up, so that there is one shape. Default: as many as there are, at most 32. */
  readonly batchSize?: number;
}

/** An image file with its explanation drawn over it. */
export interface ExplainedPicture {
  readonly explanation: Explanation;
  /** What the network saw of the image, in its own proportions, as a PNG. */
  readonly png: Uint8Array;
}

/**
 * Explains a classifier's answers; keeps its compiled program between calls. The classifier stays its owner's.
 *
 * Grad-CAM: with features A [height, width, channels] and the logit y of the class, channel k weighs α_k = mean over
 * the places of ∂y/∂A_k, and the map is relu(Σ_k α_k A_k) (equations 1 and 2), here divided by its largest value. For a head
 * that is a mean and a linear layer, α_k is the class's weight of channel k over the number of places, so that this is the
 * class activation map of Zhou et al. 2016. The features are computed in the precision given, all behind them in fp32.
 */
export class Explainer implements Disposable {
  readonly #model: Classifier;
  readonly #head: Module;
  readonly #forward: Compiled<[Tensor], { a: Tensor; logits: Tensor }>;

  /**
   * @param options precision: default `auto`
   * @throws UnsupportedError for a precision that the model's device does not have, or for a network that is no `Sequential` with a global mean
   *   among its own layers
   */
  constructor(model: Classifier, options: { precision?: Precision } = {}) {
    const { features, head } = splitAtGlobalPool(model.network);
    const computeType = computeTypeOf(options.precision, model.backend);
    this.#model = model;
    this.#head = head;
    this.#forward = compile((images: Tensor) => {
      const context = new ForwardContext({ computeType });
      const a = castIfNeeded(features.forward(model.input(images, context), context), 'f32');
      return { a, logits: head.forward(a, new ForwardContext()) };
    });
  }

  /**
   * The maps of images [n, height, width, 3]: uint8 of the classifier's size, to be normalized, or float32 as it stands.
   * @throws ArgumentError for classes that are not n, or out of range; DataError for an image whose logits are not finite, because
   *   it or the weights hold NaN
   */
  async maps(
    images: { readonly data: Uint8Array | Float32Array; readonly shape: readonly number[] },
    options: ExplainOptions = {},
  ): Promise<Explanation[]> {
    const n = images.shape[0] ?? 0;
    const width = this.#model.config.classes;
    checkClasses(options.classes, n, width);
    if (n === 0) return [];
    const { backend } = this.#model;
    const { a, logits } = scope(() => this.#forward(tensor(images.data, images.shape, { backend })));
    try {
      const scores = (await logits.data()) as Float32Array;
      checkFinite(scores, width);
      const chosen = options.classes ?? largest(scores, width);
      using gradient = this.#gradient(a, chosen);
      const [values, slopes] = (await Promise.all([a.data(), gradient.data()])) as [
        Float32Array,
        Float32Array,
      ];
      const [, height = 0, columns = 0, channels = 0] = a.shape;
      const stride = height * columns * channels;
      return chosen.map((index, i) => {
        const own = (all: Float32Array) => all.subarray(i * stride, (i + 1) * stride);
        const map = gradCam(own(values), own(slopes), channels);
        return { index, logit: scores[i * width + index] as number, map, height, width: columns };
      });
    } finally {
      a.dispose();
      logits.dispose();
    }
  }

  /** The gradient of each image's chosen logit by its features: that of the sum of them all, since images do not mix. */
  #gradient(a: Tensor, chosen: readonly number[]): Tensor {
    const width = this.#model.config.classes;
    const selector = new Float32Array(chosen.length * width);
    chosen.forEach((index, i) => {
      selector[i * width + index] = 1;
    });
    const { grads } = scope(() => {
      const mask = tensor(selector, [chosen.length, width], { backend: this.#model.backend });
      const score = (x: Tensor) => ops.sum(ops.multiply(this.#head.forward(x, new ForwardContext()), mask));
      return { grads: valueAndGrad(score, [a])(a).grads };
    });
    return grads[0] as Tensor;
  }

  /**
   * Image files explained, each drawn over what the network saw of it.
   * @param files paths, or the bytes of files
   * @throws DataError naming the file that cannot be read; ArgumentError as {@link maps}
   */
  async pictures(
    files: readonly (string | Uint8Array)[],
    options: ExplainPicturesOptions = {},
  ): Promise<ExplainedPicture[]> {
    const { classes, longest = 800, batchSize = Math.min(files.length, 32) } = options;
    checkClasses(classes, files.length, this.#model.config.classes);
    const { size, preprocessing } = this.#model.config;
    const resizing = resizingOf(preprocessing);
    const stride = size * size * 3;
    const pictures: ExplainedPicture[] = [];
    for (let from = 0; from < files.length; from += batchSize) {
      const part = files.slice(from, from + batchSize);
      const data = new Uint8Array(batchSize * stride);
      for (const [i, file] of part.entries()) {
        data.set(await decodeImage(file, { height: size, width: size, ...resizing }), i * stride);
      }
      const chosen = classes?.slice(from, from + batchSize);
      const filled = chosen && [...chosen, ...new Array<number>(batchSize - part.length).fill(0)];
      const maps = await this.maps(
        { data, shape: [batchSize, size, size, 3] },
        filled === undefined ? {} : { classes: filled },
      );
      for (const [i, file] of part.entries()) {
        const explanation = maps[i] as Explanation;
        pictures.push({ explanation, png: await overlay(file, explanation, resizing, longest) });
      }
    }
    return pictures;
  }

  /** Frees the compiled program; the classifier is its owner's. */
  dispose(): void {
    this.#forward.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The map over the part of the image that the network saw, in its own proportions. */
async function overlay(
  file: string | Uint8Array,
  map: Explanation,
  resizing: ReturnType<typeof resizingOf>,
  longest: number,
): Promise<Uint8Array> {
  const whole = await imageInfo(file);
  const part = resizing.resize === 'stretch' ? whole : centerCrop(whole, resizing.resize.crop);
  const scale = Math.min(1, longest / Math.max(part.height, part.width));
  const height = Math.max(1, Math.round(part.height * scale));
  const width = Math.max(1, Math.round(part.width * scale));
  const data = await decodeImage(file, { height, width, ...resizing });
  return await heatOverlay({ data, height, width }, map);
}

function checkClasses(classes: readonly number[] | undefined, n: number, width: number): void {
  if (classes === undefined) return;
  if (classes.length === n && classes.every((c) => Number.isInteger(c) && c >= 0 && c < width)) return;
  throw new ArgumentError(
    `explain: classes expects ${n} indices from 0 to ${width - 1}, got [${classes.join(', ')}]`,
  );
}

/** Nothing can be explained where the network gives no number: there is no largest logit, and no gradient. */
function checkFinite(logits: Float32Array, width: number): void {
  const at = logits.findIndex((logit) => !Number.isFinite(logit));
  if (at < 0) return;
  throw new DataError(
    `explain: the logit of class ${at % width} of image ${Math.floor(at / width)} is ${logits[at]}; ` +
      'expected finite numbers: the image or the weights hold NaN or infinities',
  );
}

/** The index of the largest logit of each row; of equal ones the lowest. All are finite. */
function largest(logits: Float32Array, width: number): number[] {
  return Array.from({ length: logits.length / width }, (_, i) => {
    const row = logits.subarray(i * width, (i + 1) * width);
    return row.indexOf(Math.max(...row));
  });
}

/** relu(Σ_k α_k A_k) over its largest value, in float64; all 0 where nothing is positive. Both are [places, channels]. */
function gradCam(features: Float32Array, gradient: Float32Array, channels: number): Float32Array {
  const places = features.length / channels;
  const alpha = new Float64Array(channels);
  gradient.forEach((slope, i) => {
    alpha[i % channels] = (alpha[i % channels] as number) + slope / places;
  });
  const map = Float64Array.from({ length: places }, (_, place) => {
    let sum = 0;
    for (let k = 0; k < channels; k++) {
      sum += (alpha[k] as number) * (features[place * channels + k] as number);
    }
    return Math.max(0, sum);
  });
  const most = map.reduce((a, b) => Math.max(a, b), 0);
  return Float32Array.from(map, (value) => (most === 0 ? 0 : value / most));
}

/**
 * Writes a picture, atomically, into a folder that is made if it is not there.
 * @throws CheckpointError when it cannot be written
 */
export async function writePicture(file: string, png: Uint8Array): Promise<void> {
  await makeFolder(dirname(file));
  await writeFileAtomic(file, [png]);
}
