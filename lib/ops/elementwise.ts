// Arithmetic on elements: add, subtract, multiply, scale, square.

import { applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { ArgumentError } from '../core/errors.ts';
import { defineOp } from '../core/op.ts';
import { scope } from '../core/scope.ts';
import type { Tensor } from '../core/tensor.ts';
import { broadcasting, fillBeside } from './shape.ts';
import { shapeRule } from './shapeRule.ts';

const binary = { a: 'T[...]', b: 'T[...]' } as const;

/** add(a, b) → y, of equal shapes. */
export const addOp = defineOp<object>()({
  name: 'add',
  inputs: ['a', 'b'],
  outputs: ['y'],
  inPlace: ['a'],
  infer: shapeRule('add', binary, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['a', 'b'],
    reads: {},
    rule: ({ cotangents: { y: g } }) => ({ a: g!, b: g! }),
  },
});

/** subtract(a, b) → y, of equal shapes. */
export const subtractOp = defineOp<object>()({
  name: 'subtract',
  inputs: ['a', 'b'],
  outputs: ['y'],
  inPlace: ['a'],
  infer: shapeRule('subtract', binary, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['a', 'b'],
    reads: {},
    rule: ({ cotangents: { y: g }, needs }) => ({ a: g!, ...(needs('b') && { b: scale(g!, -1) }) }),
  },
});

/** multiply(a, b) → y, of equal shapes. */
export const multiplyOp = defineOp<object>()({
  name: 'multiply',
  inputs: ['a', 'b'],
  outputs: ['y'],
  inPlace: ['a'],
  infer: shapeRule('multiply', binary, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['a', 'b'],
    reads: { inputs: ['a', 'b'] },
    rule: ({ cotangents: { y: g }, inputs: { a, b }, needs }) => ({
      ...(needs('a') && { a: multiply(g!, b) }),
      ...(needs('b') && { b: multiply(g!, a) }),
    }),
  },
});

/** scale(x) → y = factor x. */
export const scaleOp = defineOp<{ readonly factor: number }>()({
  name: 'scale',
  inputs: ['x'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('scale', { x: 'T[...]' }, (_, { lead, dtype, argumentError }, { factor }) => {
    if (typeof factor !== 'number') throw argumentError(`factor expects a number, got ${typeof factor}`);
    return [aval(lead, dtype)];
  }),
  encode: ({ factor }) => [factor],
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ attributes: { factor }, cotangents: { y: g } }) => ({ x: scale(g!, factor) }),
  },
});

/** square(x) → y = x². */
export const squareOp = defineOp<object>()({
  name: 'square',
  inputs: ['x'],
  outputs: ['y'],
  inPlace: ['x'],
  infer: shapeRule('square', { x: 'T[...]' }, (_, { lead, dtype }) => [aval(lead, dtype)]),
  encode: () => [],
  vjp: {
    differentiates: ['x'],
    reads: { inputs: ['x'] },
    rule: ({ cotangents: { y: g }, inputs: { x } }) => ({ x: scale(multiply(g!, x), 2) }),
  },
});

/** An operand of {@link add}, {@link subtract} and {@link multiply}; not both may be numbers. */
export type Operand = Tensor | number;

/** Calls `combine` with both operands as tensors of one shape. */
function combined(op: string, a: Operand, b: Operand, combine: (a: Tensor, b: Tensor) => Tensor): Tensor {
  if (typeof a === 'number') {
    if (typeof b === 'number') throw new ArgumentError(`${op}: a or b expects a tensor, got two numbers`);
    return scope(() => combine(fillBeside(b, b.shape, a), b));
  }
  if (typeof b === 'number') return scope(() => combine(a, fillBeside(a, a.shape, b)));
  return broadcasting(op, a, b, combine);
}

/** a + b, broadcast by NumPy's rule. */
export function add(a: Operand, b: Operand): Tensor {
  return combined('add', a, b, (p, q) => applyOne(addOp, [p, q], {}));
}

/** a - b, broadcast by NumPy's rule. */
export function subtract(a: Operand, b: Operand): Tensor {
  return combined('subtract', a, b, (p, q) => applyOne(subtractOp, [p, q], {}));
}

/** a · b by elements, broadcast by NumPy's rule. */
export function multiply(a: Operand, b: Operand): Tensor {
  if (typeof a === 'number' && typeof b !== 'number') return scale(b, a);
  if (typeof b === 'number' && typeof a !== 'number') return scale(a, b);
  return combined('multiply', a, b, (p, q) => applyOne(multiplyOp, [p, q], {}));
}

/** factor · x; the factor is a constant of the program. */
export function scale(x: Tensor, factor: number): Tensor {
  return applyOne(scaleOp, [x], { factor });
}

/** x² by elements. */
export function square(x: Tensor): Tensor {
  return applyOne(squareOp, [x], {});
}
