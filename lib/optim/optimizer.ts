// Optimizers: which update op, with which attributes and state. They know ops and variables, and no backend.
// All parameters lie in one block of memory, and each kind of state in another, in the same order: one op updates all.

import { withBackend } from '../core/device.ts';
import { ArgumentError } from '../core/errors.ts';
import { divide, type FlatVariable, gather } from '../core/flat.ts';
import { scope } from '../core/scope.ts';
import type { Tensor, Variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import type { Parameter } from '../nn/module.ts';
import { ops } from '../ops/index.ts';
import { castIfNeeded } from '../ops/shape.ts';
import type { LossScaler } from './lossScaler.ts';

/** State of the parameters, by name: `momentum`, `square`, … */
type State = Readonly<Record<string, Variable>>;

/** L2 penalty: `weightDecay` times the first `decayed` elements is added to their gradient. */
export interface Decay {
  readonly weightDecay: number;
  readonly decayed: number;
}

/** What an update needs beside parameters, gradients and state. All are tensors, since they change from step to step. */
export interface UpdateInputs {
  /** f32 scalar: learning rate. */
  readonly lr: Tensor;
  /** f32 scalar: number of this step, from 1; steps that changed nothing do not count. */
  readonly step: Tensor;
  /** f32 scalar that the gradient is multiplied by; NaN: nothing changes. Default: 1. */
  readonly factor?: Tensor | undefined;
}

/** An optimizer before it has parameters: made by {@link sgd}, {@link rmsprop} and {@link adam}. */
export interface OptimizerSpec {
  /** `sgd`, `rmsprop` or `adam`. */
  readonly name: string;
  /** The hyper-parameters in force, for records. */
  readonly settings: Readonly<Record<string, number | boolean>>;
  /** Names of the state tensors that each parameter gets, all starting at zero. */
  readonly stateNames: readonly string[];
  /** New values of the parameters (`w`, all of them in one tensor, as `g` and the state) and of their state. */
  update(
    w: Tensor,
    g: Tensor,
    state: State,
    inputs: UpdateInputs,
    decay: Decay,
  ): Readonly<Record<string, Tensor>>;
}

function between(name: string, option: string, value: number, low: number, high: number): number {
  if (!(value >= low && value < high)) {
    throw new ArgumentError(`${name}: expected ${option} in [${low}, ${high}), got ${value}`);
  }
  return value;
}

/**
 * Gradient descent with momentum, as Keras writes it: m = momentum·m − lr·g, w = w + m;
 * with `nesterov`, w = w + momentum·m − lr·g (Sutskever et al. 2013).
 * @param options momentum default 0.9
 */
export function sgd(options: { momentum?: number; nesterov?: boolean } = {}): OptimizerSpec {
  const momentum = between('sgd', 'momentum', options.momentum ?? 0.9, 0, 1);
  const nesterov = options.nesterov ?? false;
  return {
    name: 'sgd',
    settings: { momentum, nesterov },
    stateNames: momentum === 0 ? [] : ['momentum'],
    update(w, g, state, { lr, factor }, decay) {
      if (momentum === 0) return { w: ops.sgdUpdate(w, g, lr, { ...decay, factor }) };
      const next = ops.momentumUpdate(w, g, state.momentum as Variable, lr, {
        momentum,
        nesterov,
        factor,
        ...decay,
      });
      return { w: next.w, momentum: next.m };
    },
  };
}

/**
 * RMSprop with momentum. As TensorFlow and Keras: v = ρv + (1 − ρ)g², m = momentum·m + lr·g / sqrt(v + ε), w = w − m.
 * With `epsilonOutside`, as PyTorch: m = momentum·m + g / (sqrt(v) + ε), w = w − lr·m.
 * @param options rho default 0.9 (PyTorch's form: 0.99), momentum 0.9 (0), epsilon 1e-7 (1e-8)
 */
export function rmsprop(
  options: { rho?: number; momentum?: number; epsilon?: number; epsilonOutside?: boolean } = {},
): OptimizerSpec {
  const epsilonOutside = options.epsilonOutside ?? false;
  const rho = between('rmsprop', 'rho', options.rho ?? (epsilonOutside ? 0.99 : 0.9), 0, 1);
  const momentum = between('rmsprop', 'momentum', options.momentum ?? (epsilonOutside ? 0 : 0.9), 0, 1);
  const epsilon = options.epsilon ?? (epsilonOutside ? 1e-8 : 1e-7);
  const attributes = { rho, epsilon, epsilonOutside };
  return {
    name: 'rmsprop',
    settings: { rho, momentum, epsilon, epsilonOutside },
    stateNames: momentum === 0 ? ['square'] : ['square', 'momentum'],
    update(w, g, state, { lr, factor }, decay) {
      const v = state.square as Variable;
      if (momentum === 0) {
        const next = ops.rmspropUpdate(w, g, v, lr, { ...attributes, ...decay, factor });
        return { w: next.w, square: next.v };
      }
      const next = ops.rmspropMomentumUpdate(w, g, v, state.momentum as Variable, lr, {
        ...attributes,
        momentum,
        factor,
        ...decay,
      });
      return { w: next.w, square: next.v, momentum: next.m };
    },
  };
}

/**
 * Adam (Kingma & Ba 2015) with Keras' epsilon: w = w − lr·sqrt(1 − β₂ᵗ)/(1 − β₁ᵗ)·m / (sqrt(v) + ε).
 * @param options beta1 default 0.9, beta2 0.999, epsilon 1e-7
 */
export function adam(options: { beta1?: number; beta2?: number; epsilon?: number } = {}): OptimizerSpec {
  const beta1 = between('adam', 'beta1', options.beta1 ?? 0.9, 0, 1);
  const beta2 = between('adam', 'beta2', options.beta2 ?? 0.999, 0, 1);
  const epsilon = options.epsilon ?? 1e-7;
  return {
    name: 'adam',
    settings: { beta1, beta2, epsilon },
    stateNames: ['momentum', 'square'],
    update(w, g, state, { lr, step, factor }, decay) {
      const next = ops.adamUpdate(w, g, state.momentum as Variable, state.square as Variable, lr, step, {
        beta1,
        beta2,
        epsilon,
        factor,
        ...decay,
      });
      return { w: next.w, momentum: next.m, square: next.v };
    },
  };
}

/** An optimizer at work on a set of parameters. */
export class Optimizer implements Disposable {
  readonly spec: OptimizerSpec;
  readonly weightDecay: number;
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** Paths in the order in memory: first the parameters that decay. */
  readonly #order: readonly string[];
  /** For each of these its position in `parameters`, where its gradient comes. */
  readonly #positions: readonly number[];
  /** Undefined where there are no parameters. */
  readonly #values: FlatVariable | undefined;
  readonly #states: Readonly<Record<string, FlatVariable>>;
  readonly #decay: Decay;

  /**
   * Moves the values of the parameters into one block of memory. They stay tensors of their own.
   * @param parameters by path; they have their values, on the backend where training runs
   * @param options weightDecay: L2 penalty λ, added as λw to the gradient of kernels only; default 0
   */
  constructor(
    spec: OptimizerSpec,
    parameters: ReadonlyMap<string, Parameter>,
    options: { weightDecay?: number } = {},
  ) {
    this.spec = spec;
    this.parameters = parameters;
    this.weightDecay = options.weightDecay ?? 0;
    const entries = [...parameters].map(([path, parameter], position) => ({ path, parameter, position }));
    const undecayed = entries.filter(({ parameter }) => !parameter.decay);
    const ordered = [...entries.filter(({ parameter }) => parameter.decay), ...undecayed];
    this.#order = ordered.map(({ path }) => path);
    this.#positions = ordered.map(({ position }) => position);
    const values = ordered.length === 0 ? undefined : gather(ordered.map(({ parameter }) => parameter));
    this.#values = values;
    const firstUndecayed = values?.starts[ordered.length - undecayed.length];
    this.#decay = { weightDecay: this.weightDecay, decayed: firstUndecayed ?? values?.size ?? 0 };
    this.#states =
      values === undefined
        ? {}
        : Object.fromEntries(spec.stateNames.map((name) => [name, zerosBeside(values)] as const));
  }

  /** The parameters' values in one block of memory, those that decay first; undefined where there are none. */
  get values(): FlatVariable | undefined {
    return this.#values;
  }

  /**
   * Updates every parameter from its gradient. Traceable.
   * @param grads in the order of `parameters`, of any floating types
   */
  step(grads: readonly Tensor[], inputs: UpdateInputs): void {
    noting('update', () =>
      scope(() => {
        const gradient = this.flatten(grads);
        if (gradient !== undefined) this.update(gradient, inputs);
      }),
    );
  }

  /** Updates every parameter from the gradient that {@link flatten} gives. Traceable. */
  update(gradient: Tensor, inputs: UpdateInputs): void {
    const values = this.#values;
    if (values === undefined) return;
    noting('update', () =>
      scope(() => {
        const { w, ...rest } = this.spec.update(values, gradient, this.#states, inputs, this.#decay);
        values.assign(w as Tensor);
        for (const [name, value] of Object.entries(rest)) (this.#states[name] as Variable).assign(value);
      }),
    );
  }

  /**
   * The gradients in one f32 tensor, in the order in memory; undefined where there are no parameters. Those of a 16-bit
   * type are taken together on the way. Traceable.
   * @param grads in the order of `parameters`, of any floating types
   * @param scaler whose scale the loss was multiplied by; it is taken out
   */
  flatten(grads: readonly Tensor[], scaler?: LossScaler): Tensor | undefined {
    if (grads.length !== this.parameters.size) {
      throw new ArgumentError(
        `${this.spec.name}: ${this.parameters.size} parameters, ${grads.length} gradients`,
      );
    }
    if (this.#values === undefined) return undefined;
    const ordered = this.#positions.map((position) => grads[position] as Tensor);
    const runs: Tensor[][] = []; // of neighbours that have one type
    for (const g of ordered) {
      const run = runs.at(-1);
      if (run?.[0]?.dtype === g.dtype) run.push(g);
      else runs.push([g]);
    }
    if (scaler !== undefined) return ops.flatten(scaler.unscale(runs.map(ops.flatten)).gradients);
    const inF32 = runs.flatMap((run) =>
      run[0]?.dtype === 'f32' ? run : castIfNeeded(ops.flatten(run), 'f32'),
    );
    return ops.flatten(inF32);
  }

  /** State tensors by `<parameter path>/<state name>`, in the order of `parameters`; for checkpoints. */
  state(): Map<string, Variable> {
    const indices = new Map(this.#order.map((path, i) => [path, i]));
    const all = new Map<string, Variable>();
    for (const path of this.parameters.keys()) {
      for (const [name, state] of Object.entries(this.#states)) {
        all.set(`${path}/${name}`, state.parts[indices.get(path) as number] as Variable);
      }
    }
    return all;
  }

  /** Frees the state. The parameters are their owners'. */
  dispose(): void {
    for (const tensor of this.state().values()) tensor.dispose();
    for (const state of Object.values(this.#states)) state.dispose();
    this.#values?.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Variables of zeros, one for each part of `values`, with the same places. */
const zerosBeside = (values: FlatVariable): FlatVariable =>
  withBackend(values.backend, () =>
    scope(() =>
      divide(
        ops.zeros(values.shape),
        values.parts.map(({ shape }) => shape),
      ),
    ),
  );

/** An {@link Optimizer} for `parameters`. */
export const createOptimizer = (
  spec: OptimizerSpec,
  parameters: ReadonlyMap<string, Parameter>,
  options: { weightDecay?: number } = {},
): Optimizer => new Optimizer(spec, parameters, options);
