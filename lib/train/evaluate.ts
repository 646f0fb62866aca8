// Evaluation: a classifier over a whole data set in batches of one size; counts, losses and tables are made here, in
// float64, from the logits.

import type { Classifier } from '../classify/classifier.ts';
import { computeTypeOf, type Precision } from '../classify/precision.ts';
import { type Compiled, compile } from '../core/compile.ts';
import { ArgumentError, DataError } from '../core/errors.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, tensor } from '../core/tensor.ts';
import type { Batch, Dataset } from '../data/batch.ts';
import { ForwardContext } from '../nn/module.ts';

/** How a classifier's outputs are read: one class per image, or any number of them. */
export type LossKind = 'softmax' | 'sigmoid';

/** One class of an {@link Evaluation}. Fractions; undefined where nothing is counted. */
export interface ClassScores {
  /** Its name. */
  readonly class: string;
  /** Images of this class. */
  readonly images: number;
  /** Images of this class that were recognized, by the best answer and by the best five. */
  readonly top1: number | undefined;
  readonly top5: number | undefined;
  /** Share of the images called this class that are of it. */
  readonly precision: number | undefined;
}

/** What an evaluation found. */
export interface Evaluation {
  /** Images counted. */
  readonly images: number;
  /** Mean loss, without label smoothing and weight decay. */
  readonly loss: number;
  /** Fraction of the images whose best class is theirs (with many labels: one of theirs). */
  readonly top1: number;
  /** Fraction of the images with a class of theirs among the best five, or among all where there are fewer. */
  readonly top5: number;
  /** One per class, where images have one label. */
  readonly perClass: readonly ClassScores[];
  /** [true class][answer] counts, where images have one label. */
  readonly confusion: readonly (readonly number[])[];
  /** Where images have many labels. */
  readonly map: MeanAveragePrecision | undefined;
}

/** Mean average precision over the best `k` answers, for images with many labels. */
export interface MeanAveragePrecision {
  readonly k: number;
  /** Mean over the images that have a label (of a class that counts): sum of precision at each true answer / min(labels, k). */
  readonly value: number;
  /**
   * The same with each label's precision times its class's weight, divided by what the best answers would give. The paper
   * (section 4.1) weights classes by how common they are, on a scale of its own that is not public.
   */
  readonly weighted: number;
}

/** Options of {@link evaluate}. */
export interface EvaluateOptions {
  /** Images at a time; the result does not depend on it. Default 32. */
  readonly batchSize?: number;
  /** Default 'softmax'. */
  readonly loss?: LossKind;
  /** Of each class in the weighted mean average precision. Default: how many of the images have its label. */
  readonly classImportance?: readonly number[] | undefined;
  /** Images decoded at the same time; default: by the number of processors. */
  readonly workers?: number;
  /** 'compiled': the network is one native call; 'eager': op by op, for looking inside. Default 'compiled'. */
  readonly mode?: 'compiled' | 'eager';
  /** Default `auto`. */
  readonly precision?: Precision;
  /** Ends the evaluation with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called with each batch's logits, [n, classes], before they are counted. */
  readonly onBatch?: (batch: Batch, logits: Float32Array) => void;
}

/** The best `k` indices of a row, best first; of equal ones the lower first. */
export function bestOf(row: Float32Array, k: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < row.length; i++) {
    const value = row[i] as number;
    if (best.length === k && value <= (row[best[k - 1] as number] as number)) continue;
    let at = best.length === k ? k - 1 : best.length;
    while (at > 0 && value > (row[best[at - 1] as number] as number)) {
      best[at] = best[at - 1] as number;
      at -= 1;
    }
    best[at] = i;
  }
  return best;
}

/** −log softmax(row)[label], in float64. */
function softmaxLoss(row: Float32Array, label: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of row) largest = Math.max(largest, value);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - largest);
  return Math.log(sum) + largest - (row[label] as number);
}

/** Mean over the classes of the binary cross-entropy of sigmoid(x) with target t: max(x, 0) − x t + log(1 + e^−|x|). */
function sigmoidLoss(row: Float32Array, isLabel: (index: number) => boolean): number {
  let sum = 0;
  row.forEach((x, i) => {
    sum += Math.max(x, 0) - (isLabel(i) ? x : 0) + Math.log1p(Math.exp(-Math.abs(x)));
  });
  return sum / row.length;
}

const topK = 5;
const mapK = 100;

/** Counts batches of logits. */
export class Tally {
  readonly #classes: readonly string[];
  readonly #loss: LossKind;
  readonly #importance: readonly number[] | undefined;
  #images = 0;
  #lossSum = 0;
  #top1 = 0;
  #top5 = 0;
  #many = false;
  readonly #confusion: number[][];
  readonly #inTop5: number[];
  /** Ranks of the true answers of each image with many labels, and its labels. */
  readonly #ranked: {
    readonly hits: readonly { rank: number; label: number }[];
    readonly labels: number[];
  }[] = [];

  /** @param importance see {@link EvaluateOptions.classImportance} */
  constructor(classes: readonly string[], loss: LossKind, importance?: readonly number[]) {
    const wrong = importance?.find((weight) => !(weight >= 0 && Number.isFinite(weight)));
    if (wrong !== undefined || (importance !== undefined && importance.length !== classes.length)) {
      const got = wrong === undefined ? `${importance?.length} numbers` : String(wrong);
      throw new ArgumentError(
        `evaluation: classImportance expects ${classes.length} numbers of at least 0, got ${got}`,
      );
    }
    this.#classes = classes;
    this.#loss = loss;
    this.#importance = importance;
    this.#confusion = classes.map(() => new Array<number>(classes.length).fill(0));
    this.#inTop5 = classes.map(() => 0);
  }

  /** @param logits [n, classes] @param labels of the same n images */
  add(logits: Float32Array, labels: Int32Array | Uint8Array): void {
    const width = this.#classes.length;
    const n = logits.length / width;
    if (labels instanceof Uint8Array && this.#loss === 'softmax') {
      throw new ArgumentError("loss: images with many labels need 'sigmoid', got 'softmax'");
    }
    for (let i = 0; i < n; i++) {
      const row = logits.subarray(i * width, (i + 1) * width);
      if (labels instanceof Int32Array) this.#addOne(row, labels[i] as number);
      else this.#addMany(row, labels.subarray(i * width, (i + 1) * width));
    }
    this.#images += n;
  }

  #addOne(row: Float32Array, label: number): void {
    const best = bestOf(row, Math.min(topK, row.length));
    const answer = best[0] as number;
    const counts = this.#confusion[label];
    if (counts === undefined) {
      throw new DataError(`label ${label} is out of range; expected 0 to ${this.#classes.length - 1}`);
    }
    counts[answer] = (counts[answer] as number) + 1;
    if (answer === label) this.#top1 += 1;
    if (best.includes(label)) {
      this.#top5 += 1;
      this.#inTop5[label] = (this.#inTop5[label] as number) + 1;
    }
    this.#lossSum +=
      this.#loss === 'softmax' ? softmaxLoss(row, label) : sigmoidLoss(row, (index) => index === label);
  }

  #addMany(row: Float32Array, target: Uint8Array): void {
    this.#many = true;
    const best = bestOf(row, Math.min(mapK, row.length));
    const hits = best.flatMap((label, rank) => (target[label] === 1 ? [{ rank, label }] : []));
    if (hits[0]?.rank === 0) this.#top1 += 1;
    if ((hits[0]?.rank ?? topK) < topK) this.#top5 += 1;
    const labels: number[] = [];
    target.forEach((value, label) => {
      if (value === 1) labels.push(label);
    });
    this.#ranked.push({ hits, labels });
    this.#lossSum += sigmoidLoss(row, (index) => target[index] === 1);
  }

  /** @throws DataError if nothing was counted */
  result(): Evaluation {
    const images = this.#images;
    if (images === 0) throw new DataError('evaluation: the data set has no readable image');
    const confusion = this.#many ? [] : this.#confusion;
    return {
      images,
      loss: this.#lossSum / images,
      top1: this.#top1 / images,
      top5: this.#top5 / images,
      perClass: this.#many ? [] : this.#classes.map((name, label) => this.#classScores(name, label)),
      confusion,
      map: this.#many ? this.#meanAveragePrecision() : undefined,
    };
  }

  #classScores(name: string, label: number): ClassScores {
    const row = this.#confusion[label] as number[];
    const images = row.reduce((sum, count) => sum + count, 0);
    const called = this.#confusion.reduce((sum, counts) => sum + (counts[label] as number), 0);
    const right = row[label] as number;
    const share = (part: number, whole: number) => (whole === 0 ? undefined : part / whole);
    return {
      class: name,
      images,
      top1: share(right, images),
      top5: share(this.#inTop5[label] as number, images),
      precision: share(right, called),
    };
  }

  #meanAveragePrecision(): MeanAveragePrecision {
    const k = Math.min(mapK, this.#classes.length);
    const common = this.#classes.map(() => 0);
    for (const { labels } of this.#ranked)
      for (const label of labels) common[label] = (common[label] as number) + 1;
    const mean = (weight: (label: number) => number): number => {
      let sum = 0;
      let count = 0;
      for (const { hits, labels } of this.#ranked) {
        if (labels.length === 0) continue;
        const weights = labels.map(weight).sort((a, b) => b - a);
        const whole = weights.slice(0, k).reduce((total, value) => total + value, 0);
        if (whole === 0) continue;
        let found = 0;
        hits.forEach(({ rank, label }, nth) => {
          found += (weight(label) * (nth + 1)) / (rank + 1);
        });
        sum += found / whole;
        count += 1;
      }
      return count === 0 ? 0 : sum / count;
    };
    const importance = this.#importance ?? common;
    return { k, value: mean(() => 1), weighted: mean((label) => importance[label] as number) };
  }
}

/** Runs a classifier's forward pass on batches of one size, padding the last: one compiled program, or op by op. */
export class Predictor implements Disposable {
  readonly #model: Classifier;
  readonly #forward: Compiled<[Tensor], Tensor> | ((images: Tensor) => Tensor);

  /** @throws UnsupportedError for a precision that the model's device does not have */
  constructor(
    model: Classifier,
    { mode = 'compiled', precision }: Pick<EvaluateOptions, 'mode' | 'precision'> = {},
  ) {
    this.#model = model;
    const computeType = computeTypeOf(precision, model.backend);
    const forward = (images: Tensor) => model.logits(images, new ForwardContext({ computeType }));
    this.#forward = mode === 'compiled' ? compile(forward) : forward;
  }

  /**
   * Logits of up to `batchSize` images, [n, classes]; the rest of the batch is filled with zeros and left out of the result.
   * @param images uint8 to be normalized or float32 as it stands, [n, height, width, 3]
   */
  async logits(
    images: Uint8Array | Float32Array,
    shape: readonly [number, number, number, number],
    batchSize: number,
  ): Promise<Float32Array> {
    const [n, ...rest] = shape;
    const stride = images.length / n;
    let filled = images;
    if (n < batchSize) {
      filled =
        images instanceof Uint8Array
          ? new Uint8Array(batchSize * stride)
          : new Float32Array(batchSize * stride);
      filled.set(images);
    }
    const backend = this.#model.backend;
    const logits = scope(() => this.#forward(tensor(filled, [Math.max(n, batchSize), ...rest], { backend })));
    try {
      const data = (await logits.data()) as Float32Array;
      return data.subarray(0, (data.length / Math.max(n, batchSize)) * n);
    } finally {
      logits.dispose();
    }
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    if (Symbol.dispose in this.#forward) this.#forward.dispose();
  }
}

/**
 * Evaluates a classifier on every readable image of a data set, each exactly once, with the running statistics and
 * without dropout.
 * @throws DataError where the data set has no readable image or another number of classes; UnsupportedError for a precision
 * that the device does not have
 */
export async function evaluate(
  model: Classifier,
  data: Dataset,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { loss = 'softmax', classImportance, workers, signal, onBatch } = options;
  const batchSize = Math.min(options.batchSize ?? 32, Math.max(1, data.length));
  if (data.classes.length !== model.config.classes) {
    throw new DataError(
      `evaluation: the model has ${model.config.classes} classes, the data ${data.classes.length}`,
    );
  }
  const tally = new Tally(data.classes, loss, classImportance);
  using predictor = new Predictor(model, options);
  const batches = data.batches({
    batchSize,
    augment: 'none',
    color: false,
    shuffle: false,
    dropLast: false,
    ...(workers === undefined ? {} : { workers }),
    ...(signal === undefined ? {} : { signal }),
  });
  for await (const batch of batches) {
    const logits = await predictor.logits(batch.images, batch.shape, batchSize);
    onBatch?.(batch, logits);
    tally.add(logits, batch.labels);
  }
  return tally.result();
}
