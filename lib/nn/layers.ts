// The layers of the two networks: convolutions, normalization, linear, dropout, pooling, and how they are composed.

import { ArgumentError } from '../core/errors.ts';
import type { Tensor } from '../core/tensor.ts';
import { insideModule } from '../core/traceState.ts';
import { ops } from '../ops/index.ts';
import { castIfNeeded, fillBeside } from '../ops/shape.ts';
import { type PaddingOption as Padding, type PairOption as Pair, pair } from '../ops/window.ts';
import { glorotUniform, type Initializer, ones, zeros } from './initializers.ts';
import { type ForwardContext, Module, Parameter } from './module.ts';

/** Options of {@link Conv2d}. */
export interface Conv2dOptions {
  /** Height and width of the window, or both in one number. */
  readonly kernel: Pair;
  /** Default 1. */
  readonly stride?: Pair;
  /** Default `valid`; `same` is TensorFlow's rule. */
  readonly padding?: Padding;
  /** Default 1. */
  readonly dilation?: Pair;
  /** Default 1; equal to the input channels for a depthwise convolution. */
  readonly groups?: number;
  /** Default false: a normalization follows. */
  readonly bias?: boolean;
  /** Default: Glorot uniform, as Keras. */
  readonly initializer?: Initializer;
}

/** 2-D convolution: [n, h, w, in] to [n, h', w', out], weight [out, height, width, in / groups]. */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  readonly options: Conv2dOptions;

  constructor(inputs: number, outputs: number, options: Conv2dOptions) {
    super();
    const groups = options.groups ?? 1;
    if (inputs % groups !== 0 || outputs % groups !== 0) {
      throw new ArgumentError(
        `Conv2d: ${inputs} and ${outputs} channels do not divide into ${groups} groups`,
      );
    }
    const [height, width] = pair(options.kernel);
    const initializer = options.initializer ?? glorotUniform(groups);
    this.options = options;
    this.weight = new Parameter([outputs, height, width, inputs / groups], initializer, { decay: true });
    this.bias = options.bias === true ? new Parameter([outputs], zeros) : undefined;
  }

  override ownParameters(): Record<string, Parameter> {
    return this.bias === undefined ? { weight: this.weight } : { weight: this.weight, bias: this.bias };
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { stride = 1, padding = 'valid', dilation = 1, groups = 1 } = this.options;
    const w = context.kernel(this.weight);
    const y = ops.conv2d(context.cast(x), w, { stride, padding, dilation, groups });
    return this.bias === undefined ? y : ops.addBias(y, context.cast(this.bias));
  }
}

/** Options of {@link SeparableConv2d}: of its first convolution, and what is between the two. */
export interface SeparableConv2dOptions extends Omit<Conv2dOptions, 'bias'> {
  /** Default: one group per channel. With 1 the first convolution is a regular one. */
  readonly groups?: number;
  /** A layer without parameters. Default: nothing, as in the paper. */
  readonly between?: Module | undefined;
}

/** Depthwise convolution, then pointwise: the paper's "separable convolution". */
export class SeparableConv2d extends Module {
  readonly depthwise: Conv2d;
  readonly pointwise: Conv2d;
  readonly #between: Module | undefined;

  constructor(inputs: number, outputs: number, options: SeparableConv2dOptions) {
    super();
    const { between, ...spatial } = options;
    this.depthwise = new Conv2d(inputs, inputs, { groups: inputs, ...spatial });
    this.pointwise = new Conv2d(inputs, outputs, { kernel: 1 });
    this.#between = between;
  }

  override children() {
    return [
      ['depthwise', this.depthwise],
      ['pointwise', this.pointwise],
    ] as const;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const filtered = insideModule('depthwise', () => this.depthwise.forward(x, context));
    const between = this.#between?.forward(filtered, context) ?? filtered;
    return insideModule('pointwise', () => this.pointwise.forward(between, context));
  }
}

/** Options of {@link BatchNorm}; the defaults are those of Keras' Xception. */
export interface BatchNormOptions {
  /** Default 1e-3. */
  readonly epsilon?: number;
  /** Share of the old running statistics that is kept at each step. Default 0.99. */
  readonly momentum?: number;
  /** Whether the running variance takes the unbiased batch variance (PyTorch) or the biased one (Keras; default). */
  readonly unbiased?: boolean;
  /** Whether there is a trainable scale, gamma. Default true; without it gamma is 1. */
  readonly scale?: boolean;
}

/** Batch normalization over all axes but the last: Ioffe & Szegedy 2015. */
export class BatchNorm extends Module {
  /** Undefined: 1. */
  readonly gamma: Parameter | undefined;
  readonly beta: Parameter;
  readonly runningMean: Parameter;
  readonly runningVariance: Parameter;
  epsilon: number;
  momentum: number;
  unbiased: boolean;

  constructor(channels: number, options: BatchNormOptions = {}) {
    super();
    this.gamma = options.scale === false ? undefined : new Parameter([channels], ones);
    this.beta = new Parameter([channels], zeros);
    this.runningMean = new Parameter([channels], zeros);
    this.runningVariance = new Parameter([channels], ones);
    this.epsilon = options.epsilon ?? 1e-3;
    this.momentum = options.momentum ?? 0.99;
    this.unbiased = options.unbiased ?? false;
  }

  override ownParameters(): Record<string, Parameter> {
    return this.gamma === undefined ? { beta: this.beta } : { gamma: this.gamma, beta: this.beta };
  }

  override ownStatistics(): Record<string, Parameter> {
    return { running_mean: this.runningMean, running_var: this.runningVariance };
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const { beta, runningMean, runningVariance, epsilon, momentum, unbiased } = this;
    const gamma = this.gamma ?? fillBeside(beta, beta.shape, 1);
    if (!context.training || !this.trainable) {
      return ops.batchNormInference(x, gamma, beta, runningMean, runningVariance, { epsilon });
    }
    const normalized = ops.batchNormTraining(x, gamma, beta, runningMean, runningVariance, {
      epsilon,
      momentum,
      unbiased,
    });
    runningMean.assign(normalized.runningMean);
    runningVariance.assign(normalized.runningVariance);
    return normalized.y;
  }
}

/** Fully connected layer: [n, in] to [n, out], weight [out, in]. In 16 bits too its result is f32, as a loss wants it. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(inputs: number, outputs: number, options: { initializer?: Initializer } = {}) {
    super();
    this.weight = new Parameter([outputs, inputs], options.initializer ?? glorotUniform(), { decay: true });
    this.bias = new Parameter([outputs], zeros);
  }

  override ownParameters(): Record<string, Parameter> {
    return { weight: this.weight, bias: this.bias };
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const product = ops.linear(context.cast(x), context.kernel(this.weight));
    return ops.addBias(castIfNeeded(product, this.bias.dtype), this.bias);
  }
}

/** Zeroes a share of the elements in training and scales the rest up; nothing at inference. Srivastava et al. 2014. */
export class Dropout extends Module {
  readonly rate: number;

  constructor(rate: number) {
    super();
    if (!(rate >= 0 && rate < 1)) throw new ArgumentError(`Dropout: expected a rate in [0, 1), got ${rate}`);
    this.rate = rate;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    if (!context.training || this.rate === 0) return x;
    if (context.counter === undefined) {
      throw new ArgumentError('Dropout: training needs a counter (seed and step) in the context');
    }
    return ops.dropout(x, context.counter, { rate: this.rate, stream: context.nextStream() });
  }
}

/** A layer without parameters, from a function of one tensor. */
export class Lambda extends Module {
  readonly label: string;
  /** What it computes. */
  readonly fn: (x: Tensor) => Tensor;

  constructor(label: string, fn: (x: Tensor) => Tensor) {
    super();
    this.label = label;
    this.fn = fn;
  }

  forward(x: Tensor): Tensor {
    return this.fn(x);
  }
}

/** max(x, 0), elementwise; any shape. */
export const relu = (): Module => new Lambda('relu', ops.relu);
/** x where positive, else e^x - 1, elementwise; any shape. */
export const elu = (): Module => new Lambda('elu', (x) => ops.elu(x));
/** Mean over the image: [n, h, w, c] to [n, c]. */
export const globalAvgPool = (): Module => new Lambda('globalAvgPool', ops.globalAvgPool);
/** Largest value of each window: [n, h, w, c] to [n, h', w', c]. */
export const maxPool = (kernel: Pair, stride: Pair, padding: Padding): Module =>
  new Lambda('maxPool', (x) => ops.maxPool(x, { kernel, stride, padding }));
/** Mean of each window: [n, h, w, c] to [n, h', w', c]. `countPadding`: zeros around count (PyTorch). Default false. */
export const avgPool = (
  kernel: Pair,
  stride: Pair,
  padding: Padding,
  options: { readonly countPadding?: boolean } = {},
): Module => new Lambda('avgPool', (x) => ops.avgPool(x, { kernel, stride, padding, ...options }));

/** x · scale + shift per channel, with numbers that are not trained; [..., c]. */
export const channelAffine = (scale: readonly number[], shift: readonly number[]): Module =>
  new Lambda('channelAffine', (x) => {
    const vector = (values: readonly number[]) =>
      ops.concat(values.map((value) => fillBeside(x, [1], value, 'f32')));
    return ops.channelAffine(x, vector(scale), vector(shift));
  });

/** Layers one after the other. Names come from the keys; see {@link Module.children} for the empty name. */
export class Sequential extends Module {
  readonly #layers: readonly (readonly [string, Module])[];

  /** Layers as modules (which add no name of their own) or as `[name, module]`. */
  constructor(...layers: readonly (Module | readonly [string, Module])[]) {
    super();
    this.#layers = layers.map((layer) => (layer instanceof Module ? ['', layer] : layer));
  }

  override children() {
    return this.#layers;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    return this.#layers.reduce(
      (value, [name, layer]) => insideModule(name, () => layer.forward(value, context)),
      x,
    );
  }
}

/** The sum of two paths from one input: He et al. 2015. Without a shortcut module the input itself is added. */
export class Residual extends Module {
  readonly #main: Module;
  readonly #shortcut: Module | undefined;

  constructor(main: Module, shortcut?: Module) {
    super();
    this.#main = main;
    this.#shortcut = shortcut;
  }

  override children() {
    const main = ['', this.#main] as const;
    return this.#shortcut === undefined ? [main] : [main, ['', this.#shortcut] as const];
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    const shortcut = this.#shortcut === undefined ? x : this.#shortcut.forward(x, context);
    return ops.add(this.#main.forward(x, context), shortcut);
  }
}

/** Branches from one input, joined along the channels in their order: Szegedy et al. 2014, arXiv 1409.4842. */
export class Concat extends Module {
  readonly #branches: readonly Module[];

  constructor(...branches: readonly Module[]) {
    super();
    this.#branches = branches;
  }

  override children() {
    return this.#branches.map((branch) => ['', branch] as const);
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    return ops.concat(
      this.#branches.map((branch) => branch.forward(x, context)),
      -1,
    );
  }
}

/**
 * A classifier at the side: in training its logits [n, classes] are left in the context, for a loss of their own with
 * `weight`; the input goes on as it came. At inference nothing is computed. Szegedy et al. 2014.
 */
export class AuxiliaryClassifier extends Module {
  readonly #tower: Module;
  readonly #weight: number;

  constructor(tower: Module, weight: number) {
    super();
    this.#tower = tower;
    this.#weight = weight;
  }

  override children() {
    return [['', this.#tower]] as const;
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    if (context.training) {
      const logits = castIfNeeded(this.#tower.forward(x, context), 'f32');
      context.auxiliary.push({ logits, weight: this.#weight });
    }
    return x;
  }
}
