// Writes the HDF5 files that Keras would write for given weights, after structures recorded from Keras
// itself.
import { File, Group, ready } from 'h5wasm/node';
import { readJson } from './fixtures.ts';
import type { Generated } from './generator.ts';

/** A group or, with `shape`, a dataset of an HDF5 file. The root's path is ''. */
export interface LayoutEntry {
  readonly path: string;
  readonly shape?: readonly number[];
  readonly dtype?: string;
  readonly attributes?: Readonly<Record<string, string | readonly string[] | { readonly string_of: number }>>;
}

export type LayoutName = `${'whole_model' | 'published' | 'weights_h5'}/${'first' | 'second'}`;

/**
 * The structure of Keras' files of an Xception of 10 classes, by layout and by place among a process's
 * models.
 */
export function kerasLayouts(): Readonly<Record<LayoutName, readonly LayoutEntry[]>> {
  return readJson<{ layouts: Record<LayoutName, LayoutEntry[]> }>('keras_layouts.json').layouts;
}

/** A dataset of one of Keras' files, in Keras' order of axes. */
export interface KerasDataset {
  readonly path: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/**
 * The datasets of one of Keras' files, filled with `weights` (our names and layouts): what Keras would have
 * written.
 */
export function kerasDatasets(layout: LayoutName, weights: ReadonlyMap<string, Generated>): KerasDataset[] {
  const entries = kerasLayouts()[layout];
  const names = layout.startsWith('weights_h5') ? namesByVariable(entries) : namesByPath(entries);
  return entries.flatMap(({ path, shape }) => {
    if (shape === undefined) return [];
    const name = names.get(path);
    const ours = name === undefined ? undefined : weights.get(name);
    if (name === undefined || ours === undefined) throw new Error(`${layout}: no weights for ${path}`);
    return [{ path, shape, data: toKeras(ours) }];
  });
}

const PARTS: Readonly<Record<string, string>> = {
  kernel: 'weight',
  bias: 'bias',
  depthwise_kernel: 'depthwise.weight',
  pointwise_kernel: 'pointwise.weight',
  gamma: 'gamma',
  beta: 'beta',
  moving_mean: 'running_mean',
  moving_variance: 'running_var',
};

const SHORTCUT_BLOCKS = [2, 3, 4, 13];

/** Our module path of a Keras layer; the unnamed shortcuts are numbered from `first` in the process. */
function modulePath(layer: string, first: number): string {
  const unnamed = /^(conv2d|batch_normalization)(?:_(\d+))?$/.exec(layer);
  if (unnamed === null) return layer;
  const block = SHORTCUT_BLOCKS[Number(unnamed[2] ?? 0) - first];
  return `block${block}_shortcut${unnamed[1] === 'conv2d' ? '' : '_bn'}`;
}

function namesByPath(entries: readonly LayoutEntry[]): Map<string, string> {
  const first = entries.some(({ path }) => path.endsWith('conv2d_7')) ? 4 : 0;
  const names = new Map<string, string>();
  for (const { path, shape } of entries) {
    if (shape === undefined) continue;
    const [layer, part] = path.split('/').slice(-2) as [string, string];
    names.set(path, `${modulePath(layer, first)}.${PARTS[part]}`);
  }
  return names;
}

function namesByVariable(entries: readonly LayoutEntry[]): Map<string, string> {
  const variables: Readonly<Record<string, readonly string[]>> = {
    conv2d: ['weight'],
    dense: ['weight', 'bias'],
    separable_conv2d: ['depthwise.weight', 'pointwise.weight'],
    batch_normalization: ['gamma', 'beta', 'running_mean', 'running_var'],
  };
  // `layers/conv2d_2/vars` carries the layer's name as an attribute.
  const layers = new Map(entries.map(({ path, attributes }) => [path, attributes?.name]));
  const first = [...layers.values()].includes('conv2d_7') ? 4 : 0;
  const names = new Map<string, string>();
  for (const { path, shape } of entries) {
    if (shape === undefined) continue;
    const [, group, , index] = path.split('/') as [string, string, string, string];
    const layer = layers.get(`layers/${group}/vars`) as string;
    names.set(path, `${modulePath(layer, first)}.${variables[group.replace(/_\d+$/, '')]![Number(index)]}`);
  }
  return names;
}

/** Values in Keras' order of axes: [h, w, in, out], depthwise [h, w, c, 1], dense [in, out]. */
function toKeras({ shape, data }: Generated): Float32Array {
  if (shape.length === 1) return data;
  const [outputs, inputs] = [shape[0]!, shape.at(-1)!];
  const taps = data.length / (outputs * inputs);
  const moved = new Float32Array(data.length);
  // Ours is [o, taps, i] and Keras' [taps, i, o]; with a depthwise kernel's i = 1 that is also [taps, c, 1].
  for (let o = 0; o < outputs; o++) {
    for (let t = 0; t < taps; t++) {
      for (let i = 0; i < inputs; i++)
        moved[(t * inputs + i) * outputs + o] = data[(o * taps + t) * inputs + i]!;
    }
  }
  return moved;
}

/**
 * Writes one of Keras' files to `path`, with every group, dataset and attribute Keras writes; a long
 * attribute (the configuration of a whole model) becomes `{}`, since readers must not need it.
 */
export async function writeKerasFile(
  path: string,
  layout: LayoutName,
  weights: ReadonlyMap<string, Generated>,
): Promise<void> {
  await ready;
  const file = new File(path, 'w');
  try {
    const datasets = new Map(kerasDatasets(layout, weights).map((dataset) => [dataset.path, dataset]));
    for (const { path: at, attributes } of kerasLayouts()[layout]) {
      const dataset = datasets.get(at);
      if (dataset !== undefined) {
        file.create_dataset({ name: at, data: dataset.data, shape: [...dataset.shape], dtype: '<f4' });
      } else if (at !== '') {
        file.create_group(at);
      }
      const node = at === '' ? file : file.get(at);
      if (!(node instanceof Group)) continue;
      for (const [key, value] of Object.entries(attributes ?? {})) {
        // An empty list of names is an empty float array in Keras' files too: NumPy's type of [].
        if (Array.isArray(value) && value.length === 0)
          node.create_attribute(key, new Float64Array(0), [0], '<f8');
        else if (Array.isArray(value))
          node.create_attribute(key, value, [value.length], `S${longest(value)}`);
        else node.create_attribute(key, typeof value === 'string' ? value : '{}');
      }
    }
  } finally {
    file.close();
  }
}

const longest = (values: readonly string[]): number => Math.max(...values.map((v) => v.length));
