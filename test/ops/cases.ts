// Random cases of every op. The type keeps the list: an op without cases does not compile.

import { sizeOf } from '../../lib/core/aval.ts';
import type { DType } from '../../lib/core/dtype.ts';
import type { OpName } from '../../lib/ops/index.ts';
import { dilated, type Pair, resolvePadding } from '../../lib/ops/window.ts';
import type { Given, Random } from '../support/random.ts';
import type { AttributesOf, CaseMaker } from '../support/testOp.ts';

/** A convolution whose output has at least one row and column; some cases are fixed corners. */
function convolution(random: Random, i: number) {
  const groups = random.pick([1, 1, 2, 3]);
  const depth = random.whole(1, 3);
  const depthwise = i % 4 === 1;
  const channels = depthwise ? random.whole(1, 4) : groups * depth;
  const kernel: Pair = [random.whole(1, 4), random.whole(1, 4)];
  const stride: Pair = [random.whole(1, 3), random.whole(1, 3)];
  const dilation: Pair = [random.whole(1, 2), random.whole(1, 2)];
  const size: Pair = i % 5 === 0 ? [1, random.whole(4, 6)] : [random.whole(4, 7), random.whole(4, 7)];
  const span: Pair = [dilated(kernel[0], dilation[0]), dilated(kernel[1], dilation[1])];
  // Enough padding for one output, uneven on purpose.
  const least = [0, 1].map((axis) => Math.max(0, span[axis]! - size[axis]!));
  const before: Pair = [random.whole(0, 2), random.whole(0, 2)];
  const padding =
    i % 3 === 0
      ? resolvePadding('conv2d', 'same', size, span, stride)
      : ([before[0], least[0]! + random.whole(0, 2), before[1], least[1]! + random.whole(0, 2)] as const);
  const attributes = { stride, padding, dilation, groups: depthwise ? channels : groups };
  const outputs = attributes.groups * random.whole(1, 2);
  const out = [0, 1].map(
    (axis) =>
      Math.floor((size[axis]! + padding[2 * axis]! + padding[2 * axis + 1]! - span[axis]!) / stride[axis]!) +
      1,
  );
  const batch = random.whole(1, 2);
  return {
    attributes,
    size,
    kernel,
    x: [batch, ...size, channels],
    w: [outputs, ...kernel, channels / attributes.groups],
    y: [batch, ...out, outputs],
  };
}

const scalar = (value: number): Given => ({ shape: [], values: Float64Array.of(value) });

/** Filters as the reference backend packs them: their bytes. */
const packed = ({ values }: Given): Given => ({
  shape: [4 * values.length],
  values: Float64Array.from(new Uint8Array(Float32Array.from(values).buffer)),
  dtype: 'u8',
});

/** A convolution with its own filters for every channel; `outputs` per channel. */
function depthwise(random: Random, i: number) {
  const { x, w, y, attributes, ...rest } = convolution(random, i);
  const c = x.at(-1)!;
  const outputs = c * random.whole(1, 2);
  const relu = random.pick([true, true, false]);
  return {
    ...rest,
    attributes: { ...attributes, groups: c, relu },
    x,
    w: [outputs, ...w.slice(1, 3), 1],
    y: y.with(3, outputs),
  };
}

/** A pooling window; padding stays smaller than the kernel. */
function pooling(random: Random, i: number) {
  const kernel: Pair = [random.whole(1, 3), random.whole(1, 3)];
  const stride: Pair = [random.whole(1, 3), random.whole(1, 3)];
  const size: Pair = [random.whole(3, 6), random.whole(3, 6)];
  const padding =
    i % 3 === 0
      ? resolvePadding('maxPool', 'same', size, kernel, stride)
      : ([
          random.whole(0, kernel[0] - 1),
          random.whole(0, kernel[0] - 1),
          random.whole(0, kernel[1] - 1),
          random.whole(0, kernel[1] - 1),
        ] as const);
  const out = [0, 1].map(
    (axis) =>
      Math.floor(
        (size[axis]! + padding[2 * axis]! + padding[2 * axis + 1]! - kernel[axis]!) / stride[axis]!,
      ) + 1,
  );
  const [batch, channels] = [random.whole(1, 2), random.whole(1, 3)];
  return {
    attributes: { kernel, stride, padding },
    size,
    x: [batch, ...size, channels],
    y: [batch, ...out, channels],
  };
}

const matrices = (random: Random) => [random.whole(1, 4), random.whole(1, 5), random.whole(1, 4)] as const;
const channels = (random: Random) => [...random.shape(random.whole(1, 3)), random.whole(1, 6)];
const smoothing = (random: Random) => ({ smoothing: random.pick([0, 0.1]) });
const rate = (random: Random) => random.between(0.001, 0.1, []);
/** The factor of the gradient, which may be left out. */
const factor = (i: number): Given[] => (i % 2 === 0 ? [] : [scalar(0.5)]);

const unary =
  <A>(attributes: A): CaseMaker<A> =>
  (random) => ({ inputs: [random.awayFromZero(random.shape())], attributes });

const binary =
  <A>(attributes: A): CaseMaker<A> =>
  (random) => {
    const shape = random.shape();
    return { inputs: [random.awayFromZero(shape), random.awayFromZero(shape)], attributes };
  };

/** Statistics of a plausible batch: sums over `n` elements of values whose variance is well above 0. */
function sums(random: Random, c: number, n: number) {
  const mean = random.normal([c]);
  const variance = random.between(0.5, 2, [c]);
  const scaled = (values: Float64Array) => ({ shape: [c], values: values.map((x) => Math.fround(x * n)) });
  return [scaled(mean.values), scaled(variance.values.map((v, i) => v + mean.values[i]! ** 2))] as const;
}

/** Weight decay of all elements of a parameter, or of the first ones. */
function decay(random: Random, w: readonly number[]) {
  const decayed = random.pick([undefined, random.whole(0, sizeOf(w))]);
  return { weightDecay: random.pick([0, 0.01]), ...(decayed !== undefined && { decayed }) };
}

function rmsprop(random: Random, w: readonly number[]) {
  return {
    rho: 0.9,
    epsilon: random.pick([1e-3, 1e-7]),
    epsilonOutside: random.pick([false, true]),
    ...decay(random, w),
  };
}

export const cases: { readonly [N in OpName]: CaseMaker<AttributesOf<N>> } = {
  conv2d: (random, i) => {
    const { x, w, attributes } = convolution(random, i);
    return { inputs: [random.normal(x), random.normal(w)], attributes };
  },
  conv2dInputGrad: (random, i) => {
    const { y, w, size, attributes } = convolution(random, i);
    return { inputs: [random.normal(y), random.normal(w)], attributes: { ...attributes, size } };
  },
  conv2dWeightGrad: (random, i) => {
    const { x, y, kernel, attributes } = convolution(random, i);
    return { inputs: [random.normal(x), random.normal(y)], attributes: { ...attributes, kernel } };
  },

  channelSums: (random) => ({ inputs: [random.normal(channels(random))], attributes: {} }),
  batchNormFinalize: (random) => {
    const [c, n] = [random.whole(1, 6), random.whole(2, 50)];
    const unbiased = random.pick([false, true]);
    return {
      inputs: [
        ...sums(random, c, n),
        random.normal([c]),
        random.normal([c]),
        random.normal([c]),
        random.between(0.5, 2, [c]),
      ],
      attributes: {
        count: n,
        epsilon: random.pick([1e-3, 1e-5]),
        momentum: random.pick([0.99, 0.9, 0]),
        unbiased,
      },
    };
  },
  batchNormFinalizeGrad: (random) => {
    const c = [random.whole(1, 6)];
    const [gScale, gShift, mean, gamma] = [
      random.normal(c),
      random.normal(c),
      random.normal(c),
      random.normal(c),
    ];
    return {
      inputs: [gScale, gShift, mean, random.between(0.5, 2, c), gamma],
      attributes: { count: random.whole(1, 50) },
    };
  },
  channelAffine: (random) => {
    const x = channels(random);
    return {
      inputs: [random.normal(x), random.normal(x.slice(-1)), random.normal(x.slice(-1))],
      attributes: {},
    };
  },
  channelMultiply: (random) => {
    const x = channels(random);
    return { inputs: [random.normal(x), random.normal(x.slice(-1))], attributes: {} };
  },
  channelGradSums: (random) => {
    const x = channels(random);
    return { inputs: [random.normal(x), random.normal(x)], attributes: {} };
  },
  batchNormFold: (random) => {
    const c = [random.whole(1, 6)];
    return {
      inputs: [random.normal(c), random.normal(c), random.normal(c), random.between(0.5, 2, c)],
      attributes: { epsilon: random.pick([1e-3, 1e-5]) },
    };
  },
  batchNormFoldGrad: (random) => {
    const c = [random.whole(1, 6)];
    return {
      inputs: [random.normal(c), random.normal(c), random.normal(c), random.between(0.5, 2, c)],
      attributes: { epsilon: random.pick([1e-3, 1e-5]) },
    };
  },

  relu: unary({}),
  reluGrad: binary({}),
  elu: unary({ alpha: 0.7 }),
  eluGrad: binary({ alpha: 0.7 }),
  sigmoid: unary({}),
  sigmoidGrad: binary({}),

  maxPool: (random, i) => {
    const { x, attributes } = pooling(random, i);
    return { inputs: [random.distinct(x)], attributes };
  },
  maxPoolGrad: (random, i) => {
    const { x, y, size, attributes } = pooling(random, i);
    // Any tap that lies inside the image for every window: the one at the padding's corner.
    const [top, , left] = attributes.padding;
    const tap = top * attributes.kernel[1] + left;
    const channelsOfX = x.at(-1)!;
    const shape = [...y.slice(0, 3), channelsOfX];
    return {
      inputs: [random.normal(shape), random.wholes(shape, 'u8', tap, tap)],
      attributes: { ...attributes, size },
    };
  },
  avgPool: (random, i) => {
    const { x, attributes } = pooling(random, i);
    return { inputs: [random.normal(x)], attributes: { ...attributes, countPadding: i % 2 === 0 } };
  },
  avgPoolGrad: (random, i) => {
    const { y, size, attributes } = pooling(random, i);
    return { inputs: [random.normal(y)], attributes: { ...attributes, countPadding: i % 2 === 0, size } };
  },
  globalAvgPool: (random) => ({ inputs: [random.normal(random.shape(4))], attributes: {} }),
  globalAvgPoolGrad: (random) => ({
    inputs: [random.normal(random.shape(2))],
    attributes: { size: [random.whole(1, 4), random.whole(1, 4)] },
  }),

  linear: (random) => {
    const [n, i, o] = matrices(random);
    return { inputs: [random.normal([n, i]), random.normal([o, i])], attributes: {} };
  },
  linearInputGrad: (random) => {
    const [n, i, o] = matrices(random);
    return { inputs: [random.normal([n, o]), random.normal([o, i])], attributes: {} };
  },
  linearWeightGrad: (random) => {
    const [n, i, o] = matrices(random);
    return { inputs: [random.normal([n, i]), random.normal([n, o])], attributes: {} };
  },
  addBias: (random) => {
    const x = channels(random);
    return { inputs: [random.normal(x), random.normal(x.slice(-1))], attributes: {} };
  },

  add: binary({}),
  subtract: binary({}),
  multiply: binary({}),
  scale: unary({ factor: -0.3 }),
  square: unary({}),
  sum: (random) => {
    const x = random.shape();
    const axes = x.flatMap((_, axis) => (random.uniform() < 0.5 ? [axis] : []));
    return { inputs: [random.normal(x)], attributes: { axes, keepDims: random.pick([false, true]) } };
  },
  broadcast: (random) => {
    const shape = random.shape(random.whole(0, 5), 3);
    const x = shape.slice(random.whole(0, shape.length)).map((extent) => random.pick([1, extent]));
    return { inputs: [random.normal(x)], attributes: { shape } };
  },
  fill: (random) => ({
    inputs: [],
    attributes: {
      shape: random.shape(),
      value: random.whole(0, 255),
      dtype: random.pick(['f32', 'i32', 'u8']),
    },
  }),
  cast: (random, i) => {
    const shape = random.shape();
    const [input, dtypes] = [
      [random.normal(shape), ['f32']] as const,
      [random.between(-300, 600, shape), ['u8', 'i32']] as const,
      [random.wholes(shape, 'u8', 0, 255), ['f32', 'i32']] as const,
      [random.wholes(shape, 'i32', -1000, 1000), ['f32', 'u8']] as const,
    ][i % 4]!;
    return { inputs: [input], attributes: { dtype: random.pick<DType>(dtypes) } };
  },
  concat: (random) => {
    const shape = random.shape(random.whole(1, 4));
    const axis = random.whole(0, shape.length - 1);
    const part = () => random.normal(shape.with(axis, random.whole(1, 4)));
    return { inputs: Array.from({ length: random.whole(1, 3) }, part), attributes: { axis } };
  },
  flatten: (random) => {
    const part = () => random.normal(random.shape(random.whole(1, 4), random.pick([2, 5, 8])));
    return { inputs: Array.from({ length: random.whole(1, 5) }, part), attributes: {} };
  },
  slice: (random) => {
    const x = random.shape(random.whole(1, 4), 5);
    const start = x.map((whole) => random.whole(0, whole - 1));
    const extent = x.map((whole, i) => random.whole(1, whole - start[i]!));
    return { inputs: [random.normal(x)], attributes: { start, extent } };
  },
  pad: (random) => {
    const x = random.shape(random.whole(1, 4));
    const some = () => x.map(() => random.whole(0, 2));
    return { inputs: [random.normal(x)], attributes: { before: some(), after: some() } };
  },
  reshape: (random) => {
    const x = random.shape(3);
    return {
      inputs: [random.normal(x)],
      attributes: { shape: random.pick([x.toReversed(), [x[0]! * x[1]!, x[2]!]]) },
    };
  },

  dropout: (random) => ({
    inputs: [random.normal(random.shape()), random.wholes([2], 'i32', -1000, 100000)],
    attributes: { rate: random.pick([0, 0.1, 0.5, 0.9]), stream: random.whole(0, 5) },
  }),

  softmax: (random) => ({
    inputs: [random.normal([random.whole(1, 4), random.whole(1, 7)])],
    attributes: {},
  }),
  softmaxGrad: (random) => {
    const shape = [random.whole(1, 4), random.whole(1, 7)];
    return { inputs: [random.normal(shape), random.between(0, 1, shape)], attributes: {} };
  },
  softmaxCrossEntropy: (random) => {
    const [n, c] = [random.whole(1, 4), random.whole(2, 7)];
    return {
      inputs: [random.normal([n, c]), random.wholes([n], 'i32', 0, c - 1)],
      attributes: smoothing(random),
    };
  },
  softmaxCrossEntropyGrad: (random) => {
    const [n, c] = [random.whole(1, 4), random.whole(2, 7)];
    return {
      inputs: [random.normal([n]), random.normal([n, c]), random.wholes([n], 'i32', 0, c - 1)],
      attributes: smoothing(random),
    };
  },
  sigmoidCrossEntropy: (random) => {
    const shape = [random.whole(1, 4), random.whole(1, 7)];
    return {
      inputs: [random.awayFromZero(shape), random.between(0, 1, shape)],
      attributes: smoothing(random),
    };
  },
  sigmoidCrossEntropyGrad: (random) => {
    const shape = [random.whole(1, 4), random.whole(1, 7)];
    return {
      inputs: [random.normal(shape.slice(0, 1)), random.normal(shape), random.between(0, 1, shape)],
      attributes: smoothing(random),
    };
  },

  normalizeImages: (random, i) => {
    const x = random.shape(4, 5);
    const perChannel = () => ({ ...random.normal(x.slice(-1)), dtype: 'f32' as const });
    const images =
      i % 2 === 0 ? random.wholes(x, 'u8', 0, 255) : { ...random.normal(x), dtype: 'f32' as const };
    return { inputs: [images, perChannel(), perChannel()], attributes: { dtype: 'f32' } };
  },

  sgdUpdate: (random, i) => {
    const w = random.shape();
    return {
      inputs: [random.normal(w), random.normal(w), rate(random), ...factor(i)],
      attributes: decay(random, w),
    };
  },
  momentumUpdate: (random, i) => {
    const w = random.shape();
    return {
      inputs: [random.normal(w), random.normal(w), random.normal(w), rate(random), ...factor(i)],
      attributes: {
        momentum: 0.9,
        nesterov: random.pick([false, true]),
        ...decay(random, w),
      },
    };
  },
  rmspropUpdate: (random, i) => {
    const w = random.shape();
    return {
      inputs: [random.normal(w), random.normal(w), random.between(0, 1, w), rate(random), ...factor(i)],
      attributes: rmsprop(random, w),
    };
  },
  rmspropMomentumUpdate: (random, i) => {
    const w = random.shape();
    const [v, m] = [random.between(0, 1, w), random.normal(w)];
    return {
      inputs: [random.normal(w), random.normal(w), v, m, rate(random), ...factor(i)],
      attributes: { ...rmsprop(random, w), momentum: 0.9 },
    };
  },
  adamUpdate: (random, i) => {
    const w = random.shape();
    const step = random.whole(1, 1000);
    return {
      inputs: [
        random.normal(w),
        random.normal(w),
        random.normal(w),
        random.between(0, 1, w),
        rate(random),
        random.between(step, step, []),
        ...factor(i),
      ],
      attributes: { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, ...decay(random, w) },
    };
  },
  polyakUpdate: (random) => {
    const w = random.shape();
    return { inputs: [random.normal(w), random.normal(w), random.between(0.9, 1, [])], attributes: {} };
  },

  select: (random, i) => {
    const x = random.shape();
    const condition = i % 3 === 0 ? 0 : random.pick([1, 2, -0.5]);
    return { inputs: [scalar(condition), random.normal(x), random.normal(x)], attributes: {} };
  },
  // Of what is not finite there is no relative error: test/ops/lossScale.test.ts.
  unscale: (random) => ({
    inputs: [random.normal(random.shape()), scalar(2 ** random.whole(-3, 16))],
    attributes: {},
  }),
  lossScaleUpdate: (random, i) => {
    const interval = random.whole(1, 4);
    const state = [2 ** random.whole(-2, 16), random.whole(0, interval - 1), random.whole(0, 9)];
    return {
      inputs: [...state, i % 2].map(scalar),
      attributes: { growth: random.pick([1, 2, 4]), backoff: random.pick([0.25, 0.5, 1]), interval },
    };
  },

  // Of what is not finite: test/ops/gradientGate.test.ts.
  gradientGate: (random, i) => ({
    inputs: [random.normal(random.shape()), scalar(random.pick([0.5, 3]))],
    attributes: { clipNorm: i % 3 === 0 ? 0 : random.pick([0.1, 100]), count: random.whole(1, 4) },
  }),

  depthwiseAffine: (random, i) => {
    const { x, w, attributes } = depthwise(random, i);
    const c = x.slice(-1);
    return { inputs: [random.normal(x), random.normal(c), random.normal(c), random.normal(w)], attributes };
  },
  depthwiseRelu: (random, i) => {
    const { x, w, attributes } = depthwise(random, i);
    return { inputs: [random.normal(x), random.normal(w)], attributes: { ...attributes, relu: true } };
  },
  depthwiseAffineGrad: (random, i) => {
    const { x, w, y, attributes } = depthwise(random, i);
    const c = x.slice(-1);
    const inputs = [y, x, c, c, w].map((shape) => random.normal(shape));
    return { inputs, attributes };
  },
  depthwiseReluGrad: (random, i) => {
    const { x, w, y, attributes } = depthwise(random, i);
    const inputs = [y, x, w, x].map((shape) => random.normal(shape));
    return { inputs, attributes: { ...attributes, relu: true } };
  },
  conv2dSums: (random, i) => {
    const { x, w, attributes } = convolution(random, i);
    return { inputs: [random.normal(x), random.normal(w)], attributes };
  },
  conv2dInputGradAffine2: (random, i) => {
    const { x, w, y, attributes } = convolution(random, i);
    const o = y.slice(-1);
    const inputs = [y, y, o, o, o, w].map((shape) => random.normal(shape));
    return { inputs, attributes: { ...attributes, size: [x[1]!, x[2]!] } };
  },
  conv2dWeightGradAffine2: (random, i) => {
    const { x, w, y, attributes } = convolution(random, i);
    const o = y.slice(-1);
    const inputs = [x, y, y, o, o, o].map((shape) => random.normal(shape));
    return { inputs, attributes: { ...attributes, kernel: [w[1]!, w[2]!] } };
  },
  channelAffine2: (random) => {
    const x = channels(random);
    const c = x.slice(-1);
    return { inputs: [x, x, c, c, c].map((shape) => random.normal(shape)), attributes: {} };
  },
  affineRelu: (random) => {
    const x = channels(random);
    const c = x.slice(-1);
    return { inputs: [x, c, c].map((shape) => random.normal(shape)), attributes: {} };
  },
  affineReluGrad: (random) => {
    const x = channels(random);
    const c = x.slice(-1);
    return { inputs: [x, x, c, c].map((shape) => random.normal(shape)), attributes: {} };
  },
  affineAdd: (random) => {
    const x = channels(random);
    const c = x.slice(-1);
    return { inputs: [x, c, c, x].map((shape) => random.normal(shape)), attributes: {} };
  },
  affineMaxPoolAdd: (random, i) => {
    const { x, y, attributes } = pooling(random, i);
    const c = x.slice(-1);
    // Scales of both signs, away from 0, so that rounding never changes which element is the largest.
    const inputs = [random.distinct(x), random.awayFromZero(c), random.normal(c), random.normal(y)];
    return { inputs, attributes };
  },
  maxPoolGradSums: (random, i) => {
    const { x, y, size, attributes } = pooling(random, i);
    const [top, , left] = attributes.padding;
    const tap = top * attributes.kernel[1] + left; // as in maxPoolGrad
    return {
      inputs: [random.normal(y), random.wholes(y, 'u8', tap, tap), random.normal(x)],
      attributes: { ...attributes, size },
    };
  },

  filterMultiply: (random, i) => {
    const { w } = convolution(random, i);
    return { inputs: [random.normal(w), random.normal(w.slice(0, 1))], attributes: {} };
  },
  conv2dBias: (random, i) => {
    const { x, w, attributes } = convolution(random, i);
    const inputs = [x, w, w.slice(0, 1)].map((shape) => random.normal(shape));
    return { inputs, attributes: { ...attributes, relu: i % 2 === 0 } };
  },
  conv2dBiasAdd: (random, i) => {
    const { x, w, y, attributes } = convolution(random, i);
    const inputs = [x, w, w.slice(0, 1), y].map((shape) => random.normal(shape));
    return { inputs, attributes: { ...attributes, relu: i % 2 === 0 } };
  },
  // Packed as the reference backend does it; packing.test.ts has the layouts of others.
  packFilters: (random, i) => {
    const { x, w, y, attributes } = convolution(random, i);
    const [n, height, width] = x as [number, number, number];
    const [, rows, columns] = y as [number, number, number];
    const bytes = 4 * sizeOf(w);
    const made = { image: [n, height, width], size: [rows, columns], add: i % 3 === 0, bytes } as const;
    return { inputs: [random.normal(w)], attributes: { ...attributes, relu: i % 2 === 0, ...made } };
  },
  conv2dPacked: (random, i) => {
    const { x, w, attributes } = convolution(random, i);
    const filters = w as [number, number, number, number];
    const inputs = [random.normal(x), packed(random.normal(w)), random.normal(w.slice(0, 1))];
    return { inputs, attributes: { ...attributes, relu: i % 2 === 0, filters } };
  },
  conv2dPackedAdd: (random, i) => {
    const { x, w, y, attributes } = convolution(random, i);
    const filters = w as [number, number, number, number];
    const inputs = [
      random.normal(x),
      packed(random.normal(w)),
      random.normal(w.slice(0, 1)),
      random.normal(y),
    ];
    return { inputs, attributes: { ...attributes, relu: i % 2 === 0, filters } };
  },
};
