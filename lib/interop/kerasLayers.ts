// The layers of a Keras HDF5 file as Keras wrote them: finds them in each of the three layouts. Knows no
// network.

import { CheckpointError } from '../core/errors.ts';
import { quoted } from '../core/printable.ts';
import type { H5Dataset, H5Reader } from './h5File.ts';
import { few } from './matching.ts';

/**
 * - `root`: the published files of Keras Applications and `save_weights` of Keras 2: a group per layer at the
 *   root;
 * - `model_weights`: a whole model saved as `.h5`: the same, one level down;
 * - `layers`: `.weights.h5` of Keras 3: `layers/<class>_<n>/vars/<i>`.
 */
export type KerasFileLayout = 'root' | 'model_weights' | 'layers';

export interface FileWeight extends H5Dataset {
  /** Last part of the name: `kernel` of `block1_conv1/kernel:0`; `0` in the layout `layers`. */
  readonly name: string;
}

/** A layer that has weights. */
export interface FileLayer {
  /** Name of its group: the layer's name, or class and number in the layout `layers`. */
  readonly name: string;
  /** The layer's own name where the layout `layers` notes it (Keras 3.7 and later). */
  readonly title: string | undefined;
  readonly weights: readonly FileWeight[];
}

export interface KerasLayers {
  readonly layout: KerasFileLayout;
  readonly layers: readonly FileLayer[];
}

/**
 * The strings of an attribute, which Keras cuts into `name0`, `name1`, … when they are more than an object
 * header holds.
 */
function longStrings(h5: H5Reader, path: string, name: string): readonly string[] | undefined {
  const whole = h5.strings(path, name);
  if (whole !== undefined) return whole;
  const all: string[] = [];
  for (let i = 0; ; i++) {
    const part = h5.strings(path, `${name}${i}`);
    if (part === undefined) return i === 0 ? undefined : all;
    all.push(...part);
  }
}

function damaged(h5: H5Reader, message: string): never {
  throw new CheckpointError(`${h5.file}: ${message}`, { file: h5.file, code: 'KERAS_LAYOUT' });
}

/** Layers of the layouts `root` and `model_weights`; `base` is the group that holds them, '' for the root. */
function namedLayers(h5: H5Reader, base: string): FileLayer[] {
  const names = longStrings(h5, base === '' ? '/' : base, 'layer_names') ?? [];
  return names.map((layer) => {
    const group = `${base}/${layer}`;
    const weights = (longStrings(h5, group, 'weight_names') ?? []).map((weight) => {
      const dataset = h5.dataset(`${group}/${weight}`);
      if (dataset === undefined)
        damaged(h5, `layer ${quoted(layer)} lists the weight ${quoted(weight)}, which is not in the file`);
      const name = weight.replace(/:\d+$/, '').split('/').at(-1) as string;
      return { ...dataset, name };
    });
    return { name: layer, title: undefined, weights };
  });
}

/** Layers of the layout `layers`. */
function countedLayers(h5: H5Reader, base: string): FileLayer[] {
  return h5.children(base).map((layer) => {
    const group = `${base}/${layer}/vars`;
    const weights: FileWeight[] = [];
    for (const name of h5.children(group)) {
      const dataset = h5.dataset(`${group}/${name}`);
      if (dataset !== undefined && /^\d+$/.test(name)) weights.push({ ...dataset, name });
    }
    weights.sort((a, b) => Number(a.name) - Number(b.name));
    const title = weights.length === 0 ? undefined : h5.strings(group, 'name')?.[0];
    return { name: layer, title, weights };
  });
}

/**
 * The layers with weights of a Keras file.
 * @throws CheckpointError `KERAS_LAYOUT` when it has none of the three layouts.
 */
export function findKerasLayers(h5: H5Reader): KerasLayers {
  const root = h5.children('/');
  const withWeights = (layers: FileLayer[]) => layers.filter((layer) => layer.weights.length > 0);
  if (longStrings(h5, '/', 'layer_names') !== undefined) {
    return { layout: 'root', layers: withWeights(namedLayers(h5, '')) };
  }
  if (root.includes('model_weights')) {
    return { layout: 'model_weights', layers: withWeights(namedLayers(h5, '/model_weights')) };
  }
  // The second name is that of Keras 2.13.
  const group = ['layers', '_layer_checkpoint_dependencies'].find((name) => root.includes(name));
  if (group !== undefined) return { layout: 'layers', layers: withWeights(countedLayers(h5, `/${group}`)) };
  const found = root.length === 0 ? 'nothing' : few(root);
  return damaged(h5, `no weights of Keras: expected layer_names, model_weights or layers, found ${found}`);
}

/** The number at the end of a name that Keras made (`conv2d_12`); 0 where there is none (`conv2d`). */
export const nameSuffix = (name: string): number => Number(/_(\d+)$/.exec(name)?.[1] ?? 0);

/** A name that Keras made, without its number: `conv2d` of `conv2d_12`. */
export const nameStem = (name: string): string => name.replace(/_\d+$/, '');
