// What optimizers do to one parameter, or to many in one flat tensor, and Polyak averaging. Pure: new values come out.

import { apply, applyOne } from '../core/apply.ts';
import { type Aval, aval, sizeOf } from '../core/aval.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { expectRange, expectShare, expectWhole, type Match, shapeRule } from './shapeRule.ts';

/*
 * w, g and the states have one shape; learning rate, step, decay and factor are scalars on the device, because they
 * change from step to step. L2 regularization adds the gradient of weightDecay/2 |w|²:
 *   g' = factor g + weightDecay w.
 * In a flat tensor the parameters that decay come first: only the elements before `decayed` do.
 * `factor` is that of a gradientGate, or left out: 1. Where it is NaN, nothing changes.
 */
const none = 'an update is not differentiated';

/** Attributes of sgdUpdate. */
export type SgdAttributes = {
  readonly weightDecay: number;
  /** How many elements decay, from the first on. Default: all. */
  readonly decayed?: number | undefined;
};

/** `count` results of the operands' shape. */
const alike = ({ lead, dtype }: Match, count: number): Aval[] =>
  Array.from({ length: count }, () => aval(lead, dtype));

function expectDecay(match: Match, { weightDecay, decayed }: SgdAttributes): void {
  expectRange(match, 'weightDecay', weightDecay, 0);
  if (decayed === undefined) return;
  expectWhole(match, 'decayed', [decayed], 0);
  const size = sizeOf(match.lead);
  if (decayed > size) throw match.argumentError(`decayed expects at most ${size} elements, got ${decayed}`);
}

/** The last two attributes of every update; -1: all elements decay. */
const encodeDecay = ({ weightDecay, decayed = -1 }: SgdAttributes) => [weightDecay, decayed];

/** sgdUpdate(w, g, lr) → w - lr g'. */
export const sgdUpdateOp = defineOp<SgdAttributes>()({
  name: 'sgdUpdate',
  inputs: ['w', 'g', 'lr', 'factor'],
  optional: true,
  outputs: ['w'],
  inPlace: ['w'],
  infer: shapeRule('sgdUpdate', { w: 'T[...]', g: 'T[...]', lr: 'A[]', 'factor?': 'A[]' }, (_, match, a) => {
    expectDecay(match, a);
    return alike(match, 1);
  }),
  encode: encodeDecay,
  vjp: { none },
});

export type MomentumAttributes = SgdAttributes & { readonly momentum: number; readonly nesterov: boolean };

/**
 * momentumUpdate(w, g, m, lr) → w, m as in Keras: m = momentum m - lr g'; w = w + m, or, with Nesterov's look
 * ahead, w + momentum m - lr g'. Sutskever et al., ICML 2013, section 2.
 */
export const momentumUpdateOp = defineOp<MomentumAttributes>()({
  name: 'momentumUpdate',
  inputs: ['w', 'g', 'm', 'lr', 'factor'],
  optional: true,
  outputs: ['w', 'm'],
  inPlace: ['w', 'm'],
  infer: shapeRule(
    'momentumUpdate',
    { w: 'T[...]', g: 'T[...]', m: 'T[...]', lr: 'A[]', 'factor?': 'A[]' },
    (_, match, a) => {
      expectShare(match, 'momentum', a.momentum);
      expectDecay(match, a);
      return alike(match, 2);
    },
  ),
  encode: (a) => [a.momentum, Number(a.nesterov), ...encodeDecay(a)],
  vjp: { none },
});

/** `epsilonOutside`: epsilon is added to the root (PyTorch), not under it (TensorFlow, Keras). */
export type RmspropAttributes = SgdAttributes & {
  readonly rho: number;
  readonly epsilon: number;
  readonly epsilonOutside: boolean;
};

function expectRmsprop(match: Match, a: RmspropAttributes): void {
  expectShare(match, 'rho', a.rho);
  expectRange(match, 'epsilon', a.epsilon, 0);
  expectDecay(match, a);
}

/**
 * rmspropUpdate(w, g, v, lr) → w, v: v = rho v + (1 - rho) g'²; w = w - lr g' / sqrt(v + epsilon), or
 * outside: lr g' / (sqrt(v) + epsilon). Tieleman, Hinton: lecture 6.5, 2012.
 */
export const rmspropUpdateOp = defineOp<RmspropAttributes>()({
  name: 'rmspropUpdate',
  inputs: ['w', 'g', 'v', 'lr', 'factor'],
  optional: true,
  outputs: ['w', 'v'],
  inPlace: ['w', 'v'],
  infer: shapeRule(
    'rmspropUpdate',
    { w: 'T[...]', g: 'T[...]', v: 'T[...]', lr: 'A[]', 'factor?': 'A[]' },
    (_, match, a) => {
      expectRmsprop(match, a);
      return alike(match, 2);
    },
  ),
  encode: (a) => [a.rho, a.epsilon, Number(a.epsilonOutside), ...encodeDecay(a)],
  vjp: { none },
});

export type RmspropMomentumAttributes = RmspropAttributes & { readonly momentum: number };

/**
 * rmspropMomentumUpdate(w, g, v, m, lr) → w, v, m, with v as in rmspropUpdate.
 * Epsilon inside (TensorFlow, Keras): m = momentum m + lr g' / sqrt(v + epsilon); w = w - m.
 * Outside (PyTorch): m = momentum m + g' / (sqrt(v) + epsilon); w = w - lr m.
 */
export const rmspropMomentumUpdateOp = defineOp<RmspropMomentumAttributes>()({
  name: 'rmspropMomentumUpdate',
  inputs: ['w', 'g', 'v', 'm', 'lr', 'factor'],
  optional: true,
  outputs: ['w', 'v', 'm'],
  inPlace: ['w', 'v', 'm'],
  infer: shapeRule(
    'rmspropMomentumUpdate',
    { w: 'T[...]', g: 'T[...]', v: 'T[...]', m: 'T[...]', lr: 'A[]', 'factor?': 'A[]' },
    (_, match, a) => {
      expectRmsprop(match, a);
      expectShare(match, 'momentum', a.momentum);
      return alike(match, 3);
    },
  ),
  encode: (a) => [a.rho, a.momentum, a.epsilon, Number(a.epsilonOutside), ...encodeDecay(a)],
  vjp: { none },
});

export type AdamAttributes = SgdAttributes & {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
};

/**
 * adamUpdate(w, g, m, v, lr, step) → w, m, v: m = m + (1 - beta1)(g' - m); v = v + (1 - beta2)(g'² - v);
 * w = w - lr sqrt(1 - beta2^step) / (1 - beta1^step) m / (sqrt(v) + epsilon). `step` counts from 1.
 * Kingma, Ba, 2014, arXiv 1412.6980, end of section 2, where epsilon is their epsilon-hat.
 */
export const adamUpdateOp = defineOp<AdamAttributes>()({
  name: 'adamUpdate',
  inputs: ['w', 'g', 'm', 'v', 'lr', 'step', 'factor'],
  optional: true,
  outputs: ['w', 'm', 'v'],
  inPlace: ['w', 'm', 'v'],
  infer: shapeRule(
    'adamUpdate',
    { w: 'T[...]', g: 'T[...]', m: 'T[...]', v: 'T[...]', lr: 'A[]', step: 'A[]', 'factor?': 'A[]' },
    (_, match, a) => {
      expectRange(match, 'beta1', a.beta1, 0, 1);
      expectRange(match, 'beta2', a.beta2, 0, 1);
      expectRange(match, 'epsilon', a.epsilon, 0);
      expectDecay(match, a);
      return alike(match, 3);
    },
  ),
  encode: (a) => [a.beta1, a.beta2, a.epsilon, ...encodeDecay(a)],
  vjp: { none },
});

/** polyakUpdate(average, w, decay) → average + (1 - decay)(w - average). Polyak, Juditsky, 1992. */
export const polyakUpdateOp = defineOp<object>()({
  name: 'polyakUpdate',
  inputs: ['average', 'w', 'decay'],
  outputs: ['average'],
  inPlace: ['average'],
  infer: shapeRule('polyakUpdate', { average: 'T[...]', w: 'T[...]', decay: 'A[]' }, (_, match) =>
    alike(match, 1),
  ),
  encode: () => [],
  vjp: { none },
});

/** Options of every update. */
export interface UpdateOptions {
  /** L2 regularization: adds weightDecay · w to the gradient. Default 0. */
  readonly weightDecay?: number;
  /** How many elements of w decay, from the first on; the others do not. Default: all. */
  readonly decayed?: number | undefined;
  /** Scalar that the gradient is multiplied by; NaN: nothing is updated. Default: 1. */
  readonly factor?: Tensor | undefined;
}

const given = (factor: Tensor | undefined): Tensor[] => (factor === undefined ? [] : [factor]);

/** One step of gradient descent: w and g of one shape, lr a scalar. Returns the new w. */
export function sgdUpdate(
  w: Tensor,
  g: Tensor,
  lr: Tensor,
  { weightDecay = 0, decayed, factor }: UpdateOptions = {},
): Tensor {
  return applyOne(sgdUpdateOp, [w, g, lr, ...given(factor)], { weightDecay, decayed });
}

/** One step of gradient descent with momentum, default 0.9. `m` starts at zeros. */
export function momentumUpdate(
  w: Tensor,
  g: Tensor,
  m: Tensor,
  lr: Tensor,
  options: UpdateOptions & { readonly momentum?: number; readonly nesterov?: boolean } = {},
): { w: Tensor; m: Tensor } {
  const { momentum = 0.9, nesterov = false, weightDecay = 0, decayed, factor } = options;
  const attributes = { momentum, nesterov, weightDecay, decayed };
  const updated = apply(momentumUpdateOp, [w, g, m, lr, ...given(factor)], attributes);
  const [newW, newM] = updated as [Tensor, Tensor];
  return { w: newW, m: newM };
}

/** Options of the RMSprop updates; the defaults are Keras'. */
export interface RmspropOptions extends UpdateOptions {
  /** Decay of the mean square. Default 0.9. */
  readonly rho?: number;
  /** Default 1e-7. */
  readonly epsilon?: number;
  /** Add epsilon to the root (PyTorch) and not under it (TensorFlow, Keras). Default false. */
  readonly epsilonOutside?: boolean;
}

function resolveRmsprop(options: RmspropOptions): RmspropAttributes {
  const { rho = 0.9, epsilon = 1e-7, epsilonOutside = false, weightDecay = 0, decayed } = options;
  return { rho, epsilon, epsilonOutside, weightDecay, decayed };
}

/** One step of RMSprop without momentum. `v` starts at zeros. */
export function rmspropUpdate(
  w: Tensor,
  g: Tensor,
  v: Tensor,
  lr: Tensor,
  options: RmspropOptions = {},
): { w: Tensor; v: Tensor } {
  const operands = [w, g, v, lr, ...given(options.factor)];
  const [newW, newV] = apply(rmspropUpdateOp, operands, resolveRmsprop(options)) as [Tensor, Tensor];
  return { w: newW, v: newV };
}

/** One step of RMSprop with momentum, default 0.9. `v` and `m` start at zeros. */
export function rmspropMomentumUpdate(
  w: Tensor,
  g: Tensor,
  v: Tensor,
  m: Tensor,
  lr: Tensor,
  options: RmspropOptions & { readonly momentum?: number } = {},
): { w: Tensor; v: Tensor; m: Tensor } {
  const attributes = { ...resolveRmsprop(options), momentum: options.momentum ?? 0.9 };
  const updated = apply(rmspropMomentumUpdateOp, [w, g, v, m, lr, ...given(options.factor)], attributes);
  const [newW, newV, newM] = updated as [Tensor, Tensor, Tensor];
  return { w: newW, v: newV, m: newM };
}

/** Options of {@link adamUpdate}; the defaults are Keras'. */
export interface AdamOptions extends UpdateOptions {
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-7. */
  readonly epsilon?: number;
}

/** One step of Adam. `m` and `v` start at zeros; `step`, a scalar, counts from 1. */
export function adamUpdate(
  w: Tensor,
  g: Tensor,
  m: Tensor,
  v: Tensor,
  lr: Tensor,
  step: Tensor,
  options: AdamOptions = {},
): { w: Tensor; m: Tensor; v: Tensor } {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7, weightDecay = 0, decayed, factor } = options;
  const attributes = { beta1, beta2, epsilon, weightDecay, decayed };
  const updated = apply(adamUpdateOp, [w, g, m, v, lr, step, ...given(factor)], attributes);
  const [newW, newM, newV] = updated as [Tensor, Tensor, Tensor];
  return { w: newW, m: newM, v: newV };
}

/** One step of a moving average of a parameter: average + (1 - decay)(w - average), decay a scalar. */
export function polyakUpdate(average: Tensor, w: Tensor, decay: Tensor): Tensor {
  return applyOne(polyakUpdateOp, [average, w, decay], {});
}
