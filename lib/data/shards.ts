// Tar shards in WebDataset's form as a data set: read by place, shuffled by shard and buffer.
import { createHash } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { threadId } from 'node:worker_threads';
import { ArgumentError, DataError } from '../core/errors.ts';
import { isObject } from '../core/jsonText.ts';
import { printable } from '../core/printable.ts';
import type { Augmentation, Batch, BatchOptions, Dataset } from './batch.ts';
import { checkAugmentation, checkInteger, planBatches } from './batch.ts';
import { byCodeUnit, checkResize, type ImageFolderOptions, some } from './imageFolder.ts';
import { loadBatches, SkipLedger } from './loader.ts';
import type { PackedNames } from './packedNames.ts';
import { Gate } from './prefetch.ts';
import {
  ArchiveFile,
  indexFile,
  indexText,
  jsonObject,
  parseClasses,
  readIndex,
  readText,
  type ShardIndex,
} from './shardIndex.ts';
import { type ShardShuffle, shardOrder } from './shardOrder.ts';
import { isShardFolder, packFile, shardFiles } from './shardPaths.ts';
import { scanShard, type TruncatedPolicy } from './shardScan.ts';
import type { SampleSource } from './source.ts';

/** Options of `shards`. */
export interface ShardsOptions extends Omit<ImageFolderOptions, 'classes'>, Partial<ShardShuffle> {
  /**
   * The classes in the order of their labels, for example those stored with a model's weights, or their number where labels
   * are numbers. Labels that are names, or numbers of named classes (`classes.json`, `classes.txt`, `pack`), are matched by
   * name. Default: the classes that the shards name, in their own order where all have one list, else sorted; where labels
   * are numbers without names, '0' to the largest.
   */
  readonly classes?: readonly string[] | number;
  /** Shards read at the same time while shuffling. Default 16. */
  readonly shardsAtOnce?: number;
  /**
   * Samples among which the next one is drawn while shuffling. `Infinity`: an order as random as a folder's, which jumps
   * over all shards. Default 10,000.
   */
  readonly buffer?: number;
  /**
   * Folder in which the indices of shards are kept that have none beside them, so that their headers are read once in all.
   * Default: none is kept, and they are read each time.
   */
  readonly indexCache?: string;
  /** What to do with a shard that ends too early: end with a DataError, or use the samples before that. Default 'fail'. */
  readonly onTruncated?: TruncatedPolicy;
  /** Called with what a person should know: an index that is that of another archive, a truncated shard that is used. */
  readonly onNotice?: (message: string) => void;
}

/** Archives opened at the same time while their indices are read. */
const openedAtOnce = 8;

/** A shard with its index. */
interface Shard extends Omit<ShardIndex, 'archive'> {
  readonly file: string;
}

/**
 * Tar shards in WebDataset's form: archives in which files with the same path up to the first dot of the name are a sample:
 * one image (`.jpg`, `.jpeg`, `.png`, `.webp`) and its class, as a number or a name in `.cls`, or as `label` of a `.json`.
 * `depthwise pack` makes them; so do WebDataset's writers, GNU tar and Python's tarfile.
 *
 * What lies where is read from the index beside each shard (`a.index.json` of `a.tar`), else off the headers, once; images
 * are read when batches are asked for, by place. With `shuffle`, shards come in a random order, some at a time, and samples
 * are drawn from a buffer of them; the order depends on seed and epoch alone, and an epoch continues in its middle without
 * reading what went before.
 *
 * @param paths archives, patterns with braces (`a-{000000..000063}.tar`), folders of archives
 * @throws DataError naming the file, where one is missing, damaged, truncated or compressed, holds links or sparse files, or
 *   samples without image or label, where labels are neither all named nor all numbers, for a class that is not among
 *   `classes`, and for shards that `pack` has not finished; ArgumentError for an option out of range
 */
export async function shards(paths: string | readonly string[], options: ShardsOptions): Promise<Shards> {
  const listed = typeof paths === 'string' ? [paths] : paths;
  const shuffle = checkShuffle(options);
  for (const path of listed) await checkFinished(path);
  const files = await shardFiles(listed);
  const gate = new Gate(openedAtOnce);
  // The first error in the order of the shards is the one to throw, whichever is found first.
  const opened = await Promise.allSettled(files.map((file) => gate.run(() => openShard(file, options))));
  const found = opened.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
  const lists = new Map<string, readonly string[] | undefined>();
  for (const folder of new Set(found.filter((shard) => shard.classes === undefined).map(folderOf))) {
    lists.set(folder, await classesBeside(folder));
  }
  const named = found.map((shard) => withNames(shard, lists.get(folderOf(shard))));
  return new Shards(listed.join(' '), named, shuffle, options);
}

const folderOf = ({ file }: Shard): string => dirname(file);

function checkShuffle({ shardsAtOnce = 16, buffer = 10_000 }: ShardsOptions): ShardShuffle {
  const size = buffer === Number.POSITIVE_INFINITY ? Number.MAX_SAFE_INTEGER : buffer;
  return {
    shardsAtOnce: checkInteger('shardsAtOnce', shardsAtOnce, 1),
    buffer: checkInteger('buffer', size, 1),
  };
}

/** Refuses a folder in which `pack` was stopped: a part of the data would be taken for all of it. */
async function checkFinished(folder: string): Promise<void> {
  if (!(await isShardFolder(folder))) return;
  const file = join(folder, packFile);
  const text = await readText(file, 2 ** 28, 'SHARD_INDEX');
  if (text === undefined) return;
  const { complete, shards: names } = jsonObject(text, file, 'SHARD_INDEX');
  if (complete !== true) {
    throw new DataError(
      `${folder}: its packing was not finished; the same \`depthwise pack\` again goes on with it`,
      {
        file: folder,
        code: 'PACK_INCOMPLETE',
      },
    );
  }
  const present = new Set((await shardFiles([folder])).map((path) => basename(path)));
  for (const shard of Array.isArray(names) ? (names as readonly unknown[]) : []) {
    const name = isObject(shard) ? shard.name : undefined;
    if (typeof name !== 'string' || present.has(name)) continue;
    const path = join(folder, printable(name));
    throw new DataError(`${path}: no such file, and it was packed with the others`, {
      file: path,
      code: 'FILE_MISSING',
    });
  }
}

/** The index of a shard: that beside it, that in the folder of indices, or what its headers say. */
async function openShard(file: string, options: ShardsOptions): Promise<Shard> {
  const notice = options.onNotice ?? (() => undefined);
  const archive = await ArchiveFile.open(file);
  try {
    const stale = (index: string) =>
      notice(`${index}: not the index of ${file} as it is; its headers are read instead`);
    const beside = await readIndex(indexFile(file), archive, stale);
    if (beside !== undefined) return { ...beside, file };
    const cached = options.indexCache === undefined ? undefined : cachedIndex(options.indexCache, file);
    if (cached !== undefined) {
      // What cannot be read there is made anew.
      const kept = await readIndex(cached, archive, () => undefined).catch(() => undefined);
      if (kept !== undefined) return { ...kept, file };
    }
    let whole = true;
    const scanned = await scanShard(archive, file, options.onTruncated, (message) => {
      whole = false;
      notice(message);
    });
    if (cached !== undefined && whole) await keepIndex(cached, scanned, notice);
    return { ...scanned, file };
  } finally {
    await archive.close();
  }
}

/** Where the index of a shard is kept in a folder of indices. */
const cachedIndex = (folder: string, file: string): string =>
  join(
    folder,
    `${createHash('sha256').update(resolve(file)).digest('hex').slice(0, 16)}-${basename(indexFile(file))}`,
  );

/** Keeps an index; where that cannot be, the next time takes longer, and nothing else is lost. */
async function keepIndex(file: string, index: ShardIndex, notice: (message: string) => void): Promise<void> {
  const temporary = `${file}.${process.pid}-${threadId}.tmp`;
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(temporary, indexText(index));
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    notice(`${file}: the index is not kept: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** The list of classes in a folder of shards. @throws DataError for one that cannot be read */
async function classesBeside(folder: string): Promise<readonly string[] | undefined> {
  for (const name of ['classes.json', 'classes.txt']) {
    const file = join(folder, name);
    const text = await readText(file, 2 ** 24, 'SHARD_CLASSES');
    if (text !== undefined) return parseClasses(text, file);
  }
  return undefined;
}

/** The shard with the names of its labels, where a list beside it has them. */
function withNames(shard: Shard, classes: readonly string[] | undefined): Shard {
  if (shard.classes !== undefined || classes === undefined) return shard;
  const at = shard.labels.findIndex((label) => label >= classes.length);
  if (at < 0) return { ...shard, classes };
  throw new DataError(
    `${shard.file}: sample '${printable(shard.keys.at(at) as string)}' has the label ${shard.labels[at]}; ` +
      `the list of classes beside it has ${classes.length} names`,
    { file: shard.file, code: 'SHARD_LABEL' },
  );
}

/** The classes of all shards, and for each shard what its labels become; undefined: they stay. */
interface Labelling {
  readonly classes: readonly string[];
  /** Whether the classes have names of their own. */
  readonly named: boolean;
  readonly maps: readonly (Int32Array | undefined)[];
}

function labelling(found: readonly Shard[], wanted: ShardsOptions['classes']): Labelling {
  const numbered = found.find((shard) => shard.classes === undefined);
  if (numbered === undefined) return byName(found, wanted);
  const other = found.find((shard) => shard.classes !== undefined);
  if (other !== undefined) {
    throw new DataError(
      `${numbered.file}: its labels are numbers, those of ${other.file} names; expected one of them in all shards`,
      { file: numbered.file, code: 'SHARD_MIXED_LABELS' },
    );
  }
  return byNumber(found, wanted);
}

/** Labels that are numbers: as they stand. */
function byNumber(found: readonly Shard[], wanted: ShardsOptions['classes']): Labelling {
  let largest = 0;
  for (const { labels } of found) for (const label of labels) largest = Math.max(largest, label);
  const count = typeof wanted === 'number' ? wanted : (wanted?.length ?? largest + 1);
  if (largest >= count) {
    const shard = found.find(({ labels }) => labels.includes(largest)) as Shard;
    throw new DataError(
      `${shard.file}: has the label ${largest}; expected 0 to ${count - 1} for ${count} classes`,
      {
        file: shard.file,
        code: 'UNKNOWN_CLASS',
      },
    );
  }
  const named = typeof wanted === 'object';
  const classes = named ? [...wanted] : Array.from({ length: count }, (_, i) => String(i));
  return { classes, named, maps: found.map(() => undefined) };
}

/** Labels that have names: those that a sample has must be among the classes. */
function byName(found: readonly Shard[], wanted: ShardsOptions['classes']): Labelling {
  const lists = found.map((shard) => shard.classes as readonly string[]);
  const [first] = lists as [readonly string[]];
  const same = lists.every((list) => list === first || list.join('\0') === first.join('\0'));
  const names = same ? [...first] : [...new Set(lists.flat())].sort(byCodeUnit);
  const classes = typeof wanted === 'object' ? [...wanted] : padded(names, wanted, found[0] as Shard);
  const places = new Map(classes.map((name, i) => [name, i]));
  if (places.size < classes.length) throw new ArgumentError('classes: a name is in it twice');
  const maps = found.map((shard, i) => {
    const map = Int32Array.from(lists[i] as readonly string[], (name) => places.get(name) ?? -1);
    const lost = shard.labels.find((label) => map[label] === -1);
    if (lost === undefined) return map.every((to, from) => to === from) ? undefined : map;
    const name = printable((lists[i] as readonly string[])[lost] as string);
    throw new DataError(
      `${shard.file}: '${name}' is not one of the ${classes.length} classes ${some(classes)}`,
      {
        file: shard.file,
        code: 'UNKNOWN_CLASS',
      },
    );
  });
  return { classes, named: true, maps };
}

/** `classes` above the number of names: outputs that no image has. */
function padded(names: readonly string[], wanted: number | undefined, { file }: Shard): readonly string[] {
  if (wanted === undefined || wanted === names.length) return names;
  if (wanted < names.length) {
    throw new DataError(
      `${file}: the shards have ${names.length} classes, more than the ${wanted} asked for`,
      { file },
    );
  }
  return [...names, ...Array.from({ length: wanted - names.length }, (_, i) => `unused ${names.length + i}`)];
}

/** The data set that `shards` makes. */
export class Shards implements Dataset {
  /** The paths as they were given, for messages. */
  readonly name: string;
  readonly classes: readonly string[];
  /** Whether the classes have names of their own; else they are called by their numbers. */
  readonly named: boolean;
  readonly size: number;
  readonly length: number;
  /** The archives, in the order of their samples. */
  readonly files: readonly string[];
  readonly shuffling: string;
  readonly #defaults: { readonly augment: Augmentation; readonly color: boolean };
  readonly #source: SampleSource;
  readonly #ledger: SkipLedger;
  /** [shards + 1], the first sample of each shard, and the number of all */
  readonly #starts: Float64Array;
  readonly #shards: readonly Shard[];

  /** Use `shards`. */
  constructor(name: string, found: readonly Shard[], shuffle: ShardShuffle, options: ShardsOptions) {
    const size = checkInteger('size', options.size, 1);
    const resize = checkResize(options.resize ?? 'stretch');
    const maxSkippedFraction = options.maxSkippedFraction ?? 0.01;
    if (!(maxSkippedFraction >= 0 && maxSkippedFraction <= 1)) {
      throw new ArgumentError(`maxSkippedFraction: expected a number from 0 to 1, got ${maxSkippedFraction}`);
    }
    const { classes, named, maps } = labelling(found, options.classes);
    if (classes.length < 2 && options.classes === undefined) {
      throw new DataError(
        `${name}: only one class, '${printable(classes[0] as string)}'; expected at least two`,
        {
          file: name,
        },
      );
    }
    this.#defaults = { augment: checkAugmentation(options.augment ?? 'none'), color: options.color ?? false };
    this.name = name;
    this.size = size;
    this.classes = classes;
    this.named = named;
    this.files = found.map(({ file }) => file);
    const { shardsAtOnce, buffer } = shuffle;
    this.shuffling = `${found.length} shards, ${shardsAtOnce} at once, buffer ${buffer}`;
    this.#shards = found.map((shard, i) => relabelled(shard, maps[i]));
    const starts = new Float64Array(found.length + 1);
    found.forEach(({ labels }, i) => {
      starts[i + 1] = (starts[i] as number) + labels.length;
    });
    this.#starts = starts;
    this.length = starts[found.length] as number;
    this.#source = {
      name,
      length: this.length,
      decode: { height: size, width: size, resize, interpolation: options.interpolation ?? 'bilinear' },
      input: (index) => {
        const { shard, at } = this.#find(index);
        return { path: shard.file, offset: shard.offsets[at] as number, length: shard.lengths[at] as number };
      },
      sampleName: (index) => this.sampleName(index),
      labels: (indices) => Int32Array.from(indices, (index) => this.label(index)),
      order: (seed, epoch) => shardOrder(starts, shuffle, seed, epoch),
    };
    this.#ledger = new SkipLedger(this.#source, {
      onBadImage: options.onBadImage ?? 'skip',
      maxSkippedFraction,
      onSkip: options.onSkip,
    });
  }

  get skipped(): ReadonlyMap<string, string> {
    return this.#ledger.skipped;
  }

  /** Class of a sample, an index into `classes`. */
  label(index: number): number {
    const { shard, at } = this.#find(index);
    return shard.labels[at] as number;
  }

  /** The archive of a sample and its key in it, with the file that it was packed from where that is known. */
  sampleName(index: number): string {
    const { shard, at } = this.#find(index);
    const { file, keys, sources } = shard;
    const source = (sources as PackedNames | undefined)?.at(at);
    return `${file}: ${keys.at(at)}${source === undefined ? '' : ` (${source})`}`;
  }

  batches(options: BatchOptions): AsyncIterable<Batch> {
    return loadBatches(this.#source, planBatches(options, this.#defaults), this.#ledger);
  }

  /** The shard of a sample and its place in it, by bisection. */
  #find(index: number): { readonly shard: Shard; readonly at: number } {
    const starts = this.#starts;
    let [low, high] = [0, this.#shards.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] as number) <= index) low = middle;
      else high = middle;
    }
    return { shard: this.#shards[low] as Shard, at: index - (starts[low] as number) };
  }
}

/** The shard with labels as the data set has them; the names are the data set's from then on. */
function relabelled({ labels, ...shard }: Shard, map: Int32Array | undefined): Shard {
  const own = map === undefined ? labels : labels.map((label) => map[label] as number);
  return { ...shard, classes: undefined, labels: own };
}
