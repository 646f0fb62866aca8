// Pooling and its gradients.

import { type Kernel, type Operand, operand } from './kernel.ts';

/** Rows and columns of one window that lie inside the image: positions in x, and in the window. */
type Taps = readonly { readonly xAt: number; readonly tap: number }[];

/** Visits every window with its position in y. `attributes`: kernel_h, kernel_w, window. */
function forEachWindow(
  x: Operand,
  y: Operand,
  attributes: readonly number[],
  visit: (taps: Taps, yAt: number, kernelSize: number) => void,
): void {
  const [kernelH = 1, kernelW = 1, strideH = 1, strideW = 1, top = 0, , left = 0] = attributes;
  const [, height = 0, width = 0, channels = 0] = x.shape;
  const [batch = 0, outH = 0, outW = 0] = y.shape;
  for (let n = 0; n < batch; n++) {
    for (let i = 0; i < outH; i++) {
      for (let j = 0; j < outW; j++) {
        for (let c = 0; c < channels; c++) {
          const taps: { xAt: number; tap: number }[] = [];
          for (let p = 0; p < kernelH; p++) {
            for (let q = 0; q < kernelW; q++) {
              const row = i * strideH - top + p;
              const column = j * strideW - left + q;
              if (row < 0 || row >= height || column < 0 || column >= width) continue;
              taps.push({ xAt: ((n * height + row) * width + column) * channels + c, tap: p * kernelW + q });
            }
          }
          visit(taps, ((n * outH + i) * outW + j) * channels + c, kernelH * kernelW);
        }
      }
    }
  }
}

const maxPool: Kernel = (inputs, outputs, attributes) => {
  const [x, y, argmax] = [operand(inputs, 0), operand(outputs, 0), operand(outputs, 1)];
  forEachWindow(x, y, attributes, (taps, yAt) => {
    let best = taps[0]!;
    for (const candidate of taps) if (x.data[candidate.xAt]! > x.data[best.xAt]!) best = candidate;
    y.data[yAt] = x.data[best.xAt]!;
    argmax.data[yAt] = best.tap;
  });
};

const maxPoolGrad: Kernel = (inputs, outputs, attributes) => {
  const [g, argmax, dx] = [operand(inputs, 0), operand(inputs, 1), operand(outputs, 0)];
  const sums = new Float64Array(dx.data.length);
  forEachWindow(dx, g, attributes, (taps, yAt) => {
    const winner = taps.find(({ tap }) => tap === argmax.data[yAt]);
    if (winner !== undefined) sums[winner.xAt]! += g.data[yAt]!;
  });
  dx.data.set(sums);
};

/** Where the attribute countPadding stands: after the kernel and the window. */
const countPaddingAt = 8;

const divisor = (attributes: readonly number[], taps: Taps, kernelSize: number): number =>
  attributes[countPaddingAt] === 1 ? kernelSize : taps.length;

const avgPool: Kernel = (inputs, outputs, attributes) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  forEachWindow(x, y, attributes, (taps, yAt, kernelSize) => {
    const total = taps.reduce((sum, { xAt }) => sum + x.data[xAt]!, 0);
    y.data[yAt] = total / divisor(attributes, taps, kernelSize);
  });
};

const avgPoolGrad: Kernel = (inputs, outputs, attributes) => {
  const [g, dx] = [operand(inputs, 0), operand(outputs, 0)];
  const sums = new Float64Array(dx.data.length);
  forEachWindow(dx, g, attributes, (taps, yAt, kernelSize) => {
    for (const { xAt } of taps) sums[xAt]! += g.data[yAt]! / divisor(attributes, taps, kernelSize);
  });
  dx.data.set(sums);
};

const globalAvgPool: Kernel = (inputs, outputs) => {
  const [x, y] = [operand(inputs, 0), operand(outputs, 0)];
  const [, height = 0, width = 0, channels = 0] = x.shape;
  const image = height * width * channels;
  const sums = new Float64Array(y.data.length);
  x.data.forEach((value, i) => {
    sums[Math.floor(i / image) * channels + (i % channels)]! += value;
  });
  y.data.set(sums.map((total) => total / (height * width)));
};

const globalAvgPoolGrad: Kernel = (inputs, outputs) => {
  const [g, dx] = [operand(inputs, 0), operand(outputs, 0)];
  const [, height = 0, width = 0, channels = 0] = dx.shape;
  const image = height * width * channels;
  for (let i = 0; i < dx.data.length; i++) {
    dx.data[i] = g.data[Math.floor(i / image) * channels + (i % channels)]! / (height * width);
  }
};

export const poolKernels = { maxPool, maxPoolGrad, avgPool, avgPoolGrad, globalAvgPool, globalAvgPoolGrad };
