// One training step as one function of tensors: forward, loss, gradients, optimizer, Polyak average. Compiled, it is one
// program and one native call; whatever changes from step to step is in variables that are written before.

import type { Classifier } from '../classify/classifier.ts';
import { type Compiled, compile } from '../core/compile.ts';
import type { ComputeType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { type FlatVariable, gather } from '../core/flat.ts';
import type { Program } from '../core/program.ts';
import { scope } from '../core/scope.ts';
import { valueAndGrad } from '../core/tape.ts';
import type { Tensor } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import type { Batch } from '../data/batch.ts';
import { ForwardContext } from '../nn/module.ts';
import { ops } from '../ops/index.ts';
import { ComputeCopy } from '../optim/computeCopy.ts';
import { kept, type LossScaler } from '../optim/lossScaler.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import type { PolyakAverage } from '../optim/polyak.ts';
import type { LossKind } from './evaluate.ts';
import { StepInputs, type StepNumbers } from './stepInputs.ts';

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
  /** Type of the activations and of the kernels that they are multiplied with. Default f32. */
  readonly computeType?: ComputeType;
  /** For f16: without one the loss is not scaled, and no step is skipped. */
  readonly scaler?: LossScaler | undefined;
  /** Enters dropout. */
  readonly seed: number;
}

/** What a step gives back, both of before its update. */
export interface StepOutput {
  /** Scalar: mean over the batch, without weight decay, with the losses of classifiers at the side by their weights. */
  readonly loss: Tensor;
  /** [n, classes] */
  readonly logits: Tensor;
}

/** Batches of this many shapes are kept ready for; the least recently used go first. */
const capacity = 8;

/** Steps on batches of one shape. */
interface Ready {
  readonly inputs: StepInputs;
  /** Gets the images; everything else is in `inputs`. Undefined: eager. */
  readonly compiled: Compiled<[Tensor], StepOutput> | undefined;
}

/** A training step, ready to be run on batches. Changes the model's variables, the optimizer's and the average's. */
export class TrainingStep implements Disposable {
  readonly #parts: StepParts;
  /** By shape of the batch, the most recently used first. */
  readonly #ready: Ready[] = [];
  /** In one block of memory, as the optimizer has the parameters; undefined where there are none. */
  readonly #statistics: FlatVariable | undefined;
  /** The parameters in the type that is computed in; undefined where that is theirs. */
  readonly #copy: ComputeCopy | undefined;

  /** Moves the running statistics of layers that are not frozen into one block of memory; they stay tensors of their own. */
  constructor(parts: StepParts) {
    this.#parts = parts;
    const statistics = [...parts.model.network.trainableStatistics().values()];
    this.#statistics = statistics.length === 0 ? undefined : gather(statistics);
    const { computeType = 'f32', optimizer } = parts;
    if (computeType !== 'f32' && optimizer.values !== undefined) {
      this.#copy = new ComputeCopy(optimizer.values, computeType);
    }
  }

  /** Queues one step and returns at once; the caller disposes of what it gets. */
  run(batch: Batch, numbers: StepNumbers): StepOutput {
    return this.#queue(this.#readyFor(batch, numbers));
  }

  /** As {@link run}, on the batch of the last run, which is still on the device. @throws ArgumentError if there was none */
  repeat(numbers: StepNumbers): StepOutput {
    const [last] = this.#ready;
    if (last === undefined) throw new ArgumentError('training step: there is no batch to repeat');
    last.inputs.advance(numbers);
    return this.#queue(last);
  }

  #queue({ inputs, compiled }: Ready): StepOutput {
    this.#copy?.refresh();
    const output =
      compiled === undefined ? scope(() => this.#step(inputs, inputs.images)) : compiled(inputs.images);
    this.#copy?.settle();
    return output;
  }

  /** The program of a step on batches like this one; for reading and timing. Runs nothing. */
  program(batch: Batch): Program {
    using inputs = this.#inputs(batch, { step: 1, lr: 0, polyakDecay: 0 });
    using compiled = this.#compile(inputs);
    return compiled.program(inputs.images);
  }

  /** Inputs with this batch in them. */
  #readyFor(batch: Batch, numbers: StepNumbers): Ready {
    const [first] = this.#ready;
    if (first?.inputs.fit(batch)) {
      first.inputs.write(batch, numbers);
      return first;
    }
    const at = this.#ready.findIndex(({ inputs }) => inputs.fit(batch));
    const [found] = at < 0 ? [] : this.#ready.splice(at, 1);
    found?.inputs.write(batch, numbers);
    const ready = found ?? this.#make(batch, numbers);
    this.#ready.unshift(ready);
    if (this.#ready.length > capacity) forget(this.#ready.pop());
    return ready;
  }

  #make(batch: Batch, numbers: StepNumbers): Ready {
    const inputs = this.#inputs(batch, numbers);
    return { inputs, compiled: this.#parts.mode === 'compiled' ? this.#compile(inputs) : undefined };
  }

  #inputs(batch: Batch, numbers: StepNumbers): StepInputs {
    const { model, loss, classWeights, seed } = this.#parts;
    const { classes } = model.config;
    return new StepInputs({ backend: model.backend, loss, classes, classWeights, seed }, batch, numbers);
  }

  #compile(inputs: StepInputs): Compiled<[Tensor], StepOutput> {
    return compile((images: Tensor) => this.#step(inputs, images));
  }

  #step(inputs: StepInputs, images: Tensor): StepOutput {
    const statistics = this.#statistics;
    const { scaler } = this.#parts;
    const before = scaler === undefined ? undefined : statistics?.alias();
    const { overflow, ...output } = trainingStep(this.#parts, this.#copy, inputs, images);
    // The layers have assigned them one by one.
    if (statistics !== undefined) {
      noting('statistics', () => statistics.assign(kept(overflow, before ?? statistics, statistics)));
    }
    before?.dispose();
    if (overflow !== undefined) scaler?.update(overflow);
    return output;
  }

  [Symbol.dispose](): void {
    for (const ready of this.#ready.splice(0)) forget(ready);
    this.#statistics?.dispose();
    this.#copy?.dispose();
  }
}

function forget(ready: Ready | undefined): void {
  ready?.compiled?.dispose();
  ready?.inputs[Symbol.dispose]();
}

/** `overflow`: with a scaler, a scalar that is not 0 where the step was skipped. */
function trainingStep(
  parts: StepParts,
  copy: ComputeCopy | undefined,
  inputs: StepInputs,
  images: Tensor,
): StepOutput & { readonly overflow?: Tensor | undefined } {
  const { model, optimizer, polyak, labelSmoothing, scaler, computeType = 'f32' } = parts;
  const { labels, weights, lr, step, decay, counter } = inputs;
  const parameters = [...optimizer.parameters.values()];
  // A kernel's gradient is that of its copy, where a layer has read that.
  const copies = copy === undefined ? [] : parameters.map((parameter) => copy.parts.get(parameter) as Tensor);
  const context = new ForwardContext({ training: true, counter, computeType, copies: copy?.parts });
  const forward = valueAndGrad(() => {
    const logits = model.logits(images, context);
    const lossOf = (outputs: Tensor) => {
      const each =
        parts.loss === 'softmax'
          ? ops.softmaxCrossEntropy(outputs, labels, { smoothing: labelSmoothing })
          : ops.sigmoidCrossEntropy(outputs, labels, { smoothing: labelSmoothing });
      // Weighted losses are divided by the number of images, not by the sum of the weights, as Keras does.
      return ops.mean(weights === undefined ? each : ops.multiply(each, weights));
    };
    const value = context.auxiliary.reduce(
      (sum, { logits, weight }) => ops.add(sum, ops.scale(lossOf(logits), weight)),
      lossOf(logits),
    );
    return { value: scaler?.scaled(value) ?? value, aux: { loss: value, logits } };
  }, [...parameters, ...copies]);
  const { grads, aux } = forward();
  const gradients = parameters.map(
    (parameter, i) => grads[context.copiesRead.has(parameter) ? parameters.length + i : i] as Tensor,
  );
  const overflow = optimizer.step(gradients, { lr, step }, scaler);
  polyak?.update(decay, overflow);
  copy?.update();
  return { ...aux, overflow };
}
