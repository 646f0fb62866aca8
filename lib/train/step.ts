// One training step as one function of tensors: forward, loss, gradients, optimizer, Polyak average. Compiled, it is one
// program and one native call; whatever changes from step to step is one of its inputs.

import type { Backend } from '../backend/backend.ts';
import type { Classifier } from '../classify/classifier.ts';
import { type Compiled, compile } from '../core/compile.ts';
import { ArgumentError } from '../core/errors.ts';
import { seedKey } from '../core/philox.ts';
import type { Program } from '../core/program.ts';
import { scope } from '../core/scope.ts';
import { valueAndGrad } from '../core/tape.ts';
import { type Tensor, tensor } from '../core/tensor.ts';
import type { Batch } from '../data/batch.ts';
import { ForwardContext } from '../nn/module.ts';
import { ops } from '../ops/index.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import type { PolyakAverage } from '../optim/polyak.ts';
import type { LossKind } from './evaluate.ts';

/** What a step is made of. */
export interface StepParts {
  readonly model: Classifier;
  readonly optimizer: Optimizer;
  readonly polyak: PolyakAverage | undefined;
  readonly loss: LossKind;
  readonly labelSmoothing: number;
  /** Weight of each class in the loss; undefined: all 1. */
  readonly classWeights: readonly number[] | undefined;
  readonly mode: 'compiled' | 'eager';
  /** Enters dropout. */
  readonly seed: number;
}

/** What a step gives back, both of before its update. */
export interface StepOutput {
  /** Scalar: mean over the batch, without weight decay. */
  readonly loss: Tensor;
  /** [n, classes] */
  readonly logits: Tensor;
}

/** Numbers of one step. */
export interface StepNumbers {
  /** From 1. */
  readonly step: number;
  readonly lr: number;
  readonly polyakDecay: number;
}

interface StepInputs {
  /** u8 or f32 [n, height, width, 3] */
  readonly images: Tensor;
  /** i32 [n], or f32 [n, classes] for sigmoid */
  readonly labels: Tensor;
  /** f32 [n], or absent */
  readonly weights: Tensor | undefined;
  /** f32 scalars */
  readonly lr: Tensor;
  readonly step: Tensor;
  readonly decay: Tensor;
  /** i32 [2]: seed and step */
  readonly counter: Tensor;
}

/** A training step, ready to be run on batches. Changes the model's variables, the optimizer's and the average's. */
export class TrainingStep implements Disposable {
  readonly #parts: StepParts;
  readonly #backend: Backend;
  readonly #run: Compiled<[StepInputs], StepOutput> | ((inputs: StepInputs) => StepOutput);

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.#backend = parts.model.backend;
    const body = (inputs: StepInputs) => trainingStep(parts, inputs);
    this.#run = parts.mode === 'compiled' ? compile(body) : body;
  }

  /** Queues one step and returns at once; the caller disposes of what it gets. */
  run(batch: Batch, numbers: StepNumbers): StepOutput {
    return scope(() => this.#run(this.#inputs(batch, numbers)));
  }

  /** The program of a step on batches like this one; for reading and timing. Runs nothing. */
  program(batch: Batch): Program {
    const parts = this.#parts;
    return scope(() => {
      using compiled = compile((inputs: StepInputs) => trainingStep(parts, inputs));
      return compiled.program(this.#inputs(batch, { step: 1, lr: 0, polyakDecay: 0 }));
    });
  }

  #inputs({ images, shape, labels }: Batch, { step, lr, polyakDecay }: StepNumbers): StepInputs {
    const { loss, classWeights, seed, model } = this.#parts;
    const backend = this.#backend;
    const [n] = shape;
    const { classes } = model.config;
    const scalar = (value: number) => tensor(value, [], { dtype: 'f32', backend });
    const [low, high] = seedKey(seed);
    return {
      images: tensor(images, shape, { backend }),
      labels:
        loss === 'sigmoid'
          ? tensor(manyHot(labels, n, classes), [n, classes], { backend })
          : tensor(oneLabel(labels), [n], { backend }),
      weights:
        classWeights === undefined
          ? undefined
          : tensor(weightsOf(oneLabel(labels), classWeights), [n], { backend }),
      lr: scalar(lr),
      step: scalar(step),
      decay: scalar(polyakDecay),
      counter: tensor(Int32Array.of(low ^ high, step), [2], { backend }),
    };
  }

  [Symbol.dispose](): void {
    if (Symbol.dispose in this.#run) this.#run.dispose();
  }
}

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

function trainingStep(parts: StepParts, inputs: StepInputs): StepOutput {
  const { model, optimizer, polyak, labelSmoothing } = parts;
  const { images, labels, weights, lr, step, decay, counter } = inputs;
  const parameters = [...optimizer.parameters.values()];
  const forward = valueAndGrad(() => {
    const logits = model.logits(images, new ForwardContext({ training: true, counter }));
    const each =
      parts.loss === 'softmax'
        ? ops.softmaxCrossEntropy(logits, labels, { smoothing: labelSmoothing })
        : ops.sigmoidCrossEntropy(logits, labels, { smoothing: labelSmoothing });
    // Weighted losses are divided by the number of images, not by the sum of the weights, as Keras does.
    const value = ops.mean(weights === undefined ? each : ops.multiply(each, weights));
    return { value, aux: logits };
  }, parameters);
  const { value, grads, aux } = forward();
  optimizer.step(grads, { lr, step });
  polyak?.update(decay);
  return { loss: value, logits: aux };
}
