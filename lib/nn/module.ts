// Modules: layers with named parameters, composed into networks. They know ops and tensors, and no backend.

import type { Backend } from '../backend/backend.ts';
import { aval, type Shape } from '../core/aval.ts';
import type { ComputeType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { type Tensor, Variable } from '../core/tensor.ts';
import { castIfNeeded } from '../ops/shape.ts';
import { type Initializer, keyFor } from './initializers.ts';

/** What a forward pass is told beside its input. */
export class ForwardContext {
  /** Training: batch statistics, running statistics updated, dropout on. */
  readonly training: boolean;
  /** i32[2]: seed and step, for random ops; needed in training where there is dropout. */
  readonly counter: Tensor | undefined;
  /**
   * Type of the activations, and of the kernels that they are multiplied with. What belongs to a normalization (its
   * parameters, sums and statistics) is f32 whatever it is, and so is what a {@link Parameter} holds.
   */
  readonly computeType: ComputeType;
  readonly #copies: ReadonlyMap<Tensor, Tensor> | undefined;
  readonly #copiesRead = new Set<Tensor>();
  /** Logits [n, classes] of classifiers at the side, in training, with the weights of their losses beside the main one's 1. */
  readonly auxiliary: { readonly logits: Tensor; readonly weight: number }[] = [];
  #streams = 0;

  /** @param options computeType: default f32; copies: of kernels in that type, for {@link ForwardContext.kernel} */
  constructor(
    options: {
      training?: boolean;
      counter?: Tensor | undefined;
      computeType?: ComputeType;
      copies?: ReadonlyMap<Tensor, Tensor> | undefined;
    } = {},
  ) {
    this.training = options.training ?? false;
    this.counter = options.counter;
    this.computeType = options.computeType ?? 'f32';
    this.#copies = options.copies;
  }

  /** A tensor in the type that is computed in; itself, where it has that already. */
  cast(x: Tensor): Tensor {
    return castIfNeeded(x, this.computeType);
  }

  /**
   * A parameter that activations are multiplied with, in the type that is computed in: the copy that training keeps of it,
   * or a cast. A layer reads a parameter in this way or directly, not in both.
   */
  kernel(parameter: Tensor): Tensor {
    const copy = this.#copies?.get(parameter);
    if (copy === undefined) return this.cast(parameter);
    this.#copiesRead.add(parameter);
    return copy;
  }

  /** The parameters whose copies have been read. */
  get copiesRead(): ReadonlySet<Tensor> {
    return this.#copiesRead;
  }

  /** A number of its own for each random op of one forward pass, in order. */
  nextStream(): number {
    this.#streams += 1;
    return this.#streams;
  }
}

/**
 * A trainable tensor of a module, or a running statistic. Its first value is made when it is needed, on the backend where
 * it is needed; {@link Module.to} decides both.
 */
export class Parameter extends Variable {
  /** Whether weight decay applies: true for kernels of convolutions and dense layers. */
  readonly decay: boolean;
  readonly initializer: Initializer;

  constructor(shape: Shape, initializer: Initializer, options: { decay?: boolean } = {}) {
    super(
      aval(shape, 'f32'),
      { kind: 'pending', initialize: () => initializer(shape, keyFor(0, shape.join())) },
      { owned: false },
    );
    this.initializer = initializer;
    this.decay = options.decay ?? false;
  }

  #given = false;

  /** Replaces the value; if there is none yet, `data` becomes the first, and must not change until then. */
  give(data: Float32Array): void {
    if (this.state.kind !== 'pending') {
      this.set(data);
      return;
    }
    this.#given = true;
    this.state = { kind: 'pending', initialize: () => data };
  }

  /** Makes the first value from a seed and a name, unless the parameter has or was given one already. */
  seed(seed: number, name: string): void {
    if (this.state.kind !== 'pending' || this.#given) return;
    this.state = { kind: 'pending', initialize: () => this.initializer(this.shape, keyFor(seed, name)) };
  }
}

/** A layer or a network of layers. */
export abstract class Module implements Disposable {
  #trainable = true;

  /** Inputs are NHWC images or [n, features]; see each layer. */
  abstract forward(x: Tensor, context: ForwardContext): Tensor;

  /** Layers inside, by name. An empty name adds nothing to the names of what is inside it. */
  children(): readonly (readonly [string, Module])[] {
    return [];
  }

  /** Trainable tensors of this layer itself, by name. */
  ownParameters(): Readonly<Record<string, Parameter>> {
    return {};
  }

  /** Running statistics of this layer itself, by name. */
  ownStatistics(): Readonly<Record<string, Parameter>> {
    return {};
  }

  /** Frozen (false): no gradient, no update, and normalization uses its running statistics. Set for all layers inside. */
  get trainable(): boolean {
    return this.#trainable;
  }

  /** Freezes (false) or frees (true) this layer and all inside. */
  set trainable(value: boolean) {
    this.#trainable = value;
    for (const [, child] of this.children()) child.trainable = value;
  }

  /** Every layer with its path, this one first under the empty path. */
  modules(prefix = ''): [string, Module][] {
    const found: [string, Module][] = [[prefix, this]];
    for (const [name, child] of this.children()) found.push(...child.modules(join(prefix, name)));
    return found;
  }

  /** The layer at a path such as `block2_sepconv1.depthwise`. Throws ArgumentError if there is none. */
  module(path: string): Module {
    const found = this.modules().find(([name]) => name === path);
    if (found === undefined) throw new ArgumentError(`module: no layer is named ${JSON.stringify(path)}`);
    return found[1];
  }

  /** All trainable tensors by path, frozen ones included, in the order of the layers. */
  parameters(): Map<string, Parameter> {
    return this.#collect((module) => module.ownParameters());
  }

  /** The parameters that training changes: those of layers that are not frozen. */
  trainableParameters(): Map<string, Parameter> {
    return this.#collect((module) => (module.trainable ? module.ownParameters() : {}));
  }

  /** The running statistics that training changes: those of layers that are not frozen. */
  trainableStatistics(): Map<string, Parameter> {
    return this.#collect((module) => (module.trainable ? module.ownStatistics() : {}));
  }

  /** All running statistics by path. */
  statistics(): Map<string, Parameter> {
    return this.#collect((module) => module.ownStatistics());
  }

  /** Parameters and running statistics: what a file of weights holds. */
  state(): Map<string, Parameter> {
    return this.#collect((module) => ({ ...module.ownParameters(), ...module.ownStatistics() }));
  }

  #collect(own: (module: Module) => Readonly<Record<string, Parameter>>): Map<string, Parameter> {
    const found = new Map<string, Parameter>();
    for (const [path, module] of this.modules()) {
      for (const [name, parameter] of Object.entries(own(module))) {
        const full = join(path, name);
        if (found.has(full)) throw new ArgumentError(`module: two tensors are named ${full}`);
        found.set(full, parameter);
      }
    }
    return found;
  }

  /**
   * Moves all tensors to a backend. Those without a value get their first one, which depends only on `seed` and their
   * path.
   */
  to(backend: Backend, options: { seed?: number } = {}): this {
    for (const [path, parameter] of this.state()) {
      parameter.seed(options.seed ?? 0, path);
      parameter.moveToBackend(backend);
    }
    return this;
  }

  /** Frees all tensors. */
  dispose(): void {
    for (const parameter of this.state().values()) parameter.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

const join = (prefix: string, name: string): string =>
  prefix === '' || name === '' ? prefix + name : `${prefix}.${name}`;
