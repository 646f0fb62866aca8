// Sums over axes, and ops that move elements about.

import type { DType } from '../../core/dtype.ts';
import { forEachIndex, type Kernel, operand, positionOf, stridesOf } from './kernel.ts';

/** attributes: keepDims, axes… */
const sum: Kernel = (inputs, outputs, [, ...axes]) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  const sums = new Float64Array(y.data.length);
  const kept = x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  const strides = stridesOf(kept).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
  forEachIndex(x.shape, (index, at) => {
    sums[positionOf(index, strides)]! += x.data[at]!;
  });
  y.data.set(sums);
};

const broadcast: Kernel = (inputs, outputs) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  const missing = y.shape.length - x.shape.length;
  const repeated = stridesOf(x.shape).map((stride, axis) => (x.shape[axis] === 1 ? 0 : stride));
  const strides = [...y.shape.slice(0, missing).map(() => 0), ...repeated];
  forEachIndex(y.shape, (index, at) => {
    y.data[at] = x.data[positionOf(index, strides)]!;
  });
};

/** attributes: dtype, value, shape… */
const fill: Kernel = (_, outputs, [, value = 0]) => {
  operand(outputs, 0).data.fill(value);
};

const limits: Partial<Record<DType, readonly [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u8: [0, 255],
};

/** To an integer type: truncated and saturated; NaN becomes 0. Floating types round as they are stored. */
const cast: Kernel = (inputs, outputs) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  const range = limits[y.dtype];
  x.data.forEach((value, i) => {
    y.data[i] = range === undefined ? value : Math.min(Math.max(Math.trunc(value) || 0, range[0]), range[1]);
  });
};

const concat: Kernel = (inputs, outputs, [axis = 0]) => {
  const y = operand(outputs, 0);
  const strides = stridesOf(y.shape);
  let from = 0;
  for (const x of inputs) {
    const offset = from * strides[axis]!;
    forEachIndex(x.shape, (index, at) => {
      y.data[offset + positionOf(index, strides)] = x.data[at]!;
    });
    from += x.shape[axis]!;
  }
};

/** attributes: start per axis, extent per axis */
const slice: Kernel = (inputs, outputs, start) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  const strides = stridesOf(x.shape);
  forEachIndex(y.shape, (index, at) => {
    const moved = index.map((i, axis) => i + start[axis]!);
    y.data[at] = x.data[positionOf(moved, strides)]!;
  });
};

/** attributes: before per axis, after per axis */
const pad: Kernel = (inputs, outputs, before) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  const strides = stridesOf(y.shape);
  forEachIndex(x.shape, (index, at) => {
    const moved = index.map((i, axis) => i + before[axis]!);
    y.data[positionOf(moved, strides)] = x.data[at]!;
  });
};

const reshape: Kernel = (inputs, outputs) => {
  operand(outputs, 0).data.set(operand(inputs, 0).data);
};

/** Each operand begins at a multiple of 32 elements. */
const flatten: Kernel = (inputs, outputs) => {
  let start = 0;
  for (const { data } of inputs) {
    operand(outputs, 0).data.set(data, start);
    start += Math.ceil(data.length / 32) * 32;
  }
};

export const shapeKernels = { sum, broadcast, fill, cast, concat, slice, pad, reshape, flatten };
