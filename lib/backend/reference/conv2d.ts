// Convolution and its gradients: one loop over all products, three uses.

import { type Kernel, type Operand, operand } from './kernel.ts';

/**
 * Visits every product of y[n,i,j,o] += x[n,row,column,channel] w[o,p,q,d] with positions in x, w and y.
 * The gradients are sums over the same triples.
 */
function forEachProduct(
  x: Operand,
  w: Operand,
  y: Operand,
  attributes: readonly number[],
  visit: (xAt: number, wAt: number, yAt: number) => void,
): void {
  const [strideH = 1, strideW = 1, top = 0, , left = 0, , dilationH = 1, dilationW = 1, groups = 1] =
    attributes;
  const [, height, width, channels] = x.shape as readonly [number, number, number, number];
  const [outputs, kernelH, kernelW, depth] = w.shape as readonly [number, number, number, number];
  const [batch, outH, outW] = y.shape as readonly [number, number, number];
  for (let n = 0; n < batch; n++) {
    for (let i = 0; i < outH; i++) {
      for (let j = 0; j < outW; j++) {
        for (let o = 0; o < outputs; o++) {
          const yAt = ((n * outH + i) * outW + j) * outputs + o;
          const firstChannel = Math.floor(o / (outputs / groups)) * depth;
          for (let p = 0; p < kernelH; p++) {
            const row = i * strideH - top + p * dilationH;
            if (row < 0 || row >= height) continue;
            for (let q = 0; q < kernelW; q++) {
              const column = j * strideW - left + q * dilationW;
              if (column < 0 || column >= width) continue;
              for (let d = 0; d < depth; d++) {
                const xAt = ((n * height + row) * width + column) * channels + firstChannel + d;
                visit(xAt, ((o * kernelH + p) * kernelW + q) * depth + d, yAt);
              }
            }
          }
        }
      }
    }
  }
}

const conv2d: Kernel = (inputs, outputs, attributes) => {
  const [x, w, y] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const sums = new Float64Array(y.data.length);
  forEachProduct(x, w, y, attributes, (xAt, wAt, yAt) => {
    sums[yAt]! += x.data[xAt]! * w.data[wAt]!;
  });
  y.data.set(sums);
};

const conv2dInputGrad: Kernel = (inputs, outputs, attributes) => {
  const [g, w, dx] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const sums = new Float64Array(dx.data.length);
  forEachProduct(dx, w, g, attributes, (xAt, wAt, yAt) => {
    sums[xAt]! += g.data[yAt]! * w.data[wAt]!;
  });
  dx.data.set(sums);
};

const conv2dWeightGrad: Kernel = (inputs, outputs, attributes) => {
  const [x, g, dw] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const sums = new Float64Array(dw.data.length);
  forEachProduct(x, dw, g, attributes, (xAt, wAt, yAt) => {
    sums[wAt]! += x.data[xAt]! * g.data[yAt]!;
  });
  dw.data.set(sums);
};

export const conv2dKernels = { conv2d, conv2dInputGrad, conv2dWeightGrad };
