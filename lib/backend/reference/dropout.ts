// Dropout by the counter-based generator.

import { philox4x32 } from '../../core/philox.ts';
import { type Kernel, operand } from './kernel.ts';

/** attributes: rate, stream */
const dropout: Kernel = (inputs, outputs, [rate = 0, stream = 0]) => {
  const [x, counter, y] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const [seed = 0, step = 0] = counter.data;
  const threshold = Math.floor(rate * 2 ** 32);
  let block: Uint32Array = new Uint32Array(4);
  for (let i = 0; i < x.data.length; i++) {
    if (i % 4 === 0) {
      const at = i / 4;
      block = philox4x32([at >>> 0, Math.floor(at / 2 ** 32), step, 0], [seed, stream]);
    }
    y.data[i] = block[i % 4]! >= threshold ? x.data[i]! * (1 / (1 - rate)) : 0;
  }
};

export const dropoutKernels = { dropout };
