// Weights of a network with what belongs to them, from any file or folder that holds such, and into files.
// The ending says the format. Builds no network.

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError, CheckpointError, DataError } from '../core/errors.ts';
import { isCount, isObject, maximumNesting, nestsTooDeep } from '../core/jsonText.ts';
import { quoted, shown } from '../core/printable.ts';
import { imagenetLabels } from './imagenet.ts';
import { readKerasArchive } from './kerasArchive.ts';
import { type KerasArch, type KerasWeights, kerasTables, readKeras } from './kerasH5.ts';
import { writeKeras } from './kerasWrite.ts';
import { few, type Match } from './matching.ts';
import { type Activation, checkExpressible } from './rules.ts';
import { readSafetensors, type SafetensorsFile, writeSafetensors } from './safetensors.ts';
import { type StoredTensors, toFloat32, type WeightTensor } from './storedTensor.ts';
import { type TorchArch, torchTables } from './torchNames.ts';
import { torchMetadata } from './torchNotes.ts';
import { type BatchesTracked, looksLikeTorch, parseTorch, toTorchTensors } from './torchWeights.ts';

export type { Activation } from './rules.ts';

/** Weights and what is known of them. */
export interface WeightFile {
  /** Whose layout they were read from. */
  readonly source: 'depthwise' | 'keras' | 'timm' | 'torchvision';
  /** Name of the network, for example `xception`. */
  readonly arch: string;
  /** Undefined for a network without classifier. */
  readonly classes?: number;
  /** Names of the classes, in the order of the outputs. */
  readonly labels?: readonly string[];
  /** Rule by which pixels become input, by name: `keras`, `timm`, `torchvision` or `imagenet` (lib/classify/preprocess.ts). */
  readonly preprocessing: string;
  /** Edge of the images in pixels. */
  readonly size?: number;
  /** What makes probabilities of the logits. Default: softmax. */
  readonly activation?: Activation;
  /**
   * Options that the network was built with, beside the number of classes; what JSON holds. The rules of other programs
   * (padding, epsilon, which variance is kept, what a mean counts) are options of our networks.
   */
  readonly options: Readonly<Record<string, unknown>>;
  /** What PyTorch counted beside the weights; kept for writing them back. */
  readonly batchesTracked?: BatchesTracked;
  /** By our names, in our layouts. */
  readonly tensors: ReadonlyMap<string, WeightTensor>;
  /** The very file that was read: of a run, that of a checkpoint. */
  readonly file?: string;
  /** Of a file of another program: where each tensor lies in it. */
  readonly matched?: readonly Match[];
}

/** Options of {@link readWeights}. */
export interface ReadWeightsOptions {
  /** The weights themselves, also where there is a Polyak average. Default false. */
  readonly raw?: boolean;
  /** Told when a damaged checkpoint of a run is passed over. Default: a warning of the process. */
  readonly warn?: (message: string) => void;
}

type Format = 'safetensors' | 'timm' | 'torchvision' | 'weights.h5' | 'h5' | 'keras';

/** Longest first: `.weights.h5` also ends with `.h5`. Only what is written tells the first two from the third. */
const endings: readonly (readonly [ending: string, format: Format])[] = [
  ['.torchvision.safetensors', 'torchvision'],
  ['.timm.safetensors', 'timm'],
  ['.safetensors', 'safetensors'],
  ['.weights.h5', 'weights.h5'],
  ['.hdf5', 'h5'],
  ['.h5', 'h5'],
  ['.keras', 'keras'],
];

/** What {@link readWeights} reads. */
export const readableEndings = ['.safetensors', '.h5', '.weights.h5', '.keras'] as const;

/** What {@link writeWeights} writes. */
export const writableEndings = [
  '.safetensors',
  '.timm.safetensors',
  '.torchvision.safetensors',
  '.h5',
  '.weights.h5',
] as const;

const listed = (names: readonly string[]): string => `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;

const formatOf = (file: string): Format | undefined =>
  endings.find(([ending]) => file.toLowerCase().endsWith(ending))?.[1];

function unknownEnding(file: string): DataError {
  const message = `${file}: not a file of weights that is known, expected ${listed(readableEndings)}`;
  return new DataError(message, { file, code: 'WEIGHTS_FORMAT' });
}

const modelFile = 'model.safetensors';
const averageFile = 'average.safetensors';
const checkpointName = /^step-(\d+)$/;

/**
 * Reads weights: `.safetensors` (ours, timm's and torchvision's, told apart by their tensors' names), Keras' `.h5`,
 * `.weights.h5` or `.keras`, a checkpoint folder, or a run folder, of which the newest undamaged checkpoint is taken. Of a
 * checkpoint, the Polyak average is read where there is one. Keras' HDF5 keeps the JavaScript thread while it is read: 0.3 to
 * 1.8 s were seen for Xception.
 * @throws DataError `FILE_MISSING`, `FILE_READ`, `FILE_EMPTY`, `WEIGHTS_FORMAT` (unknown ending) or
 *   `WEIGHTS_FOLDER`; CheckpointError for a file that is damaged, of another network or of another program.
 */
export async function readWeights(path: string, options: ReadWeightsOptions = {}): Promise<WeightFile> {
  const kind = await stat(path).catch(() => undefined);
  if (kind === undefined) {
    throw new DataError(`${path}: no such file or folder`, { file: path, code: 'FILE_MISSING' });
  }
  if (kind.isDirectory()) return readFolder(path, options);
  return { ...(await readFile(path)), file: path };
}

async function readFile(file: string): Promise<WeightFile> {
  const format = formatOf(file);
  if (format === undefined) throw unknownEnding(file);
  if (format === 'keras') return fromKeras(await readKerasArchive(file));
  if (format === 'h5' || format === 'weights.h5') return fromKeras(await readKeras(file));
  const stored = await readSafetensors(file);
  return stored.metadata.get('format') === formatName || !looksLikeTorch(stored.tensors)
    ? parseOwn(stored, file)
    : fromTorch(stored, file);
}

/** What is known of the classes of another program's weights: a thousand are those of ImageNet, as in all that is published. */
function classesOf(classes: number | undefined): Pick<WeightFile, 'classes' | 'labels'> {
  if (classes === undefined) return {};
  return classes === imagenetLabels.length ? { classes, labels: imagenetLabels } : { classes };
}

function fromKeras({ classes, layout: _, ...rest }: KerasWeights): WeightFile {
  return { source: 'keras', ...rest, ...classesOf(classes), preprocessing: 'keras' };
}

function fromTorch({ tensors: stored, metadata }: SafetensorsFile, file: string): WeightFile {
  const { classes, ...rest } = parseTorch(stored, metadata, file);
  return { ...rest, ...classesOf(classes) };
}

async function readFolder(folder: string, options: ReadWeightsOptions): Promise<WeightFile> {
  const names = await readdir(folder);
  if (names.includes(modelFile)) return readCheckpoint(folder, options);
  const above = join(folder, 'checkpoints');
  const found = names.includes('checkpoints') ? await readdir(above) : [];
  const steps = found.filter((name) => checkpointName.test(name));
  const newestFirst = steps.toSorted((a, b) => stepOf(b) - stepOf(a));
  if (newestFirst.length === 0) {
    const expected = `expected a run with checkpoints/step-…, or a checkpoint with ${modelFile}`;
    throw new DataError(`${folder}: no weights in this folder: ${expected}`, {
      file: folder,
      code: 'WEIGHTS_FOLDER',
    });
  }
  let failure: unknown;
  for (const [i, name] of newestFirst.entries()) {
    try {
      return await readCheckpoint(join(above, name), options);
    } catch (error) {
      if (!(error instanceof CheckpointError || error instanceof DataError)) throw error;
      failure ??= error;
      const next = newestFirst[i + 1];
      const warn = options.warn ?? ((message) => process.emitWarning(message, 'CheckpointWarning'));
      if (next !== undefined) warn(`${error.message}; the checkpoint before it, ${next}, is tried`);
    }
  }
  throw failure;
}

const stepOf = (name: string): number => Number(checkpointName.exec(name)?.[1] ?? -1);

async function readCheckpoint(folder: string, options: ReadWeightsOptions): Promise<WeightFile> {
  const names = await readdir(folder);
  const averaged = options.raw !== true && names.includes(averageFile);
  const file = join(folder, averaged ? averageFile : modelFile);
  return { ...(await readOwn(file)), file };
}

/** What `__metadata__.config` of our files holds. */
type Config = Omit<WeightFile, 'source' | 'tensors' | 'file' | 'matched'>;

const formatName = 'depthwise';
const formatVersion = '1';

const isPositive = (value: unknown): boolean => isCount(value) && value > 0;

/**
 * Each field of the configuration, with the test that it must pass; `undefined` passes where it may be
 * absent.
 */
const fieldTests: Readonly<Record<keyof Config, (value: unknown) => boolean>> = {
  arch: (value) => typeof value === 'string' && value !== '',
  classes: (value) => value === undefined || isPositive(value),
  labels: (value) =>
    value === undefined || (Array.isArray(value) && value.every((x) => typeof x === 'string')),
  preprocessing: (value) => typeof value === 'string',
  size: (value) => value === undefined || isPositive(value),
  activation: (value) => value === undefined || value === 'softmax' || value === 'sigmoid',
  options: isObject,
  batchesTracked: (value) =>
    value === undefined ||
    value === 'absent' ||
    isCount(value) ||
    (isObject(value) && Object.values(value).every(isCount)),
};

function parseConfig(text: string, file: string): Config {
  const refuse = (message: string): never => {
    throw new CheckpointError(`${file}: its configuration ${message}`, { file, code: 'WEIGHTS_CONFIG' });
  };
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    return refuse('is not JSON');
  }
  if (nestsTooDeep(text)) return refuse(`is nested deeper than ${maximumNesting} levels`);
  if (!isObject(config)) return refuse('is not an object');
  for (const [field, test] of Object.entries(fieldTests)) {
    if (!test(config[field]))
      refuse(`has ${field}: ${config[field] === undefined ? 'nothing' : shown(config[field])}`);
  }
  const { labels, classes } = config as Partial<Config>;
  if (labels !== undefined && labels.length !== classes)
    refuse(`has ${labels.length} labels for ${classes} classes`);
  const known = Object.entries(config).filter(([field]) => Object.hasOwn(fieldTests, field));
  return Object.fromEntries(known) as object as Config;
}

const readOwn = async (file: string): Promise<WeightFile> => parseOwn(await readSafetensors(file), file);

function parseOwn({ tensors: stored, metadata, checked }: SafetensorsFile, file: string): WeightFile {
  const refuse = (code: string, message: string): never => {
    throw new CheckpointError(`${file}: ${message}`, { file, code });
  };
  if (metadata.get('format') !== formatName) {
    const names = few([...stored.keys()]);
    return refuse(
      'WEIGHTS_FOREIGN',
      `weights of another program: neither depthwise's nor those of timm's legacy_xception or torchvision's ` +
        `inception_v3; its tensors are ${names}`,
    );
  }
  // Ours always has a checksum: without one, damage has hit the very place of it.
  if (!checked) return refuse('SAFETENSORS_CHECKSUM', 'damaged: its checksum is missing');
  const version = metadata.get('version');
  if (version !== formatVersion) {
    return refuse(
      'WEIGHTS_VERSION',
      `format version ${quoted(version ?? '')}, this version reads ${formatVersion}`,
    );
  }
  const { arch, preprocessing, options, ...rest } = parseConfig(metadata.get('config') ?? '', file);
  const tensors = new Map<string, WeightTensor>();
  for (const [name, tensor] of stored) tensors.set(name, { shape: tensor.shape, data: toFloat32(tensor) });
  return { source: 'depthwise', arch, preprocessing, options, ...rest, tensors };
}

/** JSON with the keys of every object in order, so that the same values give the same text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );
}

/** The metadata of our files for these weights. */
export function weightMetadata(weights: Omit<WeightFile, 'tensors'>): Map<string, string> {
  const { arch, classes, labels, preprocessing, size, activation, options, batchesTracked } = weights;
  const config = canonicalJson({
    ...{ arch, classes, labels, preprocessing, size, activation, options, batchesTracked },
  });
  return new Map([
    ['format', formatName],
    ['version', formatVersion],
    ['config', config],
  ]);
}

const isKerasArch = (arch: string): arch is KerasArch => Object.hasOwn(kerasTables, arch);
const isTorchArch = (arch: string): arch is TorchArch => Object.hasOwn(torchTables, arch);

/**
 * Writes weights by the file's ending, atomically: `.safetensors` keeps everything; `.timm.safetensors` and
 * `.torchvision.safetensors` have their names and shapes, and note `transform_input` and preprocessing (torchNotes.ts);
 * `.h5` and `.weights.h5` are for Keras. Labels, size and activation are kept in ours alone. The same weights give the same
 * bytes: no time, no path.
 * @throws ArgumentError for an unknown ending; CheckpointError when the file cannot be written, or `KERAS_WEIGHTS`,
 *   `TIMM_WEIGHTS`, `TORCHVISION_WEIGHTS` or `TORCH_WEIGHTS` when that program's network computes something else.
 */
export async function writeWeights(file: string, weights: WeightFile): Promise<void> {
  const format = formatOf(file);
  if (format === undefined || format === 'keras')
    throw new ArgumentError(`${file}: cannot be written, expected ${listed(writableEndings)}`);
  const { arch, tensors } = weights;
  if (format === 'safetensors') {
    const stored: StoredTensors = new Map();
    for (const [name, { shape, data }] of tensors) stored.set(name, { dtype: 'f32', shape, data });
    return writeSafetensors(file, stored, weightMetadata(weights));
  }
  if (format === 'h5' || format === 'weights.h5') {
    checkExpressible(file, 'keras', weights);
    if (isKerasArch(arch)) await writeKeras(file, tensors, { format, arch });
    return;
  }
  checkExpressible(file, format, weights);
  if (isTorchArch(arch)) {
    const stored = toTorchTensors(arch, tensors, weights.batchesTracked, file);
    const transformInput = weights.options.transformInput === true;
    const metadata = torchMetadata(arch, { transformInput, preprocessing: weights.preprocessing });
    await writeSafetensors(file, stored, metadata, { checksum: false });
  }
}
