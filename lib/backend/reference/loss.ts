// Softmax and the classification losses, row by row.

import { DeviceError } from '../../core/errors.ts';
import { type Kernel, type Operand, operand } from './kernel.ts';

const rowOf = ({ data, shape }: Operand, n: number): Float64Array =>
  Float64Array.from(data.subarray(n * shape[1]!, (n + 1) * shape[1]!));

function logSumExp(row: Float64Array): number {
  const largest = Math.max(...row);
  return largest + Math.log(row.reduce((sum, x) => sum + Math.exp(x - largest), 0));
}

function softmaxOf(row: Float64Array): Float64Array {
  const total = logSumExp(row);
  return row.map((x) => Math.exp(x - total));
}

const softmax: Kernel = (inputs, outputs) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  const [rows = 0, classes = 0] = x.shape;
  for (let n = 0; n < rows; n++) y.data.set(softmaxOf(rowOf(x, n)), n * classes);
};

const softmaxGrad: Kernel = (inputs, outputs) => {
  const [g, y, dx] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const [rows = 0, classes = 0] = y.shape;
  for (let n = 0; n < rows; n++) {
    const [gRow, yRow] = [rowOf(g, n), rowOf(y, n)];
    const inner = gRow.reduce((sum, value, c) => sum + value * yRow[c]!, 0);
    dx.data.set(
      yRow.map((value, c) => value * (gRow[c]! - inner)),
      n * classes,
    );
  }
};

/** The smoothed target of row n. Throws what a device reports for a label that is no class. */
function targetRow(labels: Operand, n: number, classes: number, smoothing: number): Float64Array {
  const label = labels.data[n]!;
  if (label < 0 || label >= classes) {
    throw new DeviceError(`softmaxCrossEntropy: labels expects 0 to ${classes - 1}, got ${label} at ${n}`);
  }
  const target = new Float64Array(classes).fill(smoothing / classes);
  target[label]! += 1 - smoothing;
  return target;
}

const softmaxCrossEntropy: Kernel = (inputs, outputs, [smoothing = 0]) => {
  const [logits, labels, loss] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const [rows = 0, classes = 0] = logits.shape;
  for (let n = 0; n < rows; n++) {
    const row = rowOf(logits, n);
    const target = targetRow(labels, n, classes, smoothing);
    loss.data[n] = target.reduce((sum, t, c) => sum - t * row[c]!, logSumExp(row));
  }
};

const softmaxCrossEntropyGrad: Kernel = (inputs, outputs, [smoothing = 0]) => {
  const [g, logits, labels, dlogits] = [
    operand(inputs, 0),
    operand(inputs, 1),
    operand(inputs, 2),
    operand(outputs, 0),
  ];
  const [rows = 0, classes = 0] = logits.shape;
  for (let n = 0; n < rows; n++) {
    const target = targetRow(labels, n, classes, smoothing);
    dlogits.data.set(
      softmaxOf(rowOf(logits, n)).map((p, c) => g.data[n]! * (p - target[c]!)),
      n * classes,
    );
  }
};

const smoothed = (target: number, smoothing: number): number => target * (1 - smoothing) + smoothing / 2;

const sigmoidCrossEntropy: Kernel = (inputs, outputs, [smoothing = 0]) => {
  const [logits, targets, loss] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const [rows = 0, classes = 0] = logits.shape;
  for (let n = 0; n < rows; n++) {
    const targetsRow = rowOf(targets, n);
    const terms = rowOf(logits, n).map(
      (x, c) => Math.max(x, 0) - x * smoothed(targetsRow[c]!, smoothing) + Math.log1p(Math.exp(-Math.abs(x))),
    );
    loss.data[n] = terms.reduce((sum, term) => sum + term, 0) / classes;
  }
};

const sigmoidCrossEntropyGrad: Kernel = (inputs, outputs, [smoothing = 0]) => {
  const [g, logits, targets, dlogits] = [
    operand(inputs, 0),
    operand(inputs, 1),
    operand(inputs, 2),
    operand(outputs, 0),
  ];
  const classes = logits.shape[1]!;
  logits.data.forEach((x, i) => {
    const difference = 1 / (1 + Math.exp(-x)) - smoothed(targets.data[i]!, smoothing);
    dlogits.data[i] = (g.data[Math.floor(i / classes)]! / classes) * difference;
  });
};

export const lossKernels = {
  softmax,
  softmaxGrad,
  softmaxCrossEntropy,
  softmaxCrossEntropyGrad,
  sigmoidCrossEntropy,
  sigmoidCrossEntropyGrad,
};
