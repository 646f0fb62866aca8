// Packing a folder of images into tar shards: the same bytes for the same images, whole or not there, resumable.
//
// The folder made holds `NAME-000000.tar` and on, each with its index; `classes.json`; and `pack.json`, which says what was
// asked for and, once everything is there, that it is complete. Nothing in it depends on when, where and by whom it was made.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { ArgumentError, DataError } from '../core/errors.ts';
import { isObject } from '../core/jsonText.ts';
import { shown } from '../core/printable.ts';
import { checkInteger } from '../data/batch.ts';
import { UnreadableImageError } from '../data/decode.ts';
import { type ImageFolder, imageFolder } from '../data/imageFolder.ts';
import { prefetch } from '../data/prefetch.ts';
import { permutation } from '../data/random.ts';
import { indexFile, jsonObject, parseIndex, readText } from '../data/shardIndex.ts';
import { packFile } from '../data/shardPaths.ts';
import { makeFolder, removeTemporaryFiles, writeFileAtomic } from './atomic.ts';
import { encoderVersion, type PackedImage, packImage, type Resizing } from './packImage.ts';
import { type FinishedShard, ShardWriter } from './shardWriter.ts';

/** Options of {@link packFolder}. */
export interface PackOptions {
  /** Folder for the shards; made where it is missing. */
  readonly out: string;
  /** Beginning of the shards' names. Default 'shard'. */
  readonly name?: string;
  /** The classes in the order of their labels. Default: the folders, sorted by name. */
  readonly classes?: readonly string[];
  /**
   * `{ size }`: all of each image as a square, its aspect not kept. `{ shorter }`: its shorter edge, where that is longer now;
   * images that are small enough stay byte for byte as they are. Default: all stay so.
   */
  readonly resize?: Resizing;
  /** Of the JPEGs that resized images become, 1 to 100. Default 95. */
  readonly quality?: number;
  /** Bytes of a shard at most, where more than one sample is in it. Default 256 MB (10^6), unless `perShard` is given. */
  readonly shardBytes?: number;
  /** Samples of a shard, in place of `shardBytes`. */
  readonly perShard?: number;
  /** Whether samples are packed in a random order, so that shards are alike. Default false: class by class. */
  readonly shuffle?: boolean;
  /** Of that order. Default 0. */
  readonly seed?: number;
  /** Images read and made smaller at the same time. Default: the number of processors. The shards do not depend on it. */
  readonly workers?: number;
  /** Fraction of the images that may be unreadable (and one always); more is a DataError. Default 0.01. */
  readonly maxSkippedFraction?: number;
  /** Called once for each image left out, in the order of packing. */
  readonly onSkip?: (path: string, reason: string) => void;
  /** Called after each image and each shard. */
  readonly onProgress?: (progress: PackProgress) => void;
  /** Called with what a person should know: shards kept from an earlier run, or made anew. */
  readonly onNotice?: (message: string) => void;
  /** Ends with the signal's reason; finished shards stay, and the next call goes on behind them. */
  readonly signal?: AbortSignal;
}

/** How far a packing is. */
export interface PackProgress {
  /** Images looked at, unreadable ones included; those of shards that were there already count too. */
  readonly images: number;
  readonly total: number;
  /** Shards that are whole. */
  readonly shards: number;
  /** Of the shards, so far. */
  readonly bytes: number;
}

/** A shard that is whole. */
export interface PackedShard {
  readonly name: string;
  readonly samples: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** What {@link packFolder} made. */
export interface Packed {
  readonly out: string;
  readonly classes: readonly string[];
  readonly samples: number;
  readonly shards: readonly PackedShard[];
  /** How many of the shards were there already. */
  readonly kept: number;
  /** Images left out, by their path within the folder, with the reason. */
  readonly skipped: ReadonlyMap<string, string>;
}

const packFormat = 'depthwise pack';
const packVersion = 1;
const defaultShardBytes = 256_000_000;
const unreadableShown = 3;

/** What decides the bytes of the shards; kept in pack.json, and compared when a packing goes on. */
type Settings = Readonly<Record<string, string | number | boolean | null>>;

/** A file in the folder of shards that says what a shard was made of, and where the next one goes on. */
interface Progress {
  /** The place in the order behind the last image that was looked at. */
  readonly place: number;
  readonly skipped: readonly (readonly [source: string, reason: string])[];
}

/**
 * Packs a folder per class into tar shards in WebDataset's form, which `shards` and `depthwise train` read.
 *
 * A shard is written beside its name, synced and renamed, and then its index; the index makes it finished. Where the folder
 * holds finished shards of the same packing, they are checked against their SHA-256 and kept, and what follows is made: the
 * bytes are those of a packing that nothing disturbed.
 *
 * @param dir the folder, with one folder of images per class
 * @throws DataError where the folder is at fault (as `imageFolder`), `TOO_MANY_UNREADABLE`, `PACK_MISMATCH` where `out` holds
 *   shards that were made otherwise; ArgumentError for an option out of range; CheckpointError where `out` cannot be written
 */
export async function packFolder(dir: string, options: PackOptions): Promise<Packed> {
  const settings = checkOptions(dir, options);
  const found = imageFolder(dir, {
    size: 1,
    ...(options.classes === undefined ? {} : { classes: options.classes }),
  });
  return new Packing(dir, found, options, settings).run();
}

/** What the options alone decide. */
function checkOptions(dir: string, options: PackOptions): Settings {
  const { resize, perShard, shardBytes, quality = 95, shuffle = false, seed = 0, name = 'shard' } = options;
  if (perShard !== undefined && shardBytes !== undefined) {
    throw new ArgumentError('perShard and shardBytes exclude each other; expected one of them');
  }
  if (!/^[A-Za-z0-9_-]{1,60}$/.test(name)) {
    throw new ArgumentError(`name: expected letters, digits, _ and -, got ${shown(name)}`);
  }
  const within = relative(resolve(dir), resolve(options.out));
  if (!within.startsWith('..')) {
    throw new ArgumentError(`out: ${options.out} is in ${dir}, where it would be taken for a class`);
  }
  if (checkInteger('quality', quality, 1) > 100)
    throw new ArgumentError(`quality: expected 1 to 100, got ${quality}`);
  const edge = resize === undefined ? null : 'size' in resize ? resize.size : resize.shorter;
  return {
    name,
    resize: resize === undefined ? 'none' : 'size' in resize ? 'size' : 'shorter',
    edge: edge === null ? null : checkInteger('resize', edge, 1),
    quality: resize === undefined ? null : quality,
    encoder: resize === undefined ? null : encoderVersion,
    perShard: perShard === undefined ? null : checkInteger('perShard', perShard, 1),
    shardBytes:
      perShard === undefined ? checkInteger('shardBytes', shardBytes ?? defaultShardBytes, 1) : null,
    shuffle,
    seed: shuffle ? checkInteger('seed', seed, 0) : null,
  };
}

/** One packing: the order of the images, the shards that are whole, and what was left out. */
class Packing {
  readonly #dir: string;
  readonly #found: ImageFolder;
  readonly #options: PackOptions;
  readonly #settings: Settings;
  readonly #order: Uint32Array | undefined;
  readonly #shards: PackedShard[] = [];
  readonly #skipped = new Map<string, string>();
  /** Of the shards. */
  #bytes = 0;
  #kept = 0;
  #place = 0;

  constructor(dir: string, found: ImageFolder, options: PackOptions, settings: Settings) {
    this.#dir = dir;
    this.#found = found;
    this.#options = options;
    const listing = createHash('sha256');
    found.files.forEach((file, i) => {
      listing.update(`${found.labels[i]} ${relative(dir, file)}\n`);
    });
    this.#settings = {
      ...settings,
      classes: createHash('sha256').update(JSON.stringify(found.classes)).digest('hex'),
      images: found.length,
      listing: listing.digest('hex'),
    };
    this.#order = settings.shuffle ? permutation(found.length, settings.seed as number, 0) : undefined;
  }

  async run(): Promise<Packed> {
    const { out, signal } = this.#options;
    signal?.throwIfAborted();
    await makeFolder(out);
    await removeTemporaryFiles(out);
    const { complete } = await this.#earlier();
    await this.#keepFinished();
    if (!complete || this.#place < this.#found.length) {
      await this.#writePack(false);
      const classes = `${JSON.stringify(this.#found.classes, undefined, 1)}\n`;
      await writeFileAtomic(join(out, 'classes.json'), [new TextEncoder().encode(classes)]);
      await this.#make();
      await this.#removeFrom(this.#shards.length);
      await this.#writePack(true);
    }
    const samples = this.#shards.reduce((sum, shard) => sum + shard.samples, 0);
    return {
      out,
      classes: this.#found.classes,
      samples,
      shards: this.#shards,
      kept: this.#kept,
      skipped: this.#skipped,
    };
  }

  #name(shard: number): string {
    return `${this.#settings.name}-${String(shard).padStart(6, '0')}.tar`;
  }

  /** What is in the folder already. @throws DataError `PACK_MISMATCH` where that was made otherwise */
  async #earlier(): Promise<{ complete: boolean }> {
    const { out } = this.#options;
    const file = join(out, packFile);
    const text = await readText(file, 2 ** 28, 'SHARD_INDEX');
    if (text === undefined) {
      const other = (await readdir(out)).find((name) => name.endsWith('.tar'));
      if (other === undefined) return { complete: false };
      throw new DataError(`${out}: holds ${other}, which \`pack\` has not made; choose another folder`, {
        file: out,
        code: 'PACK_MISMATCH',
      });
    }
    const value = jsonObject(text, file, 'SHARD_INDEX');
    const before = isObject(value.settings) ? value.settings : {};
    const names = new Set([...Object.keys(before), ...Object.keys(this.#settings)]);
    const differences = [...names].flatMap((name) => {
      if (before[name] === this.#settings[name]) return [];
      if (name === 'listing' || name === 'classes')
        return [`its ${name === 'listing' ? 'images' : name} are others`];
      return [`${name} was ${shown(before[name] ?? null)}, is ${shown(this.#settings[name] ?? null)}`];
    });
    if (value.format !== packFormat || value.version !== packVersion)
      differences.unshift('its form is another');
    if (differences.length > 0) {
      throw new DataError(
        `${out}: holds shards that were made otherwise: ${differences.join('; ')}; choose another folder`,
        {
          file: out,
          code: 'PACK_MISMATCH',
        },
      );
    }
    return { complete: value.complete === true };
  }

  /** Takes over the shards that are whole, from the first on; the others are removed. */
  async #keepFinished(): Promise<void> {
    const { out, onNotice, signal } = this.#options;
    for (;;) {
      signal?.throwIfAborted();
      const finished =
        this.#place < this.#found.length ? await this.#finished(this.#shards.length) : undefined;
      if (finished === undefined) break;
      const { shard, progress } = finished;
      this.#shards.push(shard);
      this.#bytes += shard.bytes;
      this.#place = progress.place;
      for (const [source, reason] of progress.skipped) this.#skipped.set(source, reason);
      this.#report();
    }
    this.#kept = this.#shards.length;
    const removed = await this.#removeFrom(this.#kept);
    if (this.#kept > 0) onNotice?.(`${out}: ${this.#kept} finished shards are kept`);
    if (removed > 0) onNotice?.(`${out}: ${removed} files of shards that are not whole are made anew`);
  }

  /** A shard of an earlier run, if it is there, whole, and goes on where the one before it ended. */
  async #finished(number: number): Promise<{ shard: PackedShard; progress: Progress } | undefined> {
    const name = this.#name(number);
    const file = join(this.#options.out, name);
    try {
      const text = await readText(indexFile(file), 2 ** 30, 'SHARD_INDEX');
      if (text === undefined) return undefined;
      const index = parseIndex(text, indexFile(file));
      const { bytes, sha256 } = index.archive;
      const progress = progressIn(JSON.parse(text) as unknown, this.#place);
      if (progress === undefined || sha256 === undefined || (await stat(file)).size !== bytes)
        return undefined;
      if ((await digestOf(file)) !== sha256) return undefined;
      return { shard: { name, samples: index.keys.length, bytes, sha256 }, progress };
    } catch (error) {
      // What cannot be read is made anew; what cannot be written will say so itself.
      if (this.#options.signal?.aborted) throw error;
      return undefined;
    }
  }

  /** Removes shards from a number on, with their indices. */
  async #removeFrom(first: number): Promise<number> {
    const { out } = this.#options;
    const pattern = new RegExp(`^${this.#settings.name}-(\\d{6,})\\.(tar|index\\.json)$`);
    const names = (await readdir(out)).filter((name) => Number(pattern.exec(name)?.[1] ?? -1) >= first);
    for (const name of names) await rm(join(out, name), { force: true });
    return names.length;
  }

  /** Makes the shards that are missing. */
  async #make(): Promise<void> {
    const { workers = availableParallelism(), signal } = this.#options;
    checkInteger('workers', workers, 1);
    const { length } = this.#found;
    const prepared = prefetch(
      this.#place,
      length,
      (at, gate) => gate.run(() => this.#prepare(this.#at(at))),
      {
        workers,
        depth: 2 * workers,
        signal,
      },
    );
    let writer: ShardWriter | undefined;
    let skipped: [string, string][] = [];
    const close = async (end: number): Promise<void> => {
      if (writer === undefined) return;
      const finished = await writer.finish({ begin: this.#place, end, skipped });
      this.#finish(finished, end);
      writer = undefined;
      skipped = [];
    };
    try {
      let at = this.#place;
      for await (const item of prepared) {
        if ('reason' in item) {
          skipped.push([item.source, item.reason]);
          this.#skip(item.source, item.reason);
        } else {
          if (writer !== undefined && this.#isFull(writer, item)) await close(at);
          const name = this.#name(this.#shards.length);
          writer ??= await ShardWriter.open(join(this.#options.out, name), this.#found.classes);
          await writer.add(String(at).padStart(9, '0'), item);
        }
        at += 1;
        this.#report(at, writer?.bytes);
      }
      await close(length);
    } finally {
      await writer?.abandon();
    }
    // The last images may all be unreadable, and then are no part of any shard: they are looked at again next time.
    if (this.#shards.length === 0) throw this.#tooMany();
    this.#place = length;
  }

  /** The sample at a place of the order. */
  #at(place: number): number {
    return this.#order?.[place] ?? place;
  }

  async #prepare(index: number): Promise<PackedImage | { readonly source: string; readonly reason: string }> {
    const file = this.#found.files[index] as string;
    const source = relative(this.#dir, file);
    const { resize, quality = 95 } = this.#options;
    try {
      return {
        source,
        label: this.#found.labels[index] as number,
        ...(await packImage(file, resize, quality)),
      };
    } catch (error) {
      if (!(error instanceof UnreadableImageError)) throw error;
      return { source, reason: error.reason };
    }
  }

  #isFull(writer: ShardWriter, item: PackedImage): boolean {
    const { perShard, shardBytes } = this.#settings;
    return perShard === null
      ? writer.bytesWith(item) > (shardBytes as number)
      : writer.samples >= (perShard as number);
  }

  #finish({ samples, bytes, sha256 }: FinishedShard, end: number): void {
    this.#shards.push({ name: this.#name(this.#shards.length), samples, bytes, sha256 });
    this.#bytes += bytes;
    this.#place = end;
  }

  #skip(source: string, reason: string): void {
    const { onSkip, maxSkippedFraction = 0.01 } = this.#options;
    this.#skipped.set(source, reason);
    onSkip?.(join(this.#dir, source), reason);
    if (this.#skipped.size > Math.max(1, maxSkippedFraction * this.#found.length)) throw this.#tooMany();
  }

  #tooMany(): DataError {
    const count = this.#skipped.size;
    const first = [...this.#skipped]
      .slice(0, unreadableShown)
      .map(([source, reason]) => `${source} (${reason})`);
    const rest = count > unreadableShown ? `, and ${count - unreadableShown} more` : '';
    return new DataError(
      `${this.#dir}: ${count} of ${this.#found.length} images cannot be read: ${first.join(', ')}${rest}`,
      { file: this.#dir, code: 'TOO_MANY_UNREADABLE' },
    );
  }

  #report(images = this.#place, open = 0): void {
    const { length } = this.#shards;
    this.#options.onProgress?.({
      images,
      total: this.#found.length,
      shards: length,
      bytes: this.#bytes + open,
    });
  }

  async #writePack(complete: boolean): Promise<void> {
    const value = {
      format: packFormat,
      version: packVersion,
      complete,
      settings: this.#settings,
      ...(complete ? { shards: this.#shards, skipped: [...this.#skipped] } : {}),
    };
    const text = `${JSON.stringify(value, undefined, 1)}\n`;
    await writeFileAtomic(join(this.#options.out, packFile), [new TextEncoder().encode(text)]);
  }
}

/** What an index says of the packing, if the shard begins at this place. */
function progressIn(value: unknown, begin: number): Progress | undefined {
  const packed = isObject(value) ? value.packed : undefined;
  if (!isObject(packed) || packed.begin !== begin || !Number.isSafeInteger(packed.end)) return undefined;
  const end = packed.end as number;
  const skipped: readonly unknown[] = Array.isArray(packed.skipped) ? packed.skipped : [];
  const pairs = skipped.flatMap((pair) => {
    const [source, reason]: readonly unknown[] = Array.isArray(pair) ? pair : [];
    return typeof source === 'string' && typeof reason === 'string' ? [[source, reason] as const] : [];
  });
  return end > begin ? { place: end, skipped: pairs } : undefined;
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 }))
    hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}
