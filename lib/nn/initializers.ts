// Initial values of parameters, by Keras' rules. Random ones depend only on the seed and the parameter's name.

import { type Shape, sizeOf } from '../core/aval.ts';
import { philox4x32Into } from '../core/philox.ts';

/** Makes the elements of a parameter of `shape`; `key` selects the random numbers. */
export type Initializer = (shape: Shape, key: RandomKey) => Float32Array;

/** Two 32-bit words that select a stream of random numbers. */
export type RandomKey = readonly [number, number];

/** The key of a parameter: the seed, and FNV-1a of the name. */
export function keyFor(seed: number, name: string): RandomKey {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return [seed >>> 0, hash];
}

/** All 0. */
export const zeros: Initializer = (shape) => new Float32Array(sizeOf(shape));
/** All 1. */
export const ones: Initializer = (shape) => new Float32Array(sizeOf(shape)).fill(1);

/** Calls `use` with uniform numbers in (0, 1), four at a time. */
function uniforms(size: number, key: RandomKey, use: (index: number, u: number) => void): void {
  const words = new Uint32Array(4);
  for (let block = 0; block * 4 < size; block += 1) {
    philox4x32Into(words, block, 0, 0, 0, key[0], key[1]);
    for (let lane = 0; lane < 4 && block * 4 + lane < size; lane += 1) {
      use(block * 4 + lane, ((words[lane] as number) + 0.5) / 2 ** 32);
    }
  }
}

/**
 * Inputs and outputs of one unit, as Keras counts them: for a convolution weight [out, height, width, in / groups]
 * the receptive field times the channels. A depthwise kernel is (height, width, channels, 1) in Keras, so its fan in is
 * height·width·channels and its fan out height·width.
 */
export function fans(shape: Shape, groups = 1): { fanIn: number; fanOut: number } {
  const [out = 1, ...rest] = shape;
  const inner = rest.at(-1) ?? 1;
  const receptive = rest.slice(0, -1).reduce((product, extent) => product * extent, 1);
  if (groups > 1 && inner === 1) return { fanIn: receptive * groups, fanOut: (receptive * out) / groups };
  return { fanIn: receptive * inner, fanOut: receptive * out };
}

/** Uniform in ±sqrt(6 / (fan in + fan out)): Glorot & Bengio 2010; Keras' default. */
export const glorotUniform =
  (groups = 1): Initializer =>
  (shape, key) => {
    const { fanIn, fanOut } = fans(shape, groups);
    const limit = Math.sqrt(6 / (fanIn + fanOut));
    const values = new Float32Array(sizeOf(shape));
    uniforms(values.length, key, (i, u) => {
      values[i] = (2 * u - 1) * limit;
    });
    return values;
  };

/** Normal of deviation sqrt(2 / fan in), cut at two deviations as in Keras: He et al. 2015. */
export const heNormal =
  (groups = 1): Initializer =>
  (shape, key) => {
    // Cutting at ±2 shrinks the deviation by this factor; Keras makes up for it.
    const deviation = Math.sqrt(2 / fans(shape, groups).fanIn) / 0.87962566103423978;
    const values = new Float32Array(sizeOf(shape));
    const size = values.length;
    let filled = 0;
    for (let round = 0; filled < size; round += 1) {
      let first = 0;
      // Box and Muller's transform; what falls outside ±2 is drawn again in the next numbers of the stream.
      uniforms(2 * size, [key[0], (key[1] + round) >>> 0], (i, u) => {
        if (i % 2 === 0) first = u;
        else {
          const normal = Math.sqrt(-2 * Math.log(first)) * Math.cos(2 * Math.PI * u);
          if (Math.abs(normal) <= 2 && filled < size) values[filled++] = normal * deviation;
        }
      });
    }
    return values;
  };
