// Dynamic loss scaling; formulas in the op table.

import { type Kernel, operand } from './kernel.ts';

const select: Kernel = (inputs, outputs) => {
  const chosen = operand(inputs, operand(inputs, 0).data[0] !== 0 ? 1 : 2);
  operand(outputs, 0).data.set(chosen.data);
};

const unscale: Kernel = (inputs, outputs) => {
  const [g, scale] = [operand(inputs, 0).data, operand(inputs, 1).data[0]!];
  const [y, overflow] = [operand(outputs, 0).data, operand(outputs, 1).data];
  for (let i = 0; i < g.length; i++) {
    if (!Number.isFinite(g[i])) overflow[0] = 1;
    y[i] = g[i]! / scale;
  }
};

/** attributes: growth, backoff, interval */
const lossScaleUpdate: Kernel = (inputs, outputs, [growth = 1, backoff = 1, interval = 1]) => {
  const [scale = 0, good = 0, skipped = 0, overflow = 0] = inputs.map(({ data }) => data[0]!);
  const set = (values: readonly number[]) =>
    values.forEach((value, i) => {
      operand(outputs, i).data[0] = value;
    });
  if (overflow !== 0) set([scale * backoff, 0, skipped + 1]);
  else if (good + 1 < interval) set([scale, good + 1, skipped]);
  else {
    const grown = Math.fround(scale * growth);
    set([Number.isFinite(grown) ? grown : scale, 0, skipped]);
  }
};

export const lossScaleKernels = { select, unscale, lossScaleUpdate };
