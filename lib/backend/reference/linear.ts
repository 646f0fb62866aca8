// Matrix products of fully connected layers.

import { type Kernel, type Operand, operand } from './kernel.ts';

/** y[i,j] = sum over k of a(i,k) b(k,j), with the elements given by functions. */
function product(
  y: Operand,
  depth: number,
  a: (i: number, k: number) => number,
  b: (k: number, j: number) => number,
) {
  const [rows = 0, columns = 0] = y.shape;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let total = 0;
      for (let k = 0; k < depth; k++) total += a(i, k) * b(k, j);
      y.data[i * columns + j] = total;
    }
  }
}

/** Elements of a matrix, and of its transpose. */
const at =
  ({ data, shape }: Operand) =>
  (i: number, j: number): number =>
    data[i * shape[1]! + j]!;
const transposed =
  ({ data, shape }: Operand) =>
  (i: number, j: number): number =>
    data[j * shape[1]! + i]!;

const linear: Kernel = (inputs, outputs) => {
  const [x, w] = [operand(inputs, 0), operand(inputs, 1)];
  product(operand(outputs, 0), x.shape[1]!, at(x), transposed(w));
};

const linearInputGrad: Kernel = (inputs, outputs) => {
  const [g, w] = [operand(inputs, 0), operand(inputs, 1)];
  product(operand(outputs, 0), g.shape[1]!, at(g), at(w));
};

const linearWeightGrad: Kernel = (inputs, outputs) => {
  const [x, g] = [operand(inputs, 0), operand(inputs, 1)];
  product(operand(outputs, 0), x.shape[0]!, transposed(g), at(x));
};

const addBias: Kernel = (inputs, outputs) => {
  const [x, b, y] = [operand(inputs, 0).data, operand(inputs, 1).data, operand(outputs, 0).data];
  for (let i = 0; i < y.length; i++) y[i] = x[i]! + b[i % b.length]!;
};

export const linearKernels = { linear, linearInputGrad, linearWeightGrad, addBias };
