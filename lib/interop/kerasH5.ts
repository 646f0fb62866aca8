// Keras' HDF5 files of Xception and Inception V3, read into our names and layouts. kerasWrite.ts writes them.

import { CheckpointError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { readFileBytes } from './fileBytes.ts';
import { type H5Reader, readH5 } from './h5File.ts';
import { inceptionLayers } from './inceptionNames.ts';
import { type KerasSettings, modelConfig, settingsIn } from './kerasConfig.ts';
import {
  type FileLayer,
  type FileWeight,
  findKerasLayers,
  type KerasFileLayout,
  nameStem,
  nameSuffix,
} from './kerasLayers.ts';
import {
  classesProblem,
  classifierName,
  type KerasClass,
  type LayerEntry,
  type LayerWeight,
} from './layerTable.ts';
import { describeMisfits, few, type Match, noMisfits, sameShape } from './matching.ts';
import { toFloat32, type WeightTensor } from './storedTensor.ts';
import { transposed } from './transpose.ts';
import { xceptionLayers } from './xceptionNames.ts';

/** Codes of the errors of these files beside those of HDF5; stable. */
export type KerasCode =
  | 'KERAS_LAYOUT'
  | 'KERAS_OTHER_NETWORK'
  | 'KERAS_WEIGHTS'
  | 'KERAS_CONFIG'
  | 'KERAS_ARCHIVE';

/** The networks that Keras Applications has too. */
export const kerasTables = {
  xception: xceptionLayers,
  inception_v3: (classes: number | undefined) => inceptionLayers({ classes }),
} as const satisfies Record<string, (classes: number | undefined) => readonly LayerEntry[]>;

export type KerasArch = keyof typeof kerasTables;

const kerasArchs = Object.keys(kerasTables) as readonly KerasArch[];

/** Weights of a Keras file, with what its configuration says where it holds the whole model. */
export interface KerasWeights extends KerasSettings {
  readonly arch: KerasArch;
  /** Undefined for a network without classifier (`include_top=False`). */
  readonly classes: number | undefined;
  readonly layout: KerasFileLayout;
  /** By our names, in our layouts; all of the network's, and nothing else. */
  readonly tensors: Map<string, WeightTensor>;
  /** The place of each in the file. */
  readonly matched: readonly Match[];
}

/** Layers of the file by layer of the table, and those of the file that have no place. */
interface Matched {
  readonly found: Map<LayerEntry, FileLayer>;
  readonly extra: readonly FileLayer[];
}

/** A network with the layers of the file in their places in it. */
interface Candidate extends Matched {
  readonly arch: KerasArch;
  readonly table: readonly LayerEntry[];
  /** Layers of the table whose weights are there in the right shapes. */
  readonly fitting: number;
}

/** The class of a layer as its weights show it, for layouts in which only names tell layers apart. */
function classOf(layer: FileLayer): KerasClass | undefined {
  const ranks = layer.weights.map(({ shape }) => shape.length).join();
  if (ranks === '4') return 'conv2d';
  if (ranks === '1,1,1,1' || ranks === '1,1,1') return 'batch_normalization';
  return undefined;
}

/** The entries that Keras counts, in the order in which it creates them. */
const unnamedOf = (table: readonly LayerEntry[], kerasClass: KerasClass): LayerEntry[] =>
  table
    .filter((entry) => entry.created !== undefined && entry.kerasClass === kerasClass)
    .toSorted((x, y) => (x.created as number) - (y.created as number));

/**
 * Named layers by their names; those whose names carry a counter of the process that made them in the order of that
 * counter within their class, wherever it starts.
 */
function matchNamed(table: readonly LayerEntry[], layers: readonly FileLayer[]): Matched {
  const byName = new Map(layers.map((layer) => [layer.name, layer]));
  const found = new Map<LayerEntry, FileLayer>();
  const named = new Set(table.filter((entry) => entry.created === undefined).map((entry) => entry.name));
  for (const entry of table) {
    const layer = entry.created === undefined ? byName.get(entry.name) : undefined;
    if (layer !== undefined) found.set(entry, layer);
  }
  for (const kerasClass of ['conv2d', 'batch_normalization'] as const) {
    const counted = layers
      .filter((layer) => !named.has(layer.name) && classOf(layer) === kerasClass)
      .toSorted((x, y) => nameSuffix(x.name) - nameSuffix(y.name));
    unnamedOf(table, kerasClass).forEach((entry, i) => {
      const layer = counted[i];
      if (layer !== undefined) found.set(entry, layer);
    });
  }
  const used = new Set(found.values());
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

const fits = (entry: LayerEntry, layer: FileLayer): boolean => {
  const weights = weightsOf(entry, layer);
  return entry.weights.every((weight, i) => sameShape(weight.kerasShape, weights[i]?.shape ?? []));
};

class Reader {
  private readonly h5: H5Reader;
  private readonly config: string | undefined;

  constructor(h5: H5Reader, config: string | undefined) {
    this.h5 = h5;
    this.config = config ?? modelConfig(h5);
  }

  private fail(code: KerasCode, message: string): never {
    throw new CheckpointError(`${this.h5.file}: ${message}`, { file: this.h5.file, code });
  }

  read(): KerasWeights {
    const { layout, layers } = findKerasLayers(this.h5);
    const classes = classesOf(layers, layout);
    const problem = classesProblem(classes);
    if (problem !== undefined) this.fail('KERAS_WEIGHTS', problem);
    const candidates = kerasArchs.map((arch): Candidate => {
      const table = kerasTables[arch](classes);
      const matched = layout === 'layers' ? matchCounted(table, layers) : matchNamed(table, layers);
      const fitting = [...matched.found].filter(([entry, layer]) => fits(entry, layer)).length;
      return { arch, table, ...matched, fitting };
    });
    const chosen = candidates.reduce((best, next) => (next.fitting > best.fitting ? next : best));
    this.checkNetwork(chosen, candidates, layers, layout);
    const places = this.places(chosen);
    const tensors = new Map<string, WeightTensor>();
    const matched: Match[] = [];
    for (const [weight, dataset] of places) {
      const { name, shape } = weight;
      tensors.set(name, { shape, data: fromKeras(weight, toFloat32(this.h5.read(dataset))) });
      matched.push({ name, shape, source: dataset.path, sourceShape: dataset.shape });
    }
    const { arch } = chosen;
    const settings = settingsIn(arch, this.config, classes !== undefined, (message) =>
      this.fail('KERAS_CONFIG', message),
    );
    return { arch, classes, layout, tensors, matched, ...settings };
  }

  /**
   * Tells another network from an incomplete one: there, most layers have no counterpart or another
   * shape.
   */
  private checkNetwork(
    { fitting, table }: Candidate,
    candidates: readonly Candidate[],
    layers: readonly FileLayer[],
    layout: KerasFileLayout,
  ): void {
    if (fitting * 2 >= table.length) return;
    const shares = candidates.map((it) => `${it.fitting} of the ${it.table.length} layers of ${it.arch}`);
    this.fail(
      'KERAS_OTHER_NETWORK',
      `weights of another network: it has ${shares.join(' and ')}; ${evidence(layers, layout)}`,
    );
  }

  /** The dataset of each weight; refuses a file with missing, extra or wrongly shaped weights. */
  private places({ arch, table, found, extra }: Candidate): Map<LayerWeight, FileWeight> {
    const places = new Map<LayerWeight, FileWeight>();
    const misfits = noMisfits();
    misfits.unexpected.push(...extra.map((layer) => layer.name));
    for (const entry of table) {
      const layer = found.get(entry);
      const weights = layer === undefined ? [] : weightsOf(entry, layer);
      if (layer !== undefined) {
        this.checkTitle(entry, layer);
        if (layer.weights.length > entry.weights.length)
          misfits.unexpected.push(`more weights in ${layer.name}`);
      }
      for (const [i, weight] of entry.weights.entries()) {
        const dataset = weights[i];
        if (dataset === undefined) misfits.missing.push(weight.name);
        else if (sameShape(dataset.shape, weight.kerasShape)) places.set(weight, dataset);
        else misfits.misshapen.push(`${dataset.path} [${dataset.shape}], expected [${weight.kerasShape}]`);
      }
    }
    this.checkCounters(table, found);
    const problems = describeMisfits(misfits);
    if (problems !== undefined) this.fail('KERAS_WEIGHTS', `weights do not fit ${arch}: ${problems}`);
    return places;
  }

  /** Newer `.weights.h5` note the layers' names; where they do, the order counted on must agree with them. */
  private checkTitle(entry: LayerEntry, layer: FileLayer): void {
    if (layer.title === undefined || entry.created !== undefined) return;
    if (!/^(block\d|predictions$)/.test(layer.title) || layer.title === entry.name) return;
    const named = `${printable(layer.name)} is named ${printable(layer.title)}`;
    this.fail('KERAS_LAYOUT', `${named}, expected ${entry.name} in this place`);
  }

  /** As {@link checkTitle} for names with counters: they must rise in the order in which the layers are created. */
  private checkCounters(table: readonly LayerEntry[], found: Matched['found']): void {
    for (const kerasClass of ['conv2d', 'batch_normalization'] as const) {
      let last: FileLayer | undefined;
      for (const entry of unnamedOf(table, kerasClass)) {
        const layer = found.get(entry);
        if (layer?.title === undefined || nameStem(layer.title) !== kerasClass) continue;
        if (last?.title !== undefined && nameSuffix(layer.title) <= nameSuffix(last.title)) {
          this.fail(
            'KERAS_LAYOUT',
            `${layer.name} is named ${layer.title}, expected a number above that of ${last.title} (${last.name})`,
          );
        }
        last = layer;
      }
    }
  }
}

/** What a file of another network holds, in a few words. */
function evidence(layers: readonly FileLayer[], layout: KerasFileLayout): string {
  if (layers.length === 0) return 'it has no layer with weights';
  if (layout !== 'layers') return `its layers are ${few(layers.map(({ name }) => name))}`;
  const counts = new Map<string, number>();
  for (const { name } of layers) counts.set(nameStem(name), (counts.get(nameStem(name)) ?? 0) + 1);
  return `it has ${few([...counts].map(([stem, count]) => `${count} ${stem}`))}`;
}

function fromKeras(weight: LayerWeight, data: Float32Array): Float32Array {
  if (!weight.transposed) return data;
  const columns = weight.shape[0] as number;
  return transposed(data, data.length / columns, columns);
}

/**
 * The weights in the contents of a Keras file. `bytes` belong to this function from then on; `file` is the
 * name for errors; `config` is the model's configuration as JSON, where it lies beside the HDF5 file.
 * @throws CheckpointError with a {@link KerasCode} or an H5Code.
 */
export function parseKeras(bytes: Uint8Array, file = 'keras.h5', config?: string): Promise<KerasWeights> {
  return readH5(bytes, file, (h5) => new Reader(h5, config).read());
}

/**
 * Reads the weights of Keras' Xception or Inception V3 from `.h5` or `.weights.h5`, whichever of Keras' layouts it has.
 * @throws DataError when the file is missing or empty; CheckpointError with a {@link KerasCode} or an H5Code.
 */
export async function readKeras(file: string): Promise<KerasWeights> {
  return parseKeras(await readFileBytes(file), file);
}
