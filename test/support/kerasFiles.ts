// Keras files for tests, made from the recorded structure of real ones (keras_structure.json), with given weights or
// with values that tell every element of every weight apart.

import { buildH5 } from '../../lib/interop/h5File.ts';
import { type KerasArch, kerasTables } from '../../lib/interop/kerasH5.ts';
import { elementCount, type WeightTensor } from '../../lib/interop/storedTensor.ts';
import { readJson } from './fixtures.ts';

export interface Structure {
  readonly attributes: Record<string, Record<string, string[]>>;
  /** Path of each dataset: its shape, and the weight (our name) that Keras keeps there. */
  readonly datasets: Record<string, { shape: number[]; weight: string }>;
}

export const recorded = readJson<{ classes: number; files: Record<string, Structure> }>(
  'keras_structure.json',
);

/** The same of Inception V3. */
export const recordedInception = readJson<{ classes: number; files: Record<'layers' | 'root', Structure> }>(
  'keras_inception_structure.json',
);

/**
 * Element `i` (in our layout) of the weight `name`: another one for each weight and, nearly always, each
 * element.
 */
function elementOf(name: string): (i: number) => number {
  let hash = 0x811c9dc5;
  for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  return (i) => (((Math.imul(i + 1, 0x9e3779b1) ^ hash) >>> 8) / 2 ** 24) * 2 - 1;
}

/** The weights of a network by our names and in our layouts; default: Xception. */
export function ourWeights(
  classes: number | undefined,
  arch: KerasArch = 'xception',
): Map<string, WeightTensor> {
  const tensors = new Map<string, WeightTensor>();
  for (const { name, shape } of kerasTables[arch](classes).flatMap(({ weights }) => weights)) {
    const value = elementOf(name);
    const data = new Float32Array(elementCount(shape));
    for (let i = 0; i < data.length; i++) data[i] = value(i);
    tensors.set(name, { shape, data });
  }
  return tensors;
}

/** Elements of weights by our names, each by its place in our layout. */
export type ElementsOf = (weight: string) => (i: number) => number;

/** The same weight as Keras keeps it: index by index, from the meaning of the axes in Keras. */
function kerasData(weight: string, shape: readonly number[], elementsOf: ElementsOf): Float32Array {
  const value = elementsOf(weight);
  const data = new Float32Array(elementCount(shape));
  const [a = 1, b = 1, c = 1, d = 1] = shape;
  let at = 0;
  if (shape.length === 1) {
    for (let i = 0; i < a; i++) data[at++] = value(i);
  } else if (shape.length === 2) {
    // Dense: [in, out]; ours [out, in].
    for (let i = 0; i < a; i++) for (let o = 0; o < b; o++) data[at++] = value(o * a + i);
  } else {
    const depthwise = weight.endsWith('.depthwise.weight');
    for (let y = 0; y < a; y++) {
      for (let x = 0; x < b; x++) {
        for (let i = 0; i < c; i++) {
          for (let o = 0; o < d; o++) {
            // Depthwise: [height, width, channels, 1], ours [channels, height, width, 1];
            // else [height, width, in, out], ours [out, height, width, in].
            data[at++] = value(depthwise ? (i * a + y) * b + x : ((o * a + y) * b + x) * c + i);
          }
        }
      }
    }
  }
  return data;
}

/** The bytes of a Keras file of this structure. */
export function kerasFile(
  { attributes, datasets }: Structure,
  elementsOf: ElementsOf = elementOf,
): Promise<Uint8Array> {
  const groupOf = (path: string) => path.slice(0, path.lastIndexOf('/'));
  return buildH5((h5) => {
    for (const [group, values] of Object.entries(attributes)) {
      if (group !== '/') h5.group(group);
      for (const [name, list] of Object.entries(values)) h5.strings(group, name, list);
    }
    for (const [path, { shape, weight }] of Object.entries(datasets)) {
      h5.group(groupOf(path));
      h5.dataset(path, shape, kerasData(weight, shape, elementsOf));
    }
  });
}
