// What changes from step to step, as variables that each step writes anew: the batch, the learning rate, and counters.

import type { Backend } from '../backend/backend.ts';
import { ArgumentError } from '../core/errors.ts';
import { divide, type FlatVariable, flatLayout } from '../core/flat.ts';
import { seedKey } from '../core/philox.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, tensor, type Variable, variable } from '../core/tensor.ts';
import type { Batch, LabelMix } from '../data/batch.ts';
import type { LossKind } from './evaluate.ts';

/** How labels are read, and where everything goes. */
export interface InputSettings {
  readonly backend: Backend;
  readonly loss: LossKind;
  readonly classes: number;
  /** Weight of each class in the loss; undefined: all 1. */
  readonly classWeights: readonly number[] | undefined;
  /** Enters dropout. */
  readonly seed: number;
}

/** Numbers of one step. */
export interface StepNumbers {
  /** From 1. */
  readonly step: number;
  readonly lr: number;
  readonly polyakDecay: number;
  /** Which of the step's batches this is, from 0. Default 0. */
  readonly batch?: number;
  /** Number of the batch since the start of the run, from 1. Default: the step's. */
  readonly counter?: number;
}

/** The inputs of steps on batches of one shape. Writes happen in order with the steps, which may still be queued. */
export class StepInputs implements Disposable {
  /** u8 or f32 [n, height, width, 3] */
  readonly images: Variable;
  /** i32 [n], or f32 [n, classes] for sigmoid */
  readonly labels: Variable;
  /** f32 [n], or absent */
  readonly weights: Variable | undefined;
  /** Of images that are mixed, for softmax: labels i32 [n] of what is mixed in, and their weights f32 [n]. */
  readonly other: { readonly labels: Variable; readonly weights: Variable } | undefined;
  /** i32 [2]: seed and number of the batch */
  readonly counter: Variable;
  readonly #settings: InputSettings;
  readonly #shape: Batch['shape'];
  readonly #imageType: unknown;
  /** Learning rate, step and decay, so that they are written at once; the elements that count are at `starts`. */
  readonly #scalars: FlatVariable;
  readonly #scalarData: Float32Array;
  readonly #counterData: Int32Array;
  readonly #made: Variable[] = [];

  /** For batches such as this one, which is written as the first. Throws where labels do not fit to it or to the loss. */
  constructor(settings: InputSettings, batch: Batch, numbers: StepNumbers) {
    this.#settings = settings;
    const { images, labels, shape, mix } = batch;
    const { backend, loss, classes, seed } = settings;
    this.#shape = shape;
    this.#imageType = images.constructor;
    const [low, high] = seedKey(seed);
    this.#counterData = Int32Array.of(low ^ high, numbers.counter ?? numbers.step);
    const made = (data: Float32Array | Int32Array | Uint8Array, extents: readonly number[]) => {
      const input = variable(data, extents, { backend });
      this.#made.push(input);
      return input;
    };
    try {
      this.labels = made(this.#targetsOf(batch), loss === 'sigmoid' ? [shape[0], classes] : [shape[0]]);
      const weights = this.#weightsOf(labels, loss === 'softmax' ? mix?.shares : undefined);
      this.weights = weights && made(weights, [shape[0]]);
      if (mix !== undefined && loss === 'softmax') {
        this.other = {
          labels: made(oneLabel(mix.labels), [shape[0]]),
          weights: made(this.#weightsOf(mix.labels, rest(mix)) as Float32Array, [shape[0]]),
        };
      }
      this.images = made(images, shape);
      this.counter = made(this.#counterData, [2]);
      const scalars = [[], [], []];
      this.#scalarData = new Float32Array(flatLayout(scalars).size);
      this.#scalars = scope(() => divide(tensor(this.#scalarData, undefined, { backend }), scalars));
      this.#made.push(...this.#scalars.parts, this.#scalars);
      this.#writeNumbers(numbers);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** f32 scalar: learning rate. */
  get lr(): Tensor {
    return this.#scalars.parts[0] as Tensor;
  }

  /** f32 scalar: number of the step, from 1. */
  get step(): Tensor {
    return this.#scalars.parts[1] as Tensor;
  }

  /** f32 scalar: decay of the Polyak average. */
  get decay(): Tensor {
    return this.#scalars.parts[2] as Tensor;
  }

  /** Whether a batch has the shape and type of these. */
  fit({ images, shape, mix }: Batch): boolean {
    const own = this.#shape;
    const mixed = mix !== undefined && this.#settings.loss === 'softmax';
    return (
      mixed === (this.other !== undefined) &&
      shape[0] === own[0] &&
      shape[1] === own[1] &&
      shape[2] === own[2] &&
      images.constructor === this.#imageType
    );
  }

  /** Queues the writes; what is given may be changed as soon as this returns. */
  write(batch: Batch, numbers: StepNumbers): void {
    const { images, labels, mix } = batch;
    this.labels.set(this.#targetsOf(batch));
    const weights = this.weights && this.#weightsOf(labels, this.other && mix?.shares);
    if (weights !== undefined) this.weights?.set(weights);
    if (mix !== undefined && this.other !== undefined) {
      this.other.labels.set(oneLabel(mix.labels));
      this.other.weights.set(this.#weightsOf(mix.labels, rest(mix)) as Float32Array);
    }
    this.images.set(images);
    this.advance(numbers);
  }

  /** Queues the writes of what changes on the same batch. */
  advance(numbers: StepNumbers): void {
    this.#counterData[1] = numbers.counter ?? numbers.step;
    this.counter.set(this.#counterData);
    this.#writeNumbers(numbers);
  }

  #writeNumbers({ lr, step, polyakDecay }: StepNumbers): void {
    const { starts } = this.#scalars;
    this.#scalarData[starts[0] as number] = lr;
    this.#scalarData[starts[1] as number] = step;
    this.#scalarData[starts[2] as number] = polyakDecay;
    this.#scalars.set(this.#scalarData);
  }

  /** Labels i32 [n]; for sigmoid targets f32 [n, classes], which are mixed as the images are. */
  #targetsOf({ labels, mix }: Batch): Int32Array | Float32Array {
    const { loss, classes } = this.#settings;
    if (loss === 'softmax') return oneLabel(labels);
    const targets = manyHot(labels, this.#shape[0], classes);
    if (mix === undefined) return targets;
    const others = manyHot(mix.labels, this.#shape[0], classes);
    return targets.map((target, i) => {
      const share = mix.shares[Math.floor(i / classes)] as number;
      return share * target + (1 - share) * (others[i] as number);
    });
  }

  /** f32 [n]: shares times the weights of the labels' classes; undefined: all 1. */
  #weightsOf(labels: Int32Array | Uint8Array, shares: Float32Array | undefined): Float32Array | undefined {
    const { classWeights } = this.#settings;
    if (classWeights === undefined) return shares;
    const weights = weightsOf(oneLabel(labels), classWeights);
    return shares === undefined ? weights : weights.map((weight, i) => weight * (shares[i] as number));
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    for (const input of this.#made) input.dispose();
  }
}

/** The other image's share. */
const rest = ({ shares }: LabelMix): Float32Array => shares.map((share) => 1 - share);

function oneLabel(labels: Int32Array | Uint8Array): Int32Array {
  if (labels instanceof Int32Array) return labels;
  throw new ArgumentError("labels: many labels per image need loss 'sigmoid' and no class weights");
}

/** Labels as targets of the sigmoid loss: f32 [n, classes]. */
function manyHot(labels: Int32Array | Uint8Array, n: number, classes: number): Float32Array {
  if (labels instanceof Uint8Array) return Float32Array.from(labels);
  const targets = new Float32Array(n * classes);
  labels.forEach((label, i) => {
    targets[i * classes + label] = 1;
  });
  return targets;
}

const weightsOf = (labels: Int32Array, classWeights: readonly number[]): Float32Array =>
  Float32Array.from(labels, (label) => classWeights[label] ?? 1);
