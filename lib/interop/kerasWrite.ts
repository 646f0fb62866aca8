// HDF5 files with the weights of Xception and Inception V3 that Keras loads.

import { CheckpointError } from '../core/errors.ts';
import { writeFileAtomic } from './atomic.ts';
import { buildH5, type H5Writer } from './h5File.ts';
import { type KerasArch, kerasTables } from './kerasH5.ts';
import { classifierName, type KerasClass, type LayerEntry, type LayerWeight } from './layerTable.ts';
import { few, sameShape } from './matching.ts';
import { elementCount, type WeightTensor } from './storedTensor.ts';
import { transposed } from './transpose.ts';

/**
 * - `h5`: the layout of the published files, for `load_weights(file)` and `load_weights(file, by_name=True)`.
 *   By name, layers without names of their own are called `conv2d`, `conv2d_1`, …, as in a process whose first model it is.
 * - `weights.h5`: for `load_weights(file)` of Keras 3.
 */
export type KerasWriteFormat = 'h5' | 'weights.h5';

/**
 * The version decides how Keras 2 reads kernels: without it, it takes those of Keras 1 and rearranges them.
 */
const layoutVersion = '2.0.0';

type Tensors = ReadonlyMap<string, WeightTensor>;

/** The table for these weights, after a check that they are just those of the network. */
function tableFor(arch: KerasArch, tensors: Tensors, file: string): readonly LayerEntry[] {
  const table = kerasTables[arch](tensors.get(`${classifierName}.weight`)?.shape[0]);
  const weights = table.flatMap((entry) => entry.weights);
  const names = new Set(weights.map(({ name }) => name));
  const problems = [...tensors.keys()]
    .filter((name) => !names.has(name))
    .map((name) => `${name} has no place`);
  for (const { name, shape } of weights) {
    const tensor = tensors.get(name);
    if (tensor === undefined) problems.push(`${name} is missing`);
    else if (!sameShape(tensor.shape, shape) || tensor.data.length !== elementCount(shape)) {
      problems.push(`${name} is [${tensor.shape}], expected [${shape}]`);
    }
  }
  if (problems.length > 0) {
    const message = `${file}: these are not the weights of Keras' ${arch}: ${few(problems)}`;
    throw new CheckpointError(message, { file, code: 'KERAS_WEIGHTS' });
  }
  return table;
}

function toKeras(weight: LayerWeight, data: Float32Array): Float32Array {
  if (!weight.transposed) return data;
  const rows = weight.shape[0] as number;
  return transposed(data, rows, data.length / rows);
}

/** Keras' name of the nth of its class: `conv2d`, `conv2d_1`, … */
const numbered = (stem: string, n: number): string => (n === 0 ? stem : `${stem}_${n}`);

/** Numbers the layers of each class from 0, in the order of the calls. */
function counter(): (kerasClass: KerasClass) => string {
  const counts = new Map<KerasClass, number>();
  return (kerasClass) => {
    const n = counts.get(kerasClass) ?? 0;
    counts.set(kerasClass, n + 1);
    return numbered(kerasClass, n);
  };
}

function writeNamed(h5: H5Writer, table: readonly LayerEntry[], tensors: Tensors): void {
  const layers = table.map((entry) => ({
    entry,
    name: entry.created === undefined ? entry.name : numbered(entry.kerasClass, entry.created),
  }));
  h5.strings(
    '/',
    'layer_names',
    layers.map(({ name }) => name),
  );
  h5.strings('/', 'backend', 'tensorflow');
  h5.strings('/', 'keras_version', layoutVersion);
  for (const { entry, name } of layers) {
    h5.group(`/${name}/${name}`);
    h5.strings(
      `/${name}`,
      'weight_names',
      entry.weights.map(({ kerasName }) => `${name}/${kerasName}:0`),
    );
    for (const weight of entry.weights) {
      writeWeight(h5, `/${name}/${name}/${weight.kerasName}:0`, weight, tensors);
    }
  }
}

function writeCounted(h5: H5Writer, table: readonly LayerEntry[], tensors: Tensors): void {
  const count = counter();
  for (const entry of table) {
    const group = `/layers/${count(entry.kerasClass)}/vars`;
    h5.group(group);
    for (const [i, weight] of entry.weights.entries()) writeWeight(h5, `${group}/${i}`, weight, tensors);
  }
}

function writeWeight(h5: H5Writer, path: string, weight: LayerWeight, tensors: Tensors): void {
  // `tableFor` has made sure that it is there.
  const { data } = tensors.get(weight.name) as WeightTensor;
  h5.dataset(path, weight.kerasShape, toKeras(weight, data));
}

/**
 * The bytes of a Keras file with these weights (ours by name, all of the network's); the same weights give the
 * same bytes.
 * @throws CheckpointError `KERAS_WEIGHTS` when a weight is missing, has no place, or has another shape.
 */
export async function serializeKeras(
  tensors: Tensors,
  format: KerasWriteFormat,
  { arch = 'xception', file = 'keras.h5' }: { readonly arch?: KerasArch; readonly file?: string } = {},
): Promise<Uint8Array> {
  const table = tableFor(arch, tensors, file);
  return buildH5((h5) => (format === 'h5' ? writeNamed : writeCounted)(h5, table, tensors));
}

/**
 * Writes weights for Keras, atomically.
 * @throws as {@link serializeKeras} and {@link writeFileAtomic}.
 */
export async function writeKeras(
  file: string,
  tensors: Tensors,
  options: { readonly format: KerasWriteFormat; readonly arch: KerasArch },
): Promise<void> {
  await writeFileAtomic(file, [await serializeKeras(tensors, options.format, { arch: options.arch, file })]);
}
