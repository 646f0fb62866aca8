// The counter-based generator of test weights and images; scripts/record/common.py is its twin, bit for bit.
// Because of it, fixtures keep only expected outputs: the 22.9 million weights are made where they are
// needed.

/** A tensor by value: row-major, NHWC layouts. */
export interface Generated {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Of what is generated: `offset + limit * u`, u uniform in [-1, 1). */
export interface GenerateOptions {
  /** Default 1. Rounded to float32 once. */
  readonly limit?: number;
  /** Default 0. Rounded to float32 once. */
  readonly offset?: number;
}

/** A bijection of uint32 with low bias (Wellons, "Prospecting for hash functions"). */
function mix(x: number): number {
  let h = x;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The two keys of a tensor's stream: FNV-1a of its name, mixed with the seed. */
function keys(name: string, seed: number): [number, number] {
  let hashed = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hashed = Math.imul(hashed ^ byte, 0x01000193);
  const first = mix(hashed ^ mix(seed >>> 0));
  return [first, mix((first + 0x9e3779b9) >>> 0)];
}

const size = (shape: readonly number[]): number => shape.reduce((product, d) => product * d, 1);

/** A stream of uint32: element `i` depends on the name, the seed and `i` alone. */
export function bits(name: string, seed: number): (i: number) => number {
  const [first, second] = keys(name, seed);
  return (i) => mix((mix(i ^ first) + second) | 0);
}

/**
 * float32 values `offset + limit * u`, u uniform in [-1, 1) in steps of 2^-23. Every operation is rounded to
 * float32 once, so the values are those of the Python twin.
 */
export function generate(
  name: string,
  shape: readonly number[],
  seed: number,
  { limit = 1, offset = 0 }: GenerateOptions = {},
): Float32Array {
  const draw = bits(name, seed);
  const limit32 = Math.fround(limit);
  const offset32 = Math.fround(offset);
  const data = new Float32Array(size(shape));
  for (let i = 0; i < data.length; i++) {
    // A product or sum of two float32 computed in float64 and rounded is the float32 operation.
    data[i] = offset32 + Math.fround((((draw(i) >>> 8) - 0x800000) / 0x800000) * limit32);
  }
  return data;
}

/**
 * Count sketch of a flattened tensor (Charikar, Chen, Farach-Colton, 2002): every element is added to one of
 * `buckets` sums with a sign, both drawn from the generator. Linear; its norm is the tensor's within 1 /
 * sqrt(2 buckets), so the norm of a difference of two tensors can be told from their sketches. Element order
 * matters, as it should.
 */
export function sketch(name: string, values: ArrayLike<number>, buckets: number): Float64Array {
  const draw = bits(`sketch/${name}`, 0);
  const sums = new Float64Array(buckets);
  for (let i = 0; i < values.length; i++) {
    const drawn = draw(i);
    const bucket = drawn % buckets;
    sums[bucket] = sums[bucket]! + (drawn >>> 31 ? -values[i]! : values[i]!);
  }
  return sums;
}

/**
 * Smooth images, float32 [count, size, size, 3] in [-1, 1]: image i is a quadratic B-spline over (3 + i)^2
 * cells of generated control values, so every image looks different at every size and the same at all of
 * them. All arithmetic is on integers below 2^53 with one division at the end.
 */
export function smoothImages(count: number, imageSize: number, seed = 1): Float32Array {
  const d = imageSize - 1;
  const images = new Float32Array(count * imageSize * imageSize * 3);
  let out = 0;
  for (let image = 0; image < count; image++) {
    const cells = 3 + image;
    const side = cells + 2;
    const draw = bits(`smooth/${image}`, seed);
    const control = Array.from({ length: side * side * 3 }, (_, i) => {
      const drawn = draw(i);
      return (64 + (drawn & 63)) * (drawn >>> 31 ? -1 : 1);
    });
    // Per pixel the first of three control values and their weights, which sum to 2 d^2.
    const taps = Array.from({ length: imageSize }, (_, pixel) => {
      const at = pixel * cells;
      const cell = Math.min(Math.floor(at / d), cells - 1);
      const f = at - cell * d;
      return { cell, weights: [(d - f) ** 2, d * d + 2 * d * f - 2 * f * f, f * f] };
    });
    for (const row of taps) {
      for (const column of taps) {
        for (let channel = 0; channel < 3; channel++) {
          let total = 0;
          for (let j = 0; j < 3; j++) {
            for (let k = 0; k < 3; k++) {
              const value = control[((row.cell + j) * side + column.cell + k) * 3 + channel]!;
              total += row.weights[j]! * column.weights[k]! * value;
            }
          }
          images[out++] = total / (4 * d ** 4 * 128);
        }
      }
    }
  }
  return images;
}

/** [name, input channels, output channels] of the separable convolutions, in the order of figure 5. */
const SEPARABLE: readonly (readonly [string, number, number])[] = [
  ['block2_sepconv1', 64, 128],
  ['block2_sepconv2', 128, 128],
  ['block3_sepconv1', 128, 256],
  ['block3_sepconv2', 256, 256],
  ['block4_sepconv1', 256, 728],
  ['block4_sepconv2', 728, 728],
  ...[5, 6, 7, 8, 9, 10, 11, 12].flatMap((block) =>
    [1, 2, 3].map((k): [string, number, number] => [`block${block}_sepconv${k}`, 728, 728]),
  ),
  ['block13_sepconv1', 728, 728],
  ['block13_sepconv2', 728, 1024],
  ['block14_sepconv1', 1024, 1536],
  ['block14_sepconv2', 1536, 2048],
];

const SHORTCUTS: readonly (readonly [string, number, number])[] = [
  ['block2_shortcut', 64, 128],
  ['block3_shortcut', 128, 256],
  ['block4_shortcut', 256, 728],
  ['block13_shortcut', 728, 1024],
];

/** Every parameter and running statistic of Xception by module path, in a fixed order, with its shape. */
export function xceptionShapes(classes: number): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const normalization = (name: string, channels: number) => {
    for (const part of ['gamma', 'beta', 'running_mean', 'running_var'])
      shapes.set(`${name}_bn.${part}`, [channels]);
  };
  shapes.set('block1_conv1.weight', [32, 3, 3, 3]);
  normalization('block1_conv1', 32);
  shapes.set('block1_conv2.weight', [64, 3, 3, 32]);
  normalization('block1_conv2', 64);
  for (const [name, inputs, outputs] of SEPARABLE) {
    shapes.set(`${name}.depthwise.weight`, [inputs, 3, 3, 1]);
    shapes.set(`${name}.pointwise.weight`, [outputs, 1, 1, inputs]);
    normalization(name, outputs);
  }
  for (const [name, inputs, outputs] of SHORTCUTS) {
    shapes.set(`${name}.weight`, [outputs, 1, 1, inputs]);
    normalization(name, outputs);
  }
  shapes.set('predictions.weight', [classes, 2048]);
  shapes.set('predictions.bias', [classes]);
  return shapes;
}

export interface WeightsOptions {
  /** Default 1. */
  readonly seed?: number;
  /**
   * Factor on the classifier's kernel. Default 40: an untrained network's outputs are otherwise nearly the
   * same.
   */
  readonly gain?: number;
}

/**
 * Weights of a whole network in this project's layouts, by names and shapes. Kernels have the limits of Keras' Glorot
 * uniform initializer (a depthwise kernel counts its channels as inputs, as Keras does). The running statistics are
 * generated too; those that make the outputs tell images apart were recorded: see `recordedWeights` in fixtures.ts.
 */
export function networkWeights(
  shapes: ReadonlyMap<string, readonly number[]>,
  { seed = 1, gain = 40 }: WeightsOptions = {},
): Map<string, Generated> {
  const weights = new Map<string, Generated>();
  for (const [name, shape] of shapes) {
    weights.set(name, { shape, data: generate(name, shape, seed, range(name, shape, gain)) });
  }
  return weights;
}

/** Weights of a whole Xception; default 10 classes. */
export const xceptionWeights = ({
  classes = 10,
  ...options
}: WeightsOptions & { readonly classes?: number } = {}): Map<string, Generated> =>
  networkWeights(xceptionShapes(classes), options);

function range(name: string, shape: readonly number[], gain: number): GenerateOptions {
  if (name.endsWith('.gamma')) return { limit: 0.1, offset: 1 };
  if (name.endsWith('.running_var')) return { limit: 0.5, offset: 1 };
  if (name.endsWith('.beta') || name.endsWith('.running_mean')) return { limit: 0.1 };
  if (name.endsWith('.bias')) return { limit: 0.5 };
  const area = shape.length === 4 ? shape[1]! * shape[2]! : 1;
  const fans = name.endsWith('.depthwise.weight') ? shape[0]! + 1 : shape[0]! + shape.at(-1)!;
  return { limit: Math.sqrt(6 / (area * fans)) * (name === 'predictions.weight' ? gain : 1) };
}
