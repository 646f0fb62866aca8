// Weights of a network with what belongs to them, from any file or folder that holds such, and into files.
// The ending says the format. Builds no network.

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError, CheckpointError, DataError } from '../core/errors.ts';
import { type NormalizationRules, readKeras, writeKeras } from './kerasH5.ts';
import { readSafetensors, writeSafetensors } from './safetensors.ts';
import { type StoredTensors, toFloat32, type WeightTensor } from './storedTensor.ts';

/** What makes probabilities of logits: of one class per image, or of each class by itself. */
export type Activation = 'softmax' | 'sigmoid';

/** Weights and what is known of them. */
export interface WeightFile {
  /** Whose layout they were read from. */
  readonly source: 'depthwise' | 'keras';
  /** Name of the network, for example `xception`. */
  readonly arch: string;
  /** Undefined for a network without classifier. */
  readonly classes?: number;
  /** Names of the classes, in the order of the outputs. */
  readonly labels?: readonly string[];
  /** Rule by which pixels become input; `keras` is to [-1, 1]. */
  readonly preprocessing: string;
  /** Edge of the images in pixels. */
  readonly size?: number;
  /** What makes probabilities of the logits. Default: softmax. */
  readonly activation?: Activation;
  /** Options that the network was built with, beside the number of classes; what JSON holds. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Where they differ from those of the network by its name. */
  readonly rules?: NormalizationRules;
  /** By our names, in our layouts. */
  readonly tensors: ReadonlyMap<string, WeightTensor>;
  /** The very file that was read: of a run, that of a checkpoint. */
  readonly file?: string;
}

/** Options of {@link readWeights}. */
export interface ReadWeightsOptions {
  /** The weights themselves, also where there is a Polyak average. Default false. */
  readonly raw?: boolean;
  /** Told when a damaged checkpoint of a run is passed over. Default: a warning of the process. */
  readonly warn?: (message: string) => void;
}

type Format = 'safetensors' | 'weights.h5' | 'h5';

/** Longest first: `.weights.h5` also ends with `.h5`. */
const endings: readonly (readonly [ending: string, format: Format])[] = [
  ['.weights.h5', 'weights.h5'],
  ['.safetensors', 'safetensors'],
  ['.hdf5', 'h5'],
  ['.h5', 'h5'],
];
const acceptedEndings = '.safetensors, .h5 or .weights.h5';

const formatOf = (file: string): Format | undefined =>
  endings.find(([ending]) => file.toLowerCase().endsWith(ending))?.[1];

function unknownEnding(file: string): DataError {
  const hint = file.endsWith('.keras')
    ? " (in Keras: keras.models.load_model(…).save_weights('x.weights.h5'))"
    : '';
  const message = `${file}: not a file of weights that is known, expected ${acceptedEndings}${hint}`;
  return new DataError(message, { file, code: 'WEIGHTS_FORMAT' });
}

const modelFile = 'model.safetensors';
const averageFile = 'average.safetensors';
const checkpointName = /^step-(\d+)$/;

/**
 * Reads weights: our `.safetensors`, Keras' `.h5` or `.weights.h5`, a checkpoint folder, or a run folder, of
 * which the newest undamaged checkpoint is taken. Of a checkpoint, the Polyak average is read where there is
 * one.
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
  if (format === 'safetensors') return readOwn(file);
  const { arch, classes, tensors, rules } = await readKeras(file);
  const { preprocessing, ...normalization } = rules;
  const known = classes === undefined ? {} : { classes };
  return { source: 'keras', arch, ...known, preprocessing, options: {}, rules: normalization, tensors };
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
type Config = Omit<WeightFile, 'source' | 'tensors' | 'file'>;

const formatName = 'depthwise';
const formatVersion = '1';

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isPositiveInteger = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) > 0;

/**
 * Each field of the configuration, with the test that it must pass; `undefined` passes where it may be
 * absent.
 */
const fieldTests: Readonly<Record<keyof Config, (value: unknown) => boolean>> = {
  arch: (value) => typeof value === 'string' && value !== '',
  classes: (value) => value === undefined || isPositiveInteger(value),
  labels: (value) =>
    value === undefined || (Array.isArray(value) && value.every((x) => typeof x === 'string')),
  preprocessing: (value) => typeof value === 'string',
  size: (value) => value === undefined || isPositiveInteger(value),
  activation: (value) => value === undefined || value === 'softmax' || value === 'sigmoid',
  options: isObject,
  rules: (value) =>
    value === undefined ||
    (isObject(value) &&
      typeof value.epsilon === 'number' &&
      typeof value.momentum === 'number' &&
      (value.variance === 'biased' || value.variance === 'unbiased')),
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
  if (!isObject(config)) return refuse('is not an object');
  for (const [field, test] of Object.entries(fieldTests)) {
    if (!test(config[field]))
      refuse(`has ${field}: ${JSON.stringify(config[field])?.slice(0, 60) ?? 'nothing'}`);
  }
  const { labels, classes } = config as Partial<Config>;
  if (labels !== undefined && labels.length !== classes)
    refuse(`has ${labels.length} labels for ${classes} classes`);
  return config as object as Config;
}

async function readOwn(file: string): Promise<WeightFile> {
  const { tensors: stored, metadata, checked } = await readSafetensors(file);
  const refuse = (code: string, message: string): never => {
    throw new CheckpointError(`${file}: ${message}`, { file, code });
  };
  if (metadata.get('format') !== formatName) {
    const names = [...stored.keys()].slice(0, 3).join(', ');
    return refuse(
      'WEIGHTS_FOREIGN',
      `not written by depthwise: no format in its metadata; its tensors are ${names}, …`,
    );
  }
  // Ours always has a checksum: without one, damage has hit the very place of it.
  if (!checked) return refuse('SAFETENSORS_CHECKSUM', 'damaged: its checksum is missing');
  const version = metadata.get('version');
  if (version !== formatVersion) {
    return refuse('WEIGHTS_VERSION', `format version ${version}, this version reads ${formatVersion}`);
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
  const { arch, classes, labels, preprocessing, size, activation, options, rules } = weights;
  const config = canonicalJson({ arch, classes, labels, preprocessing, size, activation, options, rules });
  return new Map([
    ['format', formatName],
    ['version', formatVersion],
    ['config', config],
  ]);
}

/** Options that change no output at inference; a network with others is not what Keras has by its name. */
const harmless = ['dropout', 'batchNormMomentum'];

function refuseVariants(file: string, { arch, options }: WeightFile): void {
  const [variant] = Object.keys(options).filter((name) => !harmless.includes(name));
  if (variant === undefined) return;
  const given = `${variant}: ${JSON.stringify(options[variant])}`;
  throw new CheckpointError(`${file}: Keras has no ${arch} with ${given}; expected .safetensors`, {
    file,
    code: 'KERAS_WEIGHTS',
  });
}

/**
 * Writes weights by the file's ending, atomically: `.safetensors` keeps everything; `.h5` and `.weights.h5`
 * are for Keras and keep the tensors only. The same weights give the same bytes: no time, no path.
 * @throws ArgumentError for an unknown ending; CheckpointError when the file cannot be written, or
 *   `KERAS_WEIGHTS` when the weights are not those of a network that Keras has.
 */
export async function writeWeights(file: string, weights: WeightFile): Promise<void> {
  const format = formatOf(file);
  if (format === undefined)
    throw new ArgumentError(`${file}: cannot be written, expected ${acceptedEndings}`);
  if (format !== 'safetensors') {
    refuseVariants(file, weights);
    return writeKeras(file, weights.tensors, { format });
  }
  const stored: StoredTensors = new Map();
  for (const [name, { shape, data }] of weights.tensors) stored.set(name, { dtype: 'f32', shape, data });
  return writeSafetensors(file, stored, weightMetadata(weights));
}
