// Keras' HDF5 files of Xception: read into our names and layouts, and written so that Keras loads them.

import { CheckpointError } from '../core/errors.ts';
import { writeFileAtomic } from './atomic.ts';
import { readFileBytes } from './fileBytes.ts';
import { buildH5, type H5Reader, type H5Writer, readH5 } from './h5File.ts';
import {
  type FileLayer,
  type FileWeight,
  findKerasLayers,
  type KerasFileLayout,
  nameStem,
  nameSuffix,
} from './kerasLayers.ts';
import { elementCount, toFloat32, type WeightTensor } from './storedTensor.ts';
import { transposed } from './transpose.ts';
import {
  classifierName,
  type KerasClass,
  type LayerEntry,
  type LayerWeight,
  xceptionLayers,
} from './xceptionNames.ts';

/** Codes of the errors of these files beside those of HDF5; stable. */
export type KerasCode = 'KERAS_LAYOUT' | 'KERAS_OTHER_NETWORK' | 'KERAS_WEIGHTS';

/** What a network computes beside its weights, which Keras' files do not say. */
export interface NormalizationRules {
  /** Of batch normalization, added to the variance. */
  readonly epsilon: number;
  /** Of the running statistics: the share that stays. */
  readonly momentum: number;
  /** Which variance of a batch goes into the running statistics. */
  readonly variance: 'biased' | 'unbiased';
}

/** The rules of Keras' Xception; `preprocessing` brings pixels to [-1, 1]. */
export const kerasRules = {
  preprocessing: 'keras',
  epsilon: 1e-3,
  momentum: 0.99,
  variance: 'biased',
} as const satisfies NormalizationRules & { preprocessing: string };

export interface KerasWeights {
  readonly arch: 'xception';
  /** Undefined for a network without classifier (`include_top=False`). */
  readonly classes: number | undefined;
  readonly layout: KerasFileLayout;
  /** By our names, in our layouts; all of the network's, and nothing else. */
  readonly tensors: Map<string, WeightTensor>;
  readonly rules: typeof kerasRules;
}

/** Names of an error message: the first few, and how many there are. */
const few = (names: readonly string[]): string =>
  names.length > 4 ? `${names.slice(0, 4).join(', ')} and ${names.length - 4} more` : names.join(', ');

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, i) => size === b[i]);

/** Layers of the file by layer of the table, and those of the file that have no place. */
interface Matched {
  readonly found: Map<LayerEntry, FileLayer>;
  readonly extra: readonly FileLayer[];
}

/** The class of a layer as its weights show it, for layouts in which only names tell layers apart. */
function classOf(layer: FileLayer): KerasClass | undefined {
  const ranks = layer.weights.map(({ shape }) => shape.length).join();
  if (ranks === '4') return 'conv2d';
  if (ranks === '1,1,1,1') return 'batch_normalization';
  return undefined;
}

/**
 * Named layers by their names; the shortcuts, whose names carry a counter of the process that made them, in
 * the order of that counter within their class.
 */
function matchNamed(table: readonly LayerEntry[], layers: readonly FileLayer[]): Matched {
  const byName = new Map(layers.map((layer) => [layer.name, layer]));
  const found = new Map<LayerEntry, FileLayer>();
  const named = new Set(table.filter((entry) => entry.named).map((entry) => entry.name));
  const unnamed = layers
    .filter((layer) => !named.has(layer.name))
    .toSorted((a, b) => nameSuffix(a.name) - nameSuffix(b.name));
  const used = new Set<FileLayer>();
  for (const entry of table) {
    const layer = entry.named
      ? byName.get(entry.name)
      : unnamed.find((candidate) => !used.has(candidate) && classOf(candidate) === entry.kerasClass);
    if (layer === undefined) continue;
    found.set(entry, layer);
    used.add(layer);
  }
  return { found, extra: layers.filter((layer) => !used.has(layer)) };
}

/**
 * Layers by class and number: Keras counts each class in the order of `model.layers`, which is the table's.
 */
function matchCounted(table: readonly LayerEntry[], layers: readonly FileLayer[]): Matched {
  const byName = new Map(layers.map((layer) => [layer.name, layer]));
  const found = new Map<LayerEntry, FileLayer>();
  const counts = new Map<KerasClass, number>();
  for (const entry of table) {
    const n = counts.get(entry.kerasClass) ?? 0;
    counts.set(entry.kerasClass, n + 1);
    const layer = byName.get(n === 0 ? entry.kerasClass : `${entry.kerasClass}_${n}`);
    if (layer !== undefined) found.set(entry, layer);
  }
  const used = new Set(found.values());
  return { found, extra: layers.filter((layer) => !used.has(layer)) };
}

/** The classifier's number of classes, read off its kernel [2048, classes]. */
function classesOf(layers: readonly FileLayer[], layout: KerasFileLayout): number | undefined {
  const name = layout === 'layers' ? 'dense' : classifierName;
  const kernel = layers.find((layer) => layer.name === name)?.weights.find(({ shape }) => shape.length === 2);
  return kernel?.shape[1];
}

/**
 * The weights of a layer in the table's order: by Keras' names where the file has them all, else in the
 * file's order (Keras 1 had other names, `.weights.h5` has numbers; the order has always been the same).
 */
function weightsOf(entry: LayerEntry, layer: FileLayer): readonly (FileWeight | undefined)[] {
  const byName = entry.weights.map(({ kerasName }) => layer.weights.find(({ name }) => name === kerasName));
  return byName.every((weight) => weight !== undefined) ? byName : layer.weights;
}

class Reader {
  private readonly h5: H5Reader;

  constructor(h5: H5Reader) {
    this.h5 = h5;
  }

  private fail(code: KerasCode, message: string): never {
    throw new CheckpointError(`${this.h5.file}: ${message}`, { file: this.h5.file, code });
  }

  read(): KerasWeights {
    const { layout, layers } = findKerasLayers(this.h5);
    const classes = classesOf(layers, layout);
    const table = xceptionLayers(classes);
    const matched = layout === 'layers' ? matchCounted(table, layers) : matchNamed(table, layers);
    this.checkNetwork(table, matched, layers, layout);
    const places = this.places(table, matched);
    const tensors = new Map<string, WeightTensor>();
    for (const [weight, dataset] of places) {
      const data = toFloat32(this.h5.read(dataset));
      tensors.set(weight.name, { shape: weight.shape, data: fromKeras(weight, data) });
    }
    return { arch: 'xception', classes, layout, tensors, rules: kerasRules };
  }

  /**
   * Tells another network from an incomplete Xception: there, most layers have no counterpart or another
   * shape.
   */
  private checkNetwork(
    table: readonly LayerEntry[],
    { found }: Matched,
    layers: readonly FileLayer[],
    layout: KerasFileLayout,
  ): void {
    let fitting = 0;
    for (const [entry, layer] of found) {
      const weights = weightsOf(entry, layer);
      if (entry.weights.every((weight, i) => sameShape(weight.kerasShape, weights[i]?.shape ?? [])))
        fitting += 1;
    }
    if (fitting * 2 >= table.length) return;
    const share = `${fitting} of the ${table.length} layers of xception`;
    this.fail(
      'KERAS_OTHER_NETWORK',
      `weights of another network: it has ${share}; ${evidence(layers, layout)}`,
    );
  }

  /** The dataset of each weight; refuses a file with missing, extra or wrongly shaped weights. */
  private places(table: readonly LayerEntry[], { found, extra }: Matched): Map<LayerWeight, FileWeight> {
    const places = new Map<LayerWeight, FileWeight>();
    const missing: string[] = [];
    const misshapen: string[] = [];
    const unexpected = extra.map((layer) => layer.name);
    for (const entry of table) {
      const layer = found.get(entry);
      const weights = layer === undefined ? [] : weightsOf(entry, layer);
      if (layer !== undefined) {
        this.checkTitle(entry, layer);
        if (layer.weights.length > entry.weights.length) unexpected.push(`more weights in ${layer.name}`);
      }
      for (const [i, weight] of entry.weights.entries()) {
        const dataset = weights[i];
        if (dataset === undefined) missing.push(weight.name);
        else if (sameShape(dataset.shape, weight.kerasShape)) places.set(weight, dataset);
        else misshapen.push(`${dataset.path} [${dataset.shape}], expected [${weight.kerasShape}]`);
      }
    }
    const problems = [
      ...(missing.length > 0 ? [`${missing.length} missing (${few(missing)})`] : []),
      ...(misshapen.length > 0 ? [`${misshapen.length} of another shape (${few(misshapen)})`] : []),
      ...(unexpected.length > 0 ? [`${unexpected.length} unexpected (${few(unexpected)})`] : []),
    ];
    if (problems.length > 0)
      this.fail('KERAS_WEIGHTS', `weights do not fit xception: ${problems.join('; ')}`);
    return places;
  }

  /** Newer `.weights.h5` note the layers' names; where they do, the order counted on must agree with them. */
  private checkTitle(entry: LayerEntry, layer: FileLayer): void {
    if (layer.title === undefined || !entry.named || !/^(block\d|predictions$)/.test(layer.title)) return;
    if (layer.title === entry.name) return;
    this.fail('KERAS_LAYOUT', `${layer.name} is named ${layer.title}, expected ${entry.name} in this place`);
  }
}

/** What a file of another network holds, in a few words. */
function evidence(layers: readonly FileLayer[], layout: KerasFileLayout): string {
  if (layers.length === 0) return 'it has no layer with weights';
  if (layout !== 'layers') return `its layers are ${few(layers.map(({ name }) => name))}`;
  const counts = new Map<string, number>();
  for (const { name } of layers) counts.set(nameStem(name), (counts.get(nameStem(name)) ?? 0) + 1);
  return `it has ${[...counts].map(([stem, count]) => `${count} ${stem}`).join(', ')}`;
}

function fromKeras(weight: LayerWeight, data: Float32Array): Float32Array {
  if (!weight.transposed) return data;
  const columns = weight.shape[0] as number;
  return transposed(data, data.length / columns, columns);
}

function toKeras(weight: LayerWeight, data: Float32Array): Float32Array {
  if (!weight.transposed) return data;
  const rows = weight.shape[0] as number;
  return transposed(data, rows, data.length / rows);
}

/**
 * The weights in the contents of a Keras file. `bytes` belong to this function from then on; `file` is the
 * name for errors.
 * @throws CheckpointError with a {@link KerasCode} or an H5Code.
 */
export function parseKeras(bytes: Uint8Array, file = 'keras.h5'): Promise<KerasWeights> {
  return readH5(bytes, file, (h5) => new Reader(h5).read());
}

/**
 * Reads the weights of Keras' Xception from `.h5` or `.weights.h5`, whichever of Keras' layouts it has.
 * @throws DataError when the file is missing or empty; CheckpointError with a {@link KerasCode} or an H5Code.
 */
export async function readKeras(file: string): Promise<KerasWeights> {
  return parseKeras(await readFileBytes(file), file);
}

/**
 * - `h5`: the layout of the published files, for `load_weights(file)` and `load_weights(file, by_name=True)`.
 *   By name, the shortcuts are called `conv2d`, `conv2d_1`, …, as in a process whose first model is Xception.
 * - `weights.h5`: for `load_weights(file)` of Keras 3.
 */
export type KerasWriteFormat = 'h5' | 'weights.h5';

/**
 * The version decides how Keras 2 reads kernels: without it, it takes those of Keras 1 and rearranges them.
 */
const layoutVersion = '2.0.0';

/** The table for these weights, after a check that they are just those of Xception. */
function tableFor(tensors: ReadonlyMap<string, WeightTensor>, file: string): readonly LayerEntry[] {
  const table = xceptionLayers(tensors.get(`${classifierName}.weight`)?.shape[0]);
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
    const message = `${file}: these are not the weights of Keras' xception: ${few(problems)}`;
    throw new CheckpointError(message, { file, code: 'KERAS_WEIGHTS' });
  }
  return table;
}

/**
 * Numbers the layers of each class from 0, as a fresh process of Keras names them: `conv2d`, `conv2d_1`, …
 */
function counter(): (stem: string) => string {
  const counts = new Map<string, number>();
  return (stem) => {
    const n = counts.get(stem) ?? 0;
    counts.set(stem, n + 1);
    return n === 0 ? stem : `${stem}_${n}`;
  };
}

function writeNamed(
  h5: H5Writer,
  table: readonly LayerEntry[],
  tensors: ReadonlyMap<string, WeightTensor>,
): void {
  const count = counter();
  const layers = table.map((entry) => ({ entry, name: entry.named ? entry.name : count(entry.kerasClass) }));
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

function writeCounted(
  h5: H5Writer,
  table: readonly LayerEntry[],
  tensors: ReadonlyMap<string, WeightTensor>,
): void {
  const count = counter();
  for (const entry of table) {
    const group = `/layers/${count(entry.kerasClass)}/vars`;
    h5.group(group);
    for (const [i, weight] of entry.weights.entries()) writeWeight(h5, `${group}/${i}`, weight, tensors);
  }
}

function writeWeight(
  h5: H5Writer,
  path: string,
  weight: LayerWeight,
  tensors: ReadonlyMap<string, WeightTensor>,
): void {
  // `tableFor` has made sure that it is there.
  const { data } = tensors.get(weight.name) as WeightTensor;
  h5.dataset(path, weight.kerasShape, toKeras(weight, data));
}

/**
 * The bytes of a Keras file with these weights (ours by name, all of Xception's); the same weights give the
 * same bytes.
 * @throws CheckpointError `KERAS_WEIGHTS` when a weight is missing, has no place, or has another shape.
 */
export async function serializeKeras(
  tensors: ReadonlyMap<string, WeightTensor>,
  format: KerasWriteFormat,
  file = 'keras.h5',
): Promise<Uint8Array> {
  const table = tableFor(tensors, file);
  return buildH5((h5) => (format === 'h5' ? writeNamed : writeCounted)(h5, table, tensors));
}

/**
 * Writes weights for Keras, atomically.
 * @throws as {@link serializeKeras} and {@link writeFileAtomic}.
 */
export async function writeKeras(
  file: string,
  tensors: ReadonlyMap<string, WeightTensor>,
  options: { format: KerasWriteFormat },
): Promise<void> {
  await writeFileAtomic(file, [await serializeKeras(tensors, options.format, file)]);
}
