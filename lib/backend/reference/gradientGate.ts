// The gate of a training step; formula in the op table.

import { type Kernel, operand } from './kernel.ts';

/** attributes: clipNorm, count */
const gradientGate: Kernel = (inputs, outputs, [clipNorm = 0, count = 1]) => {
  const [g, loss] = [operand(inputs, 0).data, operand(inputs, 1).data[0]!];
  let sum = 0;
  for (const value of g) sum += value * value;
  const norm = Math.sqrt(sum) / count;
  const good = Number.isFinite(norm) && Number.isFinite(loss);
  const factor = (clipNorm > 0 && norm > clipNorm ? clipNorm / norm : 1) / count;
  [good ? factor : Number.NaN, norm, good ? 0 : 1].forEach((value, i) => {
    operand(outputs, i).data[0] = value;
  });
};

export const gradientGateKernels = { gradientGate };
