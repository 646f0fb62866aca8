// Optimizers: which update op, with which attributes and state. They know ops and variables, and no backend.

import { byteLength } from '../core/aval.ts';
import { arrayFor } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, type Variable, variable } from '../core/tensor.ts';
import { noting } from '../core/traceState.ts';
import type { Parameter } from '../nn/module.ts';
import { ops } from '../ops/index.ts';

/** State of one parameter, by name: `momentum`, `square`, … */
type State = Readonly<Record<string, Variable>>;

/** What an update needs beside parameter, gradient and state. All are tensors, since they change from step to step. */
export interface UpdateInputs {
  /** f32 scalar: learning rate. */
  readonly lr: Tensor;
  /** f32 scalar: number of this step, from 1. */
  readonly step: Tensor;
}

/** An optimizer before it has parameters: made by {@link sgd}, {@link rmsprop} and {@link adam}. */
export interface OptimizerSpec {
  readonly name: string;
  /** The hyper-parameters in force, for records. */
  readonly settings: Readonly<Record<string, number | boolean>>;
  /** Names of the state tensors that each parameter gets, all starting at zero. */
  readonly stateNames: readonly string[];
  /** New values of the parameter (`w`) and of its state. */
  update(
    w: Tensor,
    g: Tensor,
    state: State,
    inputs: UpdateInputs,
    weightDecay: number,
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
    update(w, g, state, { lr }, weightDecay) {
      if (momentum === 0) return { w: ops.sgdUpdate(w, g, lr, { weightDecay }) };
      const next = ops.momentumUpdate(w, g, state.momentum as Variable, lr, {
        momentum,
        nesterov,
        weightDecay,
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
    update(w, g, state, { lr }, weightDecay) {
      const v = state.square as Variable;
      if (momentum === 0) {
        const next = ops.rmspropUpdate(w, g, v, lr, { ...attributes, weightDecay });
        return { w: next.w, square: next.v };
      }
      const next = ops.rmspropMomentumUpdate(w, g, v, state.momentum as Variable, lr, {
        ...attributes,
        momentum,
        weightDecay,
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
    update(w, g, state, { lr, step }, weightDecay) {
      const next = ops.adamUpdate(w, g, state.momentum as Variable, state.square as Variable, lr, step, {
        beta1,
        beta2,
        epsilon,
        weightDecay,
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
  readonly #states = new Map<string, State>();

  /**
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
    for (const [path, parameter] of parameters) {
      const { shape, backend } = parameter;
      const zero = () => variable(arrayFor('f32', byteLength(parameter.aval) / 4), shape, { backend });
      this.#states.set(path, Object.fromEntries(spec.stateNames.map((name) => [name, zero()])));
    }
  }

  /** Updates every parameter from its gradient, in the order of `parameters`. Traceable. */
  step(grads: readonly Tensor[], inputs: UpdateInputs): void {
    if (grads.length !== this.parameters.size) {
      throw new ArgumentError(
        `${this.spec.name}: ${this.parameters.size} parameters, ${grads.length} gradients`,
      );
    }
    let i = 0;
    for (const [path, parameter] of this.parameters) {
      const gradient = grads[i++] as Tensor;
      const state = this.#states.get(path) as State;
      noting(`${path} update`, () =>
        scope(() => {
          const decay = parameter.decay ? this.weightDecay : 0;
          const { w, ...rest } = this.spec.update(parameter, gradient, state, inputs, decay);
          parameter.assign(w as Tensor);
          for (const [name, value] of Object.entries(rest)) (state[name] as Variable).assign(value);
        }),
      );
    }
  }

  /** State tensors by `<parameter path>/<state name>`, for checkpoints. */
  state(): Map<string, Variable> {
    const all = new Map<string, Variable>();
    for (const [path, state] of this.#states) {
      for (const [name, tensor] of Object.entries(state)) all.set(`${path}/${name}`, tensor);
    }
    return all;
  }

  dispose(): void {
    for (const tensor of this.state().values()) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** An {@link Optimizer} for `parameters`. */
export const createOptimizer = (
  spec: OptimizerSpec,
  parameters: ReadonlyMap<string, Parameter>,
  options: { weightDecay?: number } = {},
): Optimizer => new Optimizer(spec, parameters, options);
