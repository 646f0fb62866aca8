// Ops that move elements about or make them: broadcast, fill, cast, concat, slice, pad, reshape.

import { applyOne } from '../core/apply.ts';
import { type Aval, aval, type Shape, sameShape, sizeOf } from '../core/aval.ts';
import { withBackend } from '../core/device.ts';
import { type DType, dtypeCode, dtypes, isFloating } from '../core/dtype.ts';
import { ArgumentError, UnsupportedError } from '../core/errors.ts';
import { defineOp } from '../core/op.ts';
import { scope } from '../core/scope.ts';
import type { Tensor } from '../core/tensor.ts';
import { currentTrace } from '../core/traceState.ts';
import { sumTo } from './reduce.ts';
import { errorsOf, expectWhole, shapeRule } from './shapeRule.ts';

/** broadcast(x) → y: repeats x along axes that it lacks or has with extent 1. */
export const broadcastOp = defineOp<{ readonly shape: Shape }>()({
  name: 'broadcast',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('broadcast', { x: 'E[...]' }, (_, { lead, ...match }, { shape }) => {
    expectWhole(match, 'shape', shape, 0);
    const missing = shape.length - lead.length;
    if (missing < 0 || !lead.every((extent, i) => extent === 1 || extent === shape[missing + i])) {
      throw match.shapeError(`x expects extents of 1 or those of [${shape}], aligned at the last axis`);
    }
    return [aval(shape, match.dtype)];
  }),
  encode: ({ shape }) => shape,
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ cotangents: { y: g }, inputAvals: [x] }) => ({ x: sumTo(g!, x!.shape) }),
  },
});

/** fill() → y: every element `value`. */
export const fillOp = defineOp<{ readonly shape: Shape; readonly value: number; readonly dtype: DType }>()({
  name: 'fill',
  inputs: [],
  outputs: ['y'],
  infer: shapeRule('fill', {}, (_, match, { shape, dtype }) => {
    expectWhole(match, 'shape', shape, 0);
    expectDType('fill', dtype);
    return [aval(shape, dtype)];
  }),
  encode: ({ shape, value, dtype }) => [dtypeCode(dtype), value, ...shape],
  vjp: { none: 'fill reads no tensor' },
});

/** cast(x) → y: to an integer type it truncates towards zero and saturates. */
export const castOp = defineOp<{ readonly dtype: DType }>()({
  name: 'cast',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('cast', { x: 'E[...]' }, (_, { lead }, { dtype }) => {
    expectDType('cast', dtype);
    return [aval(lead, dtype)];
  }),
  encode: ({ dtype }) => [dtypeCode(dtype)],
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ cotangents: { y: g }, inputAvals: [x], outputAvals: [y] }) => {
      if (isFloating(x!.dtype) && isFloating(y!.dtype)) return { x: cast(g!, x!.dtype) };
      throw new UnsupportedError(
        `cast: no gradient passes from ${x!.dtype} to ${y!.dtype}, only between floating types`,
      );
    },
  },
});

function expectDType(op: string, dtype: DType): void {
  if (!dtypes.includes(dtype))
    throw new ArgumentError(`${op}: dtype expects ${dtypes.join(', ')}, got ${dtype}`);
}

/** concat(xs…) → y: one behind the other along `axis`. */
export const concatOp = defineOp<{ readonly axis: number }>()({
  name: 'concat',
  inputs: ['xs'],
  variadic: true,
  outputs: ['y'],
  infer: (inputs, { axis }) => {
    const { shapeError, typeError, argumentError } = errorsOf('concat', ['xs'], inputs);
    const [first] = inputs;
    if (first === undefined) throw argumentError('expects at least one operand');
    const { shape, dtype } = first;
    if (!Number.isInteger(axis) || axis < 0 || axis >= shape.length) {
      throw argumentError(`axis expects 0 to ${shape.length - 1}, got ${axis}`);
    }
    for (const x of inputs) {
      if (x.dtype !== dtype) throw typeError(`xs expects ${dtype} as the first has, got ${x.dtype}`);
      if (x.shape.length !== shape.length || x.shape.some((extent, i) => i !== axis && extent !== shape[i])) {
        throw shapeError(`xs expects the extents of the first except along axis ${axis}, got [${x.shape}]`);
      }
    }
    const total = inputs.reduce((sum, x) => sum + x.shape[axis]!, 0);
    return [aval(shape.with(axis, total), dtype)];
  },
  encode: ({ axis }) => [axis],
  vjp: {
    differentiates: ['xs'],
    reads: {},
    rule: ({ attributes: { axis }, cotangents: { y: g }, inputAvals }) => {
      let from = 0;
      const part = ({ shape }: Aval) => {
        const start = shape.map((_, i) => (i === axis ? from : 0));
        from += shape[axis]!;
        return slice(g!, start, shape);
      };
      return { xs: inputAvals.map(part) };
    },
  },
});

/** slice(x) → y: the block of shape `extent` at `start`. The adjoint of pad. */
export const sliceOp = defineOp<{ readonly start: Shape; readonly extent: Shape }>()({
  name: 'slice',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('slice', { x: 'E[...]' }, (_, { lead, ...match }, { start, extent }) => {
    expectWhole(match, 'start', start, 0);
    expectWhole(match, 'extent', extent, 0);
    const fits = start.length === lead.length && extent.length === lead.length;
    if (!fits || lead.some((whole, i) => start[i]! + extent[i]! > whole)) {
      throw match.shapeError(`x expects to hold a block of [${extent}] at [${start}]`);
    }
    return [aval(extent, match.dtype)];
  }),
  encode: ({ start, extent }) => [...start, ...extent],
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ attributes: { start, extent }, cotangents: { y: g }, inputAvals: [x] }) => ({
      x: pad(
        g!,
        start,
        x!.shape.map((whole, i) => whole - start[i]! - extent[i]!),
      ),
    }),
  },
});

/** pad(x) → y: zeros before and after, per axis. The adjoint of slice. */
export const padOp = defineOp<{ readonly before: Shape; readonly after: Shape }>()({
  name: 'pad',
  inputs: ['x'],
  outputs: ['y'],
  infer: shapeRule('pad', { x: 'E[...]' }, (_, { lead, ...match }, { before, after }) => {
    expectWhole(match, 'before', before, 0);
    expectWhole(match, 'after', after, 0);
    if (before.length !== lead.length || after.length !== lead.length) {
      throw match.shapeError(
        `x expects ${before.length} axes as before has, and ${after.length} as after has`,
      );
    }
    return [
      aval(
        lead.map((extent, i) => before[i]! + extent + after[i]!),
        match.dtype,
      ),
    ];
  }),
  encode: ({ before, after }) => [...before, ...after],
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ attributes: { before }, cotangents: { y: g }, inputAvals: [x] }) => ({
      x: slice(g!, before, x!.shape),
    }),
  },
});

/** reshape(x) → y: the same elements in the same order. */
export const reshapeOp = defineOp<{ readonly shape: Shape }>()({
  name: 'reshape',
  inputs: ['x'],
  outputs: ['y'],
  view: true,
  infer: shapeRule('reshape', { x: 'E[...]' }, (_, { lead, ...match }, { shape }) => {
    expectWhole(match, 'shape', shape, 0);
    if (sizeOf(shape) !== sizeOf(lead)) {
      throw match.shapeError(`x expects ${sizeOf(shape)} elements for [${shape}], has ${sizeOf(lead)}`);
    }
    return [aval(shape, match.dtype)];
  }),
  encode: ({ shape }) => shape,
  vjp: {
    differentiates: ['x'],
    reads: {},
    rule: ({ cotangents: { y: g }, inputAvals: [x] }) => ({ x: reshape(g!, x!.shape) }),
  },
});

/** Repeats `x` to `shape` by NumPy's rule: aligned at the last axis, an extent of 1 is repeated. */
export function broadcast(x: Tensor, shape: Shape): Tensor {
  return applyOne(broadcastOp, [x], { shape });
}

/** A tensor of `shape` with every element `value`, on the default backend. Default type f32. */
export function fill(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  return applyOne(fillOp, [], { shape, value, dtype });
}

/** A tensor of zeros. Default type f32. */
export const zeros = (shape: Shape, dtype: DType = 'f32'): Tensor => fill(shape, 0, dtype);

/** A tensor of ones. Default type f32. */
export const ones = (shape: Shape, dtype: DType = 'f32'): Tensor => fill(shape, 1, dtype);

/** A constant of any shape where `x` is: on its backend, or in the trace that is being recorded. */
export function fillBeside(x: Tensor, shape: Shape, value: number, dtype: DType = x.dtype): Tensor {
  if (currentTrace() !== undefined) return fill(shape, value, dtype);
  return withBackend(x.backend, () => fill(shape, value, dtype));
}

/** The elements as another type. To an integer type: truncated towards zero and saturated; NaN becomes 0. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return applyOne(castOp, [x], { dtype });
}

/** As {@link cast}; `x` itself if it has the type already. For use inside ops. */
export const castIfNeeded = (x: Tensor, dtype: DType): Tensor => (x.dtype === dtype ? x : cast(x, dtype));

/** Joins tensors along `axis` (negative: from the end); the other extents are equal. */
export function concat(xs: readonly Tensor[], axis = 0): Tensor {
  const rank = xs[0]?.shape.length ?? 0;
  return applyOne(concatOp, xs, { axis: axis < 0 ? axis + rank : axis });
}

/** The block of shape `extent` at `start`; default: to the end of every axis. */
export function slice(x: Tensor, start: Shape, extent?: Shape): Tensor {
  return applyOne(sliceOp, [x], {
    start,
    extent: extent ?? x.shape.map((whole, i) => whole - (start[i] ?? 0)),
  });
}

/** Zeros around `x`: `before[i]` and `after[i]` along axis i. */
export function pad(x: Tensor, before: Shape, after: Shape): Tensor {
  return applyOne(padOp, [x], { before, after });
}

/** The same elements in another shape; one extent may be -1 and is worked out. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const at = shape.indexOf(-1);
  const known = sizeOf(shape.filter((_, i) => i !== at));
  return applyOne(reshapeOp, [x], {
    shape: at < 0 ? shape : shape.with(at, known === 0 ? 0 : x.size / known),
  });
}

/** Shape of two operands together, by NumPy's rule. */
function commonShape(op: string, a: Tensor, b: Tensor): Shape {
  const rank = Math.max(a.shape.length, b.shape.length);
  return Array.from({ length: rank }, (_, i) => {
    const [p, q] = [a, b].map(({ shape }) => shape[i - rank + shape.length] ?? 1) as [number, number];
    if (p !== q && p !== 1 && q !== 1) {
      throw errorsOf(op, ['a', 'b'], [a.aval, b.aval]).shapeError('b expects extents of 1 or those of a');
    }
    return p === 1 ? q : p;
  });
}

/** Broadcasts both operands to their common shape and applies `combine`; frees what it made on the way. */
export function broadcasting(
  op: string,
  a: Tensor,
  b: Tensor,
  combine: (a: Tensor, b: Tensor) => Tensor,
): Tensor {
  if (sameShape(a.shape, b.shape)) return combine(a, b);
  const shape = commonShape(op, a, b);
  const whole = (x: Tensor) => (sameShape(x.shape, shape) ? x : broadcast(x, shape));
  return scope(() => combine(whole(a), whole(b)));
}
