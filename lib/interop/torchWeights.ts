// Weights of timm's `legacy_xception` and torchvision's `inception_v3`, as safetensors with their names: from stored
// tensors into our names and layouts, and back with the same bits.

import { CheckpointError } from '../core/errors.ts';
import { isCount } from '../core/jsonText.ts';
import { classesProblem } from './layerTable.ts';
import { describeMisfits, few, type Match, noMisfits, sameShape } from './matching.ts';
import { optionsOf } from './rules.ts';
import {
  elementCount,
  type StoredTensor,
  type StoredTensors,
  toFloat32,
  type WeightTensor,
} from './storedTensor.ts';
import { type TorchArch, type TorchTable, torchClasses, torchTables } from './torchNames.ts';
import { readNotes, torchSources } from './torchNotes.ts';
import { transposedEach } from './transpose.ts';

/** Codes of the errors of these files; stable. */
export type TorchCode = 'WEIGHTS_FOREIGN' | 'TORCH_WEIGHTS' | 'TORCH_DTYPE';

/**
 * PyTorch's normalizations count the batches of their training. The counts change nothing; they are kept so that a file
 * comes out as it went in (as i64, which PyTorch writes): one number where all are equal, `absent` where the file has none,
 * else each by its name there.
 */
export type BatchesTracked = number | 'absent' | Readonly<Record<string, number>>;

/** Weights of a file with PyTorch's names, with the rules of the program that they are of. */
export interface TorchWeights {
  /** Both have torchvision's names for Inception V3; then it is torchvision. */
  readonly source: 'timm' | 'torchvision';
  readonly arch: TorchArch;
  /** Undefined for a network without classifier. */
  readonly classes: number | undefined;
  /** Of the network that computes as the source's. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly preprocessing: string;
  /** By our names, in our layouts. */
  readonly tensors: Map<string, WeightTensor>;
  readonly matched: readonly Match[];
  readonly batchesTracked: BatchesTracked;
}

const floating: readonly string[] = ['f64', 'f32', 'f16', 'bf16'];

/** [out, in, height, width] to [out, height, width, in]. */
function fromTorch([out = 1, inner = 1, ...taps]: readonly number[], data: Float32Array): Float32Array {
  return taps.length === 0 ? data : transposedEach(data, out, inner, elementCount(taps));
}

/** [out, height, width, in] to [out, in, height, width]. */
function toTorch(shape: readonly number[], data: Float32Array): Float32Array {
  const [out = 1, height = 1, width = 1, inner = 1] = shape;
  return shape.length === 4 ? transposedEach(data, out, height * width, inner) : data;
}

/** A network that the tensors of a file may be of. */
interface Candidate {
  readonly arch: TorchArch;
  readonly table: TorchTable;
  /** Undefined: without classifier. */
  readonly classes: number | undefined;
  /** Of the classifier at the side; undefined: without it. */
  readonly auxiliaryClasses: number | undefined;
  /** How many of the network's tensors the file has by name, from 0 to 1. */
  readonly share: number;
}

/** The networks that there are, each with how well its names fit. */
function candidates(stored: StoredTensors): readonly Candidate[] {
  const classes = torchClasses(stored);
  const hasSide = [...stored.keys()].some((name) => name.startsWith('AuxLogits.'));
  const auxiliaryClasses = hasSide
    ? (stored.get('AuxLogits.fc.weight')?.shape[0] ?? classes ?? 1000)
    : undefined;
  const candidate = (network: Omit<Candidate, 'share' | 'classes'>): Candidate => {
    const { weights } = network.table;
    const named = weights.filter(({ torchName }) => stored.has(torchName)).length;
    return { ...network, classes, share: named / weights.length };
  };
  return [
    candidate({ arch: 'xception', auxiliaryClasses: undefined, table: torchTables.xception(classes) }),
    candidate({
      arch: 'inception_v3',
      auxiliaryClasses,
      table: torchTables.inception_v3(classes, auxiliaryClasses),
    }),
  ];
}

/** Whether the tensors of a file are, by their names, mostly those of a network of timm or torchvision. */
export const looksLikeTorch = (stored: StoredTensors): boolean =>
  candidates(stored).some(({ share }) => share >= 0.5);

/** The first element as a number, exactly but for integers that a number cannot hold. */
const firstOf = (tensor: StoredTensor): number =>
  tensor.dtype === 'f16' || tensor.dtype === 'bf16' ? Number(toFloat32(tensor)[0]) : Number(tensor.data[0]);

/**
 * The counts of batches, which are taken out of `unused`. Some programs save them as floats with everything else.
 * @param fail called with one that is no count
 */
function countsOf(
  stored: StoredTensors,
  { counters }: TorchTable,
  unused: Set<string>,
  fail: (message: string) => never,
): BatchesTracked {
  const counts: Record<string, number> = {};
  for (const name of counters) {
    const tensor = stored.get(name);
    if (tensor === undefined || elementCount(tensor.shape) !== 1) continue;
    const count = firstOf(tensor);
    if (!isCount(count)) fail(`${name} is ${count}, expected a whole number from 0`);
    unused.delete(name);
    counts[name] = count;
  }
  const values = Object.values(counts);
  if (values.length === 0) return 'absent';
  const [first] = values;
  return values.length === counters.length && values.every((value) => value === first)
    ? (first as number)
    : counts;
}

/**
 * The weights among stored tensors that have timm's or torchvision's names.
 * @param metadata of the file; `transform_input` says whether torchvision's network has it, where somebody noted it
 * @throws CheckpointError with a {@link TorchCode} for tensors that are missing, unknown, of another shape or not floating,
 *   for a classifier without classes, and for notes that are not understood
 */
export function parseTorch(
  stored: StoredTensors,
  metadata: ReadonlyMap<string, string>,
  file = 'safetensors',
): TorchWeights {
  const fail = (code: TorchCode, message: string): never => {
    throw new CheckpointError(`${file}: ${message}`, { file, code });
  };
  const found = candidates(stored).reduce((best, next) => (next.share > best.share ? next : best));
  const { arch, classes, auxiliaryClasses, table } = found;
  const problem = classesProblem(classes) ?? classesProblem(auxiliaryClasses);
  if (problem !== undefined) fail('TORCH_WEIGHTS', problem);
  const source = torchSources[arch];
  const unused = new Set(stored.keys());
  const batchesTracked = countsOf(stored, table, unused, (message) => fail('TORCH_DTYPE', message));
  const misfits = noMisfits();
  const tensors = new Map<string, WeightTensor>();
  const matched: Match[] = [];
  for (const { name, shape, torchName, torchShape } of table.weights) {
    const tensor = stored.get(torchName);
    unused.delete(torchName);
    if (tensor === undefined) misfits.missing.push(torchName);
    else if (!sameShape(tensor.shape, torchShape)) {
      misfits.misshapen.push(`${torchName} [${tensor.shape}], expected [${torchShape}]`);
    } else if (!floating.includes(tensor.dtype)) {
      fail('TORCH_DTYPE', `${torchName} is ${tensor.dtype}, expected ${floating.join(', ')}`);
    } else {
      tensors.set(name, { shape, data: fromTorch(torchShape, toFloat32(tensor)) });
      matched.push({ name, shape, source: torchName, sourceShape: torchShape });
    }
  }
  misfits.unexpected.push(...unused);
  const problems = describeMisfits(misfits);
  if (problems !== undefined) fail('TORCH_WEIGHTS', `weights do not fit ${source}'s ${arch}: ${problems}`);
  const notes = readNotes(arch, metadata, (message) => fail('TORCH_WEIGHTS', message));
  return {
    source,
    arch,
    classes,
    options: {
      ...optionsOf(source, arch),
      ...(auxiliaryClasses === undefined ? {} : { auxiliary: true }),
      ...(notes.transformInput ? { transformInput: true } : {}),
    },
    preprocessing: notes.preprocessing,
    tensors,
    matched,
    batchesTracked,
  };
}

/** One i64. */
const scalar = (value: number): StoredTensor => ({
  dtype: 'i64',
  shape: [],
  data: BigInt64Array.of(BigInt(value)),
});

/**
 * Stored tensors with timm's or torchvision's names for weights of ours.
 * @param batchesTracked default: 0 everywhere, as a new network has it
 * @throws CheckpointError `TORCH_WEIGHTS` for weights that are missing, unknown or of another shape
 */
export function toTorchTensors(
  arch: TorchArch,
  tensors: ReadonlyMap<string, WeightTensor>,
  batchesTracked: BatchesTracked = 0,
  file = 'safetensors',
): StoredTensors {
  const classes = tensors.get('predictions.weight')?.shape[0];
  const { weights, counters } = torchTables[arch](classes, tensors.get('aux_predictions.weight')?.shape[0]);
  const unused = new Set(tensors.keys());
  const problems: string[] = [];
  const stored: StoredTensors = new Map();
  for (const { name, shape, torchName, torchShape } of weights) {
    const tensor = tensors.get(name);
    unused.delete(name);
    if (tensor === undefined) problems.push(`${name} is missing`);
    else if (!sameShape(tensor.shape, shape))
      problems.push(`${name} is [${tensor.shape}], expected [${shape}]`);
    else stored.set(torchName, { dtype: 'f32', shape: torchShape, data: toTorch(shape, tensor.data) });
  }
  problems.push(...[...unused].map((name) => `${name} has no place`));
  if (problems.length > 0) {
    const message = `${file}: these are not the weights of ${arch} as PyTorch has it: ${few(problems)}`;
    throw new CheckpointError(message, { file, code: 'TORCH_WEIGHTS' });
  }
  for (const name of counters) {
    const count =
      typeof batchesTracked === 'object'
        ? batchesTracked[name]
        : batchesTracked === 'absent'
          ? undefined
          : batchesTracked;
    if (count !== undefined) stored.set(name, scalar(count));
  }
  return stored;
}
