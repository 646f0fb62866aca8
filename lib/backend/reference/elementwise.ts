// Arithmetic and activations on elements.

import { elementwise } from './kernel.ts';

export const elementwiseKernels = {
  add: elementwise(([a = 0, b = 0]) => a + b),
  subtract: elementwise(([a = 0, b = 0]) => a - b),
  multiply: elementwise(([a = 0, b = 0]) => a * b),
  scale: elementwise(([x = 0], [factor = 1]) => x * factor),
  square: elementwise(([x = 0]) => x * x),
  relu: elementwise(([x = 0]) => Math.max(x, 0)),
  reluGrad: elementwise(([g = 0, y = 0]) => (y > 0 ? g : 0)),
  elu: elementwise(([x = 0], [alpha = 1]) => (x > 0 ? x : alpha * Math.expm1(x))),
  eluGrad: elementwise(([g = 0, y = 0], [alpha = 1]) => (y > 0 ? g : g * (y + alpha))),
  sigmoid: elementwise(([x = 0]) => 1 / (1 + Math.exp(-x))),
  sigmoidGrad: elementwise(([g = 0, y = 0]) => g * y * (1 - y)),
};
