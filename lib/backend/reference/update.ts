// Optimizers' updates and the Polyak average; formulas in the op table.

import { type Kernel, type Operand, operand } from './kernel.ts';

/** `f` gets the elements at one place and gives those of the outputs. */
type Rule = (values: readonly number[], attributes: readonly number[]) => readonly number[];

/** A kernel over tensors of one shape and scalars behind them, which repeat. */
const everywhere =
  (f: Rule): Kernel =>
  (inputs, outputs, attributes) =>
    along(inputs, outputs, () => attributes, f);

/**
 * The same for a rule whose last attribute is the weight decay, where another follows: how many elements decay. The rule has
 * `operands` operands, w and g the first of them; behind them there may be the factor of g, and where that is NaN the outputs
 * are what they succeed: w and the states, which follow g.
 */
const update =
  (operands: number, f: Rule): Kernel =>
  (inputs, outputs, attributes) => {
    const rule = attributes.slice(0, -1);
    const without = rule.with(-1, 0);
    const decayed = attributes.at(-1)!;
    const factor = inputs[operands]?.data[0] ?? 1;
    const scaled: Rule = Number.isNaN(factor)
      ? ([w = 0, _, ...states]) => [w, ...states]
      : ([w = 0, g = 0, ...rest], numbers) => f([w, factor * g, ...rest], numbers);
    along(inputs, outputs, (i) => (decayed < 0 || i < decayed ? rule : without), scaled);
  };

function along(
  inputs: readonly Operand[],
  outputs: readonly Operand[],
  attributesAt: (i: number) => readonly number[],
  f: Rule,
): void {
  for (let i = 0; i < operand(outputs, 0).data.length; i++) {
    const values = inputs.map(({ data, shape }) => data[shape.length === 0 ? 0 : i]!);
    const results = f(values, attributesAt(i));
    outputs.forEach(({ data }, k) => {
      data[i] = results[k]!;
    });
  }
}

const sgdUpdate = update(3, ([w = 0, g = 0, lr = 0], [weightDecay = 0]) => [w - lr * (g + weightDecay * w)]);

const momentumUpdate = update(
  4,
  ([w = 0, g = 0, m = 0, lr = 0], [momentum = 0, nesterov = 0, weightDecay = 0]) => {
    const step = lr * (g + weightDecay * w);
    const newM = momentum * m - step;
    return [nesterov === 1 ? w + momentum * newM - step : w + newM, newM];
  },
);

/** g' over its root mean square, and the new mean square. */
function normalized(g: number, v: number, rho: number, epsilon: number, outside: number): [number, number] {
  const newV = rho * v + (1 - rho) * g * g;
  return [g / (outside === 1 ? Math.sqrt(newV) + epsilon : Math.sqrt(newV + epsilon)), newV];
}

const rmspropUpdate = update(
  4,
  ([w = 0, g = 0, v = 0, lr = 0], [rho = 0, epsilon = 0, outside = 0, weightDecay = 0]) => {
    const [step, newV] = normalized(g + weightDecay * w, v, rho, epsilon, outside);
    return [w - lr * step, newV];
  },
);

const rmspropMomentumUpdate = update(
  5,
  (
    [w = 0, g = 0, v = 0, m = 0, lr = 0],
    [rho = 0, momentum = 0, epsilon = 0, outside = 0, weightDecay = 0],
  ) => {
    const [step, newV] = normalized(g + weightDecay * w, v, rho, epsilon, outside);
    const newM = momentum * m + (outside === 1 ? step : lr * step);
    return [w - (outside === 1 ? lr * newM : newM), newV, newM];
  },
);

const adamUpdate = update(
  6,
  ([w = 0, g = 0, m = 0, v = 0, lr = 0, step = 1], [beta1 = 0, beta2 = 0, epsilon = 0, weightDecay = 0]) => {
    const decayed = g + weightDecay * w;
    const newM = m + (1 - beta1) * (decayed - m);
    const newV = v + (1 - beta2) * (decayed ** 2 - v);
    const rate = (lr * Math.sqrt(1 - beta2 ** step)) / (1 - beta1 ** step);
    return [w - (newM * rate) / (Math.sqrt(newV) + epsilon), newM, newV];
  },
);

const polyakUpdate = everywhere(([average = 0, w = 0, decay = 0]) => [average + (1 - decay) * (w - average)]);

export const updateKernels = {
  sgdUpdate,
  momentumUpdate,
  rmspropUpdate,
  rmspropMomentumUpdate,
  adamUpdate,
  polyakUpdate,
};
