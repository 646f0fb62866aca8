// Normalization of images.

import { type Kernel, operand } from './kernel.ts';

const normalizeImages: Kernel = (inputs, outputs) => {
  const [x, scale, shift, y] = [
    operand(inputs, 0),
    operand(inputs, 1),
    operand(inputs, 2),
    operand(outputs, 0),
  ];
  const channels = scale.data.length;
  for (let i = 0; i < y.data.length; i++) {
    y.data[i] = x.data[i]! * scale.data[i % channels]! + shift.data[i % channels]!;
  }
};

export const imagesKernels = { normalizeImages };
