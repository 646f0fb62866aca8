// Kernels of the CUDA backend at random shapes of many channels, on the simulation in all orders of threads: channels that a
// thread takes several at a time and such that it cannot, odd sizes, windows of all forms, strides 1 and 2, single images.
// The cases of test/ops/cases.ts have few channels, and so meet only one form of each kernel.

import { expect } from 'chai';
import type { Shape } from '../../lib/core/aval.ts';
import { sizeOf } from '../../lib/core/aval.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { type Pair, resolvePadding } from '../../lib/ops/window.ts';
import { type Given, Random } from '../support/random.ts';
import { checkSimulated, cudaDevices } from '../support/simulated.ts';
import { skip } from '../support/skip.ts';
import type { OpCase } from '../support/testOp.ts';

const caseCount = 8;

const channelCount = (random: Random) =>
  random.pick([1, 3, 4, 7, 8, 12, 16, 20, 31, 32, 33, 40, 64, 91, 96, 136, 264]);
const extent = (random: Random) => random.pick([1, 2, 3, 5, 7, 8, 9, 11, 13]);
const images = (random: Random) => random.pick([1, 1, 2, 3]);
/** Rows of channels, as many as a sum over them needs to have several parts, or few. */
const rows = (random: Random) => [random.pick([1, 2, 5, 37, 256, 700]), channelCount(random)];

/** Above, below, left, right. */
type Margins = readonly [number, number, number, number];

interface Window {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Margins;
  readonly x: Shape;
  readonly y: Shape;
}

/** A window that has at least one place on the image, and no place in the padding alone. */
function window(random: Random, c: number): Window {
  const kernel = random.pick([
    [3, 3],
    [3, 3],
    [1, 1],
    [2, 2],
    [5, 5],
    [1, 7],
    [7, 1],
    [3, 2],
  ] as const);
  const size: Pair = [Math.max(extent(random), kernel[0]), Math.max(extent(random), kernel[1])];
  const stride = random.pick([
    [1, 1],
    [1, 1],
    [2, 2],
    [2, 1],
  ] as const);
  const margin = (taps: number) => random.whole(0, taps - 1);
  const padding: Margins = random.pick([true, false])
    ? resolvePadding('window', 'same', size, kernel, stride)
    : [margin(kernel[0]), margin(kernel[0]), margin(kernel[1]), margin(kernel[1])];
  const out = ([0, 1] as const).map(
    (axis) =>
      Math.floor((size[axis] + padding[2 * axis]! + padding[2 * axis + 1]! - kernel[axis]) / stride[axis]) +
      1,
  );
  const n = images(random);
  return { kernel, stride, padding, x: [n, ...size, c], y: [n, ...out, c] };
}

/** A convolution with one filter for each channel. */
function depthwise(random: Random) {
  const c = channelCount(random);
  const { kernel, stride, padding, x, y } = window(random, c);
  const attributes = { stride, padding, dilation: [1, 1], groups: c };
  return { attributes, kernel, size: [x[1]!, x[2]!], c: [c], x, y, w: [c, ...kernel, 1] };
}

function pooling(random: Random) {
  const { kernel, stride, padding, x, y } = window(random, channelCount(random));
  return { attributes: { kernel, stride, padding }, size: [x[1]!, x[2]!], c: x.slice(-1), x, y };
}

/** For each window the number of a tap that lies in the image. */
function taps(random: Random, { attributes, x, y }: ReturnType<typeof pooling>): Given {
  const { kernel, stride, padding } = attributes;
  const [, height, width] = x as readonly [number, number, number];
  const [, outHeight, outWidth, c] = y as readonly [number, number, number, number];
  const inside = (place: number, axis: 0 | 1, whole: number) => {
    const start = place * stride[axis] - padding[2 * axis]!;
    return random.whole(Math.max(0, -start), Math.min(kernel[axis], whole - start) - 1);
  };
  const values = Float64Array.from({ length: sizeOf(y) }, (_, i) => {
    const pixel = Math.floor(i / c);
    const [row, column] = [Math.floor(pixel / outWidth) % outHeight, pixel % outWidth];
    return inside(row, 0, height) * kernel[1] + inside(column, 1, width);
  });
  return { shape: y, values, dtype: 'u8' };
}

type MakeCase = (random: Random) => OpCase<unknown>;

/** `all` of the operands have these shapes. */
const normal = (random: Random, ...all: readonly Shape[]): Given[] =>
  all.map((shape) => random.normal(shape));

/** Tensors of rows of channels, then vectors of channels. */
const ofChannels =
  (tensors: number, vectors: number): MakeCase =>
  (random) => {
    const x = rows(random);
    const shapes = [...Array(tensors).fill(x), ...Array(vectors).fill(x.slice(-1))];
    return { inputs: normal(random, ...shapes), attributes: {} };
  };

const elementwise =
  (operands: number, attributes: object = {}): MakeCase =>
  (random) => {
    const shape = [random.pick([1, 3, 7, 8, 9, 255, 256, 257, 1000, 4099])];
    return { inputs: Array.from({ length: operands }, () => random.awayFromZero(shape)), attributes };
  };

const classes = (random: Random) =>
  [random.whole(1, 5), random.pick([2, 7, 31, 33, 100, 257, 1000])] as const;

const makers = {
  conv2d: (random) => {
    const { x, w, attributes } = depthwise(random);
    return { inputs: normal(random, x, w), attributes };
  },
  conv2dInputGrad: (random) => {
    const { y, w, size, attributes } = depthwise(random);
    return { inputs: normal(random, y, w), attributes: { ...attributes, size } };
  },
  conv2dWeightGrad: (random) => {
    const { x, y, kernel, attributes } = depthwise(random);
    return { inputs: normal(random, x, y), attributes: { ...attributes, kernel } };
  },
  depthwiseAffine: (random) => {
    const { x, c, w, attributes } = depthwise(random);
    return {
      inputs: normal(random, x, c, c, w),
      attributes: { ...attributes, relu: random.pick([true, false]) },
    };
  },
  depthwiseRelu: (random) => {
    const { x, w, attributes } = depthwise(random);
    return { inputs: normal(random, x, w), attributes: { ...attributes, relu: true } };
  },
  depthwiseAffineGrad: (random) => {
    const { x, y, c, w, attributes } = depthwise(random);
    return {
      inputs: normal(random, y, x, c, c, w),
      attributes: { ...attributes, relu: random.pick([true, false]) },
    };
  },
  depthwiseReluGrad: (random) => {
    const { x, y, w, attributes } = depthwise(random);
    return { inputs: normal(random, y, x, w, x), attributes: { ...attributes, relu: true } };
  },

  channelSums: ofChannels(1, 0),
  channelGradSums: ofChannels(2, 0),
  channelAffine: ofChannels(1, 2),
  channelMultiply: ofChannels(1, 1),
  addBias: ofChannels(1, 1),
  channelAffine2: ofChannels(2, 3),
  affineRelu: ofChannels(1, 2),
  affineReluGrad: ofChannels(2, 2),
  affineAdd: (random) => {
    const x = rows(random);
    return { inputs: normal(random, x, x.slice(-1), x.slice(-1), x), attributes: {} };
  },

  maxPool: (random) => {
    const { x, attributes } = pooling(random);
    return { inputs: [random.distinct(x)], attributes };
  },
  maxPoolGrad: (random) => {
    const pool = pooling(random);
    const inputs = [random.normal(pool.y), taps(random, pool)];
    return { inputs, attributes: { ...pool.attributes, size: pool.size } };
  },
  maxPoolGradSums: (random) => {
    const pool = pooling(random);
    const inputs = [random.normal(pool.y), taps(random, pool), random.normal(pool.x)];
    return { inputs, attributes: { ...pool.attributes, size: pool.size } };
  },
  affineMaxPoolAdd: (random) => {
    const { x, y, c, attributes } = pooling(random);
    const inputs = [random.distinct(x), random.awayFromZero(c), random.normal(c), random.normal(y)];
    return { inputs, attributes };
  },
  avgPool: (random) => {
    const { x, attributes } = pooling(random);
    return {
      inputs: normal(random, x),
      attributes: { ...attributes, countPadding: random.pick([true, false]) },
    };
  },
  avgPoolGrad: (random) => {
    const { y, size, attributes } = pooling(random);
    return {
      inputs: normal(random, y),
      attributes: { ...attributes, countPadding: random.pick([true, false]), size },
    };
  },
  globalAvgPool: (random) => {
    const x = [images(random), extent(random), extent(random), channelCount(random)];
    return { inputs: normal(random, x), attributes: {} };
  },
  globalAvgPoolGrad: (random) => ({
    inputs: normal(random, [images(random), channelCount(random)]),
    attributes: { size: [extent(random), extent(random)] },
  }),

  concat: (random) => {
    const start = [images(random), extent(random), extent(random)];
    const parts = Array.from({ length: random.whole(1, 4) }, () => [...start, channelCount(random)]);
    return { inputs: normal(random, ...parts), attributes: { axis: 3 } };
  },
  slice: (random) => {
    const x = [images(random), extent(random), channelCount(random)];
    const start = x.map((whole) => random.whole(0, whole - 1));
    const size = x.map((whole, i) => random.whole(1, whole - start[i]!));
    return { inputs: normal(random, x), attributes: { start, extent: size } };
  },
  pad: (random) => {
    const x = [images(random), extent(random), channelCount(random)];
    const some = () => x.map(() => random.whole(0, 3));
    return { inputs: normal(random, x), attributes: { before: some(), after: some() } };
  },
  sum: (random) => {
    const x = [images(random), random.pick([1, 7, 300]), channelCount(random)];
    const axes = x.flatMap((_, axis) => (random.pick([true, false]) ? [axis] : []));
    return { inputs: normal(random, x), attributes: { axes, keepDims: false } };
  },
  add: elementwise(2),
  multiply: elementwise(2),
  scale: elementwise(1, { factor: -0.3 }),
  relu: elementwise(1),
  reluGrad: elementwise(2),
  eluGrad: elementwise(2, { alpha: 0.7 }),
  sigmoid: elementwise(1),
  dropout: (random) => ({
    inputs: [random.normal([random.pick([1, 7, 255, 1027])]), random.wholes([2], 'i32', -1000, 100000)],
    attributes: { rate: random.pick([0.1, 0.5]), stream: random.whole(0, 5) },
  }),
  softmax: (random) => ({ inputs: normal(random, classes(random)), attributes: {} }),
  softmaxCrossEntropy: (random) => {
    const [n, c] = classes(random);
    return {
      inputs: [random.normal([n, c]), random.wholes([n], 'i32', 0, c - 1)],
      attributes: { smoothing: random.pick([0, 0.1]) },
    };
  },
  softmaxCrossEntropyGrad: (random) => {
    const [n, c] = classes(random);
    return {
      inputs: [random.normal([n]), random.normal([n, c]), random.wholes([n], 'i32', 0, c - 1)],
      attributes: { smoothing: random.pick([0, 0.1]) },
    };
  },
  sigmoidCrossEntropy: (random) => {
    const shape = classes(random);
    return {
      inputs: [random.awayFromZero(shape), random.between(0, 1, shape)],
      attributes: { smoothing: 0 },
    };
  },
} satisfies { readonly [N in OpName]?: MakeCase };

describe('kernels of the CUDA backend at random shapes', function () {
  this.timeout(300_000);

  before(function () {
    if (cudaDevices.length === 0) skip(this, 'there is neither cudasim nor cuda');
  });

  for (const dtype of ['f32', 'f16', 'bf16'] as const) {
    for (const [name, make] of Object.entries(makers)) {
      it(`${name} in ${dtype}`, () => {
        let ran = 0;
        for (let i = 0; i < caseCount; i++) {
          const given = make(new Random(`wide/${name}/${dtype}/${i}`));
          const shapes = given.inputs.map(({ shape }) => `[${shape}]`).join(' ');
          try {
            ran += checkSimulated(allOps[name as OpName], given, dtype);
          } catch (error) {
            if (error instanceof Error)
              error.message = `case ${i}, ${shapes} ${JSON.stringify(given.attributes)}: ${error.message}`;
            throw error;
          }
        }
        expect(ran, 'runs').to.be.equal(caseCount * cudaDevices.length);
      });
    }
  }
});
