// Batch normalization in pieces; formulas in the op table.

import { type Kernel, type Operand, operand } from './kernel.ts';

/** Adds up per channel (the last axis) what `terms` gives for each position, into the outputs. */
function channelTotals(
  outputs: readonly Operand[],
  size: number,
  terms: (at: number) => readonly number[],
): void {
  const channels = operand(outputs, 0).data.length;
  const totals = outputs.map(() => new Float64Array(channels));
  for (let at = 0; at < size; at++) {
    terms(at).forEach((term, i) => {
      totals[i]![at % channels]! += term;
    });
  }
  outputs.forEach((output, i) => {
    output.data.set(totals[i]!);
  });
}

const channelSums: Kernel = (inputs, outputs) => {
  const x = operand(inputs, 0).data;
  channelTotals(outputs, x.length, (at) => [x[at]!, x[at]! ** 2]);
};

const channelGradSums: Kernel = (inputs, outputs) => {
  const [g, x] = [operand(inputs, 0).data, operand(inputs, 1).data];
  channelTotals(outputs, x.length, (at) => [g[at]!, g[at]! * x[at]!]);
};

/** A kernel over vectors of one length: from the element of every input to that of every output. */
const perChannel =
  (f: (values: readonly number[], attributes: readonly number[]) => readonly number[]): Kernel =>
  (inputs, outputs, attributes) => {
    for (let c = 0; c < operand(outputs, 0).data.length; c++) {
      const results = f(
        inputs.map(({ data }) => data[c]!),
        attributes,
      );
      outputs.forEach(({ data }, i) => {
        data[c] = results[i]!;
      });
    }
  };

const batchNormFinalize = perChannel(
  (
    [sum = 0, sumSquares = 0, gamma = 0, beta = 0, runningMean = 0, runningVariance = 0],
    [count = 1, epsilon = 0, momentum = 0, unbiased = 0],
  ) => {
    const mean = sum / count;
    const variance = Math.max(0, sumSquares / count - mean ** 2);
    const inverseDeviation = 1 / Math.sqrt(variance + epsilon);
    const scale = gamma * inverseDeviation;
    const estimate = unbiased === 1 ? (variance * count) / (count - 1) : variance;
    return [
      mean,
      inverseDeviation,
      scale,
      beta - mean * scale,
      momentum * runningMean + (1 - momentum) * mean,
      momentum * runningVariance + (1 - momentum) * estimate,
    ];
  },
);

const batchNormFinalizeGrad = perChannel(
  ([gScale = 0, gShift = 0, mean = 0, inverseDeviation = 0, gamma = 0], [count = 1]) => {
    const dGamma = inverseDeviation * (gScale - mean * gShift);
    const dVariance = -0.5 * gamma * inverseDeviation ** 2 * dGamma;
    const dMean = -gamma * inverseDeviation * gShift - 2 * mean * dVariance;
    return [dMean / count, dVariance / count, dGamma, gShift];
  },
);

const batchNormFold = perChannel(([gamma = 0, beta = 0, mean = 0, variance = 0], [epsilon = 0]) => {
  const scale = gamma / Math.sqrt(variance + epsilon);
  return [scale, beta - mean * scale];
});

const batchNormFoldGrad = perChannel(([gScale = 0, gShift = 0, mean = 0, variance = 0], [epsilon = 0]) => [
  (gScale - mean * gShift) / Math.sqrt(variance + epsilon),
  gShift,
]);

const channelAffine: Kernel = (inputs, outputs) => {
  const [x, scale, shift] = [operand(inputs, 0).data, operand(inputs, 1).data, operand(inputs, 2).data];
  const y = operand(outputs, 0).data;
  for (let i = 0; i < y.length; i++) y[i] = x[i]! * scale[i % scale.length]! + shift[i % shift.length]!;
};

const channelMultiply: Kernel = (inputs, outputs) => {
  const [x, scale, y] = [operand(inputs, 0).data, operand(inputs, 1).data, operand(outputs, 0).data];
  for (let i = 0; i < y.length; i++) y[i] = x[i]! * scale[i % scale.length]!;
};

export const batchNormKernels = {
  channelSums,
  batchNormFinalize,
  batchNormFinalizeGrad,
  channelAffine,
  channelMultiply,
  channelGradSums,
  batchNormFold,
  batchNormFoldGrad,
};
