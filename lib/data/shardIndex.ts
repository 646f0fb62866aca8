// What a shard holds: where its images lie and what their labels are, read off its headers or off the index beside it.
//
// The index of `a.tar` is `a.index.json`: JSON, written by `depthwise pack`, or kept in a folder by who asks for it.

import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { DataError } from '../core/errors.ts';
import { duplicateKey, isCount, isObject, maximumNesting, nestsTooDeep } from '../core/jsonText.ts';
import { printableLine, shown } from '../core/printable.ts';
import { PackedNames } from './packedNames.ts';
import type { TarBytes } from './tar.ts';

/** Codes of the errors of indices and lists of classes; stable. */
export type ShardIndexCode = 'SHARD_INDEX' | 'SHARD_CLASSES';

/** The samples of a shard, in its order. */
export interface ShardIndex {
  /** Of the archive that it describes. */
  readonly archive: ArchiveMark;
  /** Names that the labels index. Undefined: the labels are those of the archive, whole numbers from 0. */
  readonly classes: readonly string[] | undefined;
  /** WebDataset's `__key__`: path up to the first dot of the file's name. */
  readonly keys: PackedNames;
  /** Files that the images came from, where it is known. */
  readonly sources: PackedNames | undefined;
  /** [n], bytes from the beginning of the archive */
  readonly offsets: Float64Array;
  /** [n], bytes */
  readonly lengths: Float64Array;
  /** [n] */
  readonly labels: Int32Array;
}

/** What tells an archive from others. */
export interface ArchiveMark {
  /** Size in bytes. */
  readonly bytes: number;
  /** SHA-256 of its size, its ends and some places between: found in milliseconds, whatever its size. */
  readonly sample: string;
  /** SHA-256 of all of it, where it is known. */
  readonly sha256: string | undefined;
}

export const indexFormat = 'depthwise shard index';
const indexVersion = 1;
/** Room for ten million samples. */
const maximumIndexBytes = 2 ** 30;
/** Largest label. */
const maximumLabel = 2 ** 31 - 1;

/** The index that belongs beside a shard. */
export const indexFile = (shard: string): string => `${shard.replace(/\.tar$/i, '')}.index.json`;

const sampledEnds = 65_536;
const sampledPlaces = 14;
const sampledBytes = 4096;

/** The digest of {@link ArchiveMark.sample}. */
export async function sampleArchive(archive: TarBytes): Promise<string> {
  const { size } = archive;
  const hash = createHash('sha256').update(`${size}\n`);
  hash.update(await archive.read(0, Math.min(size, sampledEnds)));
  for (let i = 1; i <= sampledPlaces; i++) {
    const at = Math.floor((size / (sampledPlaces + 1)) * i);
    hash.update(await archive.read(at, Math.min(sampledBytes, size - at)));
  }
  const last = Math.max(0, size - sampledEnds);
  return hash.update(await archive.read(last, size - last)).digest('hex');
}

/** An archive on disk. Reads go through one buffer, so that small files beside one another cost one call. */
export class ArchiveFile implements TarBytes {
  readonly size: number;
  readonly modified: number;
  readonly #handle: FileHandle;
  readonly #window: Buffer;
  #begin = 0;
  #filled = 0;

  private constructor(handle: FileHandle, size: number, modified: number, window: number) {
    this.#handle = handle;
    this.size = size;
    this.modified = modified;
    this.#window = Buffer.alloc(window);
  }

  /** @throws DataError `FILE_MISSING`, `FILE_READ` or `FILE_EMPTY` */
  static async open(file: string, window = 16_384): Promise<ArchiveFile> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(file, 'r');
      const { size, mtimeMs } = await regular(handle, file);
      return new ArchiveFile(handle, size, mtimeMs, window);
    } catch (cause) {
      await handle?.close();
      throw cause instanceof DataError ? cause : unreadable(file, cause);
    }
  }

  read(position: number, length: number): Uint8Array | Promise<Uint8Array> {
    const there = Math.max(0, Math.min(length, this.size - position));
    const from = position - this.#begin;
    if (from >= 0 && from + there <= this.#filled) return this.#window.subarray(from, from + there);
    return this.#load(position, there);
  }

  async #load(position: number, length: number): Promise<Uint8Array> {
    const own = length <= this.#window.length;
    const target = own ? this.#window : Buffer.alloc(length);
    if (own) this.#filled = 0; // until it is known what is there
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(
        target,
        filled,
        target.length - filled,
        position + filled,
      );
      if (bytesRead === 0) break; // it has become shorter meanwhile
      filled += bytesRead;
    }
    if (own) {
      this.#begin = position;
      this.#filled = filled;
    }
    return target.subarray(0, Math.min(filled, length));
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

async function regular(handle: FileHandle, file: string) {
  const stat = await handle.stat();
  if (!stat.isFile()) {
    const what = stat.isDirectory() ? 'a folder' : 'not a regular file';
    throw new DataError(`${file}: it is ${what}, expected a tar archive`, { file, code: 'FILE_READ' });
  }
  if (stat.size === 0) throw new DataError(`${file}: the file is empty`, { file, code: 'FILE_EMPTY' });
  return stat;
}

function unreadable(file: string, cause: unknown): DataError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  const reason = missing ? 'no such file' : cause instanceof Error ? cause.message : String(cause);
  return new DataError(`${file}: ${reason}`, { file, code: missing ? 'FILE_MISSING' : 'FILE_READ', cause });
}

/** The text of a small file; undefined where there is none. @throws DataError `FILE_READ`, and `code` for one too large */
export async function readText(
  file: string,
  most: number,
  code: ShardIndexCode,
): Promise<string | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (cause) {
    const error = unreadable(file, cause);
    if (error.code === 'FILE_MISSING') return undefined;
    throw error;
  }
  try {
    const { size } = await handle.stat();
    if (size > most) {
      throw new DataError(`${file}: ${size} bytes, expected at most ${most}`, { file, code });
    }
    return await handle.readFile('utf8');
  } catch (cause) {
    throw cause instanceof DataError ? cause : unreadable(file, cause);
  } finally {
    await handle.close();
  }
}

/** An object out of a JSON file, read as strictly as weights are. @throws DataError with `code` */
export function jsonObject(text: string, file: string, code: ShardIndexCode): Record<string, unknown> {
  const value = jsonValue(text, file, code);
  if (!isObject(value)) {
    throw new DataError(`${file}: is ${shown(value)}, expected an object`, { file, code });
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) {
    throw new DataError(`${file}: has '${printableLine(twice)}' twice`, { file, code });
  }
  return value;
}

function jsonValue(text: string, file: string, code: ShardIndexCode): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DataError(`${file}: not valid JSON: ${printableLine(reason)}`, { file, code, cause });
  }
  if (nestsTooDeep(text)) {
    throw new DataError(`${file}: nested deeper than ${maximumNesting} levels`, { file, code });
  }
  return value;
}

/** A list of class names out of a file, none of them twice. */
function checkClasses(value: unknown, file: string, code: ShardIndexCode): readonly string[] {
  const fail = (message: string): never => {
    throw new DataError(`${file}: ${message}`, { file, code });
  };
  if (!Array.isArray(value) || value.length === 0)
    return fail(`classes are ${shown(value)}, expected a list of names`);
  const seen = new Set<string>();
  for (const name of value as readonly unknown[]) {
    if (typeof name !== 'string' || name === '') return fail(`a class is ${shown(name)}, expected a name`);
    if (seen.has(name)) fail(`the class ${shown(name)} is there twice`);
    seen.add(name);
  }
  return value as readonly string[];
}

/** The names in `classes.json` (a list) or `classes.txt` (one a line). @throws DataError `SHARD_CLASSES` */
export function parseClasses(text: string, file: string): readonly string[] {
  const code = 'SHARD_CLASSES';
  if (file.endsWith('.json')) return checkClasses(jsonValue(text, file, code), file, code);
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  return checkClasses(lines, file, code);
}

/** A list of numbers of the index, each tested. */
function numbers(
  value: unknown,
  name: string,
  test: (item: number) => boolean,
  fail: (message: string) => never,
) {
  if (!Array.isArray(value)) return fail(`${name} are ${shown(value)}, expected a list`);
  const wrong = (value as readonly unknown[]).find((item) => !isCount(item) || !test(item));
  if (wrong !== undefined) fail(`${name} hold ${shown(wrong)}, expected whole numbers in range`);
  return value as readonly number[];
}

function strings(value: unknown, name: string, fail: (message: string) => never): PackedNames {
  if (!Array.isArray(value)) return fail(`${name} are ${shown(value)}, expected a list`);
  const wrong = (value as readonly unknown[]).find((item) => typeof item !== 'string');
  if (wrong !== undefined) fail(`${name} hold ${shown(wrong)}, expected strings`);
  return PackedNames.from(value as readonly string[]);
}

/**
 * The index in a text. Everything in it is checked against the size of the archive that it says it describes.
 * @throws DataError `SHARD_INDEX`
 */
export function parseIndex(text: string, file: string): ShardIndex {
  const fail = (message: string): never => {
    throw new DataError(`${file}: ${message}`, { file, code: 'SHARD_INDEX' });
  };
  const value = jsonObject(text, file, 'SHARD_INDEX');
  if (value.format !== indexFormat) fail(`format is ${shown(value.format)}, expected '${indexFormat}'`);
  if (value.version !== indexVersion) fail(`version is ${shown(value.version)}, expected ${indexVersion}`);
  const { archive } = value;
  if (!isObject(archive) || !isCount(archive.bytes) || typeof archive.sample !== 'string') {
    return fail(`archive is ${shown(archive)}, expected bytes and sample`);
  }
  const { bytes, sample, sha256 } = archive;
  if (sha256 !== undefined && typeof sha256 !== 'string')
    fail(`sha256 is ${shown(sha256)}, expected a string`);
  const classes = value.classes === undefined ? undefined : checkClasses(value.classes, file, 'SHARD_INDEX');
  const keys = strings(value.keys, 'keys', fail);
  const sources = value.sources === undefined ? undefined : strings(value.sources, 'sources', fail);
  const labels = numbers(
    value.labels,
    'labels',
    (label) => label < (classes?.length ?? maximumLabel + 1),
    fail,
  );
  const offsets = numbers(value.offsets, 'offsets', (offset) => offset <= bytes, fail);
  const lengths = numbers(value.lengths, 'lengths', (length) => length <= bytes, fail);
  const n = keys.length;
  const counts = [sources?.length ?? n, labels.length, offsets.length, lengths.length];
  if (counts.some((count) => count !== n))
    fail(`lists of ${[n, ...counts].join(', ')} items, expected as many of each`);
  const beyond = offsets.findIndex((offset, i) => offset + (lengths[i] as number) > bytes);
  if (beyond >= 0) fail(`sample ${beyond} reaches beyond the ${bytes} bytes of the archive`);
  return {
    archive: { bytes, sample, sha256: sha256 as string | undefined },
    classes,
    keys,
    sources,
    offsets: Float64Array.from(offsets),
    lengths: Float64Array.from(lengths),
    labels: Int32Array.from(labels),
  };
}

/** The text of an index: the same for the same, without time and path. `more` is kept beside, for who wrote it. */
export function indexText(index: ShardIndex, more: Readonly<Record<string, unknown>> = {}): string {
  const { archive, classes, keys, sources, offsets, lengths, labels } = index;
  return `${JSON.stringify({
    format: indexFormat,
    version: indexVersion,
    archive,
    classes,
    ...more,
    keys: [...keys],
    sources: sources === undefined ? undefined : [...sources],
    offsets: [...offsets],
    lengths: [...lengths],
    labels: [...labels],
  })}\n`;
}

/**
 * The index in a file, where there is one and it is that of this archive; else undefined.
 * @param stale called where it is that of another
 * @throws DataError `SHARD_INDEX` for a damaged one
 */
export async function readIndex(
  file: string,
  archive: TarBytes,
  stale: (file: string) => void,
): Promise<ShardIndex | undefined> {
  const text = await readText(file, maximumIndexBytes, 'SHARD_INDEX');
  if (text === undefined) return undefined;
  const index = parseIndex(text, file);
  const same =
    index.archive.bytes === archive.size && index.archive.sample === (await sampleArchive(archive));
  if (!same) stale(file);
  return same ? index : undefined;
}
