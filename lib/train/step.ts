// One training step as one function of tensors: forward, loss, gradients, optimizer, Polyak average. Compiled, it is one
// program and one native call; whatever changes from step to step is in variables that are written before. Where the
// gradients of several batches are added up, each batch is one such call, and the update another.

import type { Classifier } from '../classify/classifier.ts';
import { type Compiled, compile } from '../core/compile.ts';
import type { ComputeType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { type FlatVariable, gather } from '../core/flat.ts';
import type { Program } from '../core/program.ts';
import { scope } from '../core/scope.ts';
import { valueAndGrad } from '../core/tape.ts';
import { type Tensor, tensor } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import type { Batch } from '../data/batch.ts';
import { ForwardContext } from '../nn/module.ts';
import type { GradientGateResult } from '../ops/gradientGate.ts';
import { ops } from '../ops/index.ts';
import { Accumulator } from '../optim/accumulator.ts';
import { ComputeCopy } from '../optim/computeCopy.ts';
import { type GradientGate, kept } from '../optim/gradientGate.ts';
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
  /**
   * Skips steps that are not finite, shortens gradients, and in f16 scales the loss. Default: none, and every step is
   * taken as it comes.
   */
  readonly gate?: GradientGate | undefined;
  /** Enters dropout. */
  readonly seed: number;
}

/** What a step gives back, both of before its update. */
export interface StepOutput {
  /** Scalar: mean over the batch, without weight decay, with the losses of classifiers at the side by their weights. */
  readonly loss: Tensor;
  /** [n, classes] */
  readonly logits: Tensor;
  /**
   * Scalar, with a gate and at a step's last batch: norm of the gradient of the mean loss over the step's batches, before it
   * was shortened, without weight decay. Where it or a loss is not finite, nothing was changed.
   */
  readonly norm?: Tensor | undefined;
}

/** Batches of this many shapes are kept ready for; the least recently used go first. */
const capacity = 8;

/** Steps on batches of one shape. */
interface Ready {
  readonly inputs: StepInputs;
  /** Gets the images; everything else is in `inputs`. Undefined: eager. */
  readonly compiled: Compiled<[Tensor], StepOutput> | undefined;
  /** Where gradients are added up: gets learning rate, step and decay of the average. */
  readonly update: Compiled<[Tensor, Tensor, Tensor], Tensor> | undefined;
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
  /** Where several batches make a step. */
  readonly #accumulator: Accumulator | undefined;

  /** Moves the running statistics of layers that are not frozen into one block of memory; they stay tensors of their own. */
  constructor(parts: StepParts) {
    this.#parts = parts;
    const statistics = [...parts.model.network.trainableStatistics().values()];
    this.#statistics = statistics.length === 0 ? undefined : gather(statistics);
    const { computeType = 'f32', optimizer, gate } = parts;
    if (optimizer.values === undefined) return;
    if (computeType !== 'f32') this.#copy = new ComputeCopy(optimizer.values, computeType);
    if (gate !== undefined && gate.batches > 1) {
      this.#accumulator = new Accumulator(optimizer.values, this.#statistics);
    }
  }

  /**
   * Queues one batch of a step, and with the step's last batch the update; returns at once. The caller disposes of what it
   * gets.
   */
  run(batch: Batch, numbers: StepNumbers): StepOutput {
    return this.#queue(this.#readyFor(batch, this.#counted(numbers)), numbers);
  }

  /** As {@link run}, on the batch of the last run, which is still on the device. @throws ArgumentError if there was none */
  repeat(numbers: StepNumbers): StepOutput {
    const [last] = this.#ready;
    if (last === undefined) throw new ArgumentError('training step: there is no batch to repeat');
    last.inputs.advance(this.#counted(numbers));
    return this.#queue(last, numbers);
  }

  /** Gives up the batches of a step that is not complete: all is as before the first of them. */
  giveUp(): void {
    const accumulator = this.#accumulator;
    const { backend } = this.#parts.model;
    if (accumulator !== undefined) scope(() => accumulator.restart(tensor([1], [], { backend })));
  }

  /**
   * Computes loss and gradients of a batch op by op, without changing anything; for looking at what the ops give
   * (`observing` of lib/core).
   */
  look(batch: Batch, numbers: StepNumbers): void {
    const { inputs } = this.#readyFor(batch, this.#counted(numbers));
    const statistics = this.#statistics;
    scope(() => {
      const before = statistics?.alias();
      try {
        differentiated(this.#parts, this.#copy, inputs, inputs.images);
      } finally {
        if (before !== undefined) statistics?.assign(before);
      }
    });
  }

  #queue({ inputs, compiled, update }: Ready, { batch = 0 }: StepNumbers): StepOutput {
    this.#copy?.refresh();
    const accumulator = this.#accumulator;
    const output =
      compiled === undefined ? scope(() => this.#step(inputs, inputs.images)) : compiled(inputs.images);
    if (accumulator === undefined) {
      this.#copy?.settle();
      return output;
    }
    if (batch < (this.#parts.gate as GradientGate).batches - 1) return output;
    const { lr, step, decay } = inputs;
    const norm =
      update === undefined
        ? scope(() => this.#update(accumulator, lr, step, decay))
        : update(lr, step, decay);
    this.#copy?.settle();
    return { ...output, norm };
  }

  /** The program of a step on batches like this one; for reading and timing. Runs nothing. */
  program(batch: Batch): Program {
    using inputs = this.#inputs(batch, { step: 1, lr: 0, polyakDecay: 0 });
    using compiled = this.#compile(inputs);
    return compiled.program(inputs.images);
  }

  /** The numbers with that of the batch in place of that of the step, for dropout. */
  #counted(numbers: StepNumbers): StepNumbers {
    const { batches = 1 } = this.#parts.gate ?? {};
    return { ...numbers, counter: (numbers.step - 1) * batches + (numbers.batch ?? 0) + 1 };
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
    if (this.#parts.mode === 'eager') return { inputs, compiled: undefined, update: undefined };
    const accumulator = this.#accumulator;
    return {
      inputs,
      compiled: this.#compile(inputs),
      update:
        accumulator === undefined
          ? undefined
          : compile((lr: Tensor, step: Tensor, decay: Tensor) => this.#update(accumulator, lr, step, decay)),
    };
  }

  #inputs(batch: Batch, numbers: StepNumbers): StepInputs {
    const { model, loss, classWeights, seed } = this.#parts;
    const { classes } = model.config;
    return new StepInputs({ backend: model.backend, loss, classes, classWeights, seed }, batch, numbers);
  }

  #compile(inputs: StepInputs): Compiled<[Tensor], StepOutput> {
    return compile((images: Tensor) => this.#step(inputs, images));
  }

  /** A whole step, or what a batch adds to one. Traceable. */
  #step(inputs: StepInputs, images: Tensor): StepOutput {
    const { optimizer, polyak, gate } = this.#parts;
    const statistics = this.#statistics;
    const accumulator = this.#accumulator;
    const before = gate === undefined || accumulator !== undefined ? undefined : statistics?.alias();
    const { loss, logits, gradients } = differentiated(this.#parts, this.#copy, inputs, images);
    const gradient = optimizer.flatten(gradients, gate?.scaler);
    const result =
      accumulator === undefined && gradient !== undefined ? gate?.result(gradient, loss) : undefined;
    // The layers have assigned them one by one.
    if (statistics !== undefined) {
      noting('statistics', () => statistics.assign(kept(result?.skip, before ?? statistics, statistics)));
    }
    before?.dispose();
    if (gradient === undefined) return { loss, logits };
    if (accumulator !== undefined) accumulator.add(gradient, loss);
    else this.#apply(gradient, inputs, polyak && inputs.decay, result);
    return result === undefined ? { loss, logits } : { loss, logits, norm: result.norm };
  }

  /** The update of a step of several batches. Gives the norm of the gradient. Traceable. */
  #update(accumulator: Accumulator, lr: Tensor, step: Tensor, decay: Tensor): Tensor {
    const { gradient, loss } = accumulator;
    const result = (this.#parts.gate as GradientGate).result(gradient, loss);
    this.#apply(gradient, { lr, step }, decay, result);
    accumulator.restart(result.skip);
    return result.norm;
  }

  /** Changes parameters, average and copy. Traceable. */
  #apply(
    gradient: Tensor,
    { lr, step }: { readonly lr: Tensor; readonly step: Tensor },
    decay: Tensor | undefined,
    result: GradientGateResult | undefined,
  ): void {
    const { optimizer, polyak, gate } = this.#parts;
    optimizer.update(gradient, { lr, step: gate?.taken(step) ?? step, factor: result?.factor });
    if (decay !== undefined) polyak?.update(decay, result?.skip);
    this.#copy?.update();
    if (result !== undefined) gate?.update(result.skip);
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    for (const ready of this.#ready.splice(0)) forget(ready);
    this.#statistics?.dispose();
    this.#copy?.dispose();
    this.#accumulator?.dispose();
  }
}

function forget(ready: Ready | undefined): void {
  ready?.compiled?.dispose();
  ready?.update?.dispose();
  ready?.inputs[Symbol.dispose]();
}

/** The forward pass and the gradients of its loss, which in f16 are those of the scaled loss. Traceable. */
function differentiated(
  parts: StepParts,
  copy: ComputeCopy | undefined,
  inputs: StepInputs,
  images: Tensor,
): StepOutput & { readonly gradients: readonly Tensor[] } {
  const { model, optimizer, labelSmoothing, gate, computeType = 'f32' } = parts;
  const { labels, weights, other, counter } = inputs;
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
      const own = weights === undefined ? each : ops.multiply(each, weights);
      if (other === undefined) return ops.mean(own);
      const theirs = ops.softmaxCrossEntropy(outputs, other.labels, { smoothing: labelSmoothing });
      return ops.mean(ops.add(own, ops.multiply(theirs, other.weights)));
    };
    const value = context.auxiliary.reduce(
      (sum, { logits, weight }) => ops.add(sum, ops.scale(lossOf(logits), weight)),
      lossOf(logits),
    );
    return { value: gate?.scaler?.scaled(value) ?? value, aux: { loss: value, logits } };
  }, [...parameters, ...copies]);
  const { grads, aux } = forward();
  const gradients = parameters.map(
    (parameter, i) => grads[context.copiesRead.has(parameter) ? parameters.length + i : i] as Tensor,
  );
  return { ...aux, gradients };
}
