// Keras' `.keras` files: a ZIP archive with the weights as HDF5 and the configuration of the model as JSON.

import { crc32 } from 'node:zlib';
import { type Entry, fromBufferPromise, type ZipFile } from 'yauzl';
import { CheckpointError } from '../core/errors.ts';
import { printable, printableLine } from '../core/printable.ts';
import { readFileBytes } from './fileBytes.ts';
import { type KerasWeights, parseKeras } from './kerasH5.ts';

const weightsName = 'model.weights.h5';
const configName = 'config.json';

/** Most bytes that are unpacked of each entry: what WebAssembly's HDF5 library can read, and hundreds of times Keras' own. */
const limits = new Map([
  [weightsName, 2 ** 31 - 1],
  [configName, 2 ** 24],
]);

/** Keras writes three, and folders of assets. */
const maximumEntries = 1000;
/** Of all entries together, as the archive states them. */
const maximumBytes = 2 ** 32;
/** No stream of deflate gives more bytes for one than this. */
const maximumRatio = 1032;

/** The entries by name, none of which has been unpacked. @throws Error for an archive that Keras does not write */
async function listed(archive: ZipFile): Promise<Map<string, Entry>> {
  if (archive.entryCount > maximumEntries) {
    throw new Error(`${archive.entryCount} entries, expected at most ${maximumEntries}`);
  }
  const found = new Map<string, Entry>();
  let total = 0;
  for await (const entry of archive.eachEntry()) {
    const { fileName, uncompressedSize: size, compressedSize } = entry;
    if (found.has(fileName)) throw new Error(`two entries are named ${printable(fileName)}`);
    found.set(fileName, entry);
    total += size;
    const limit = limits.get(fileName) ?? maximumBytes;
    if (size > limit) throw new Error(`${printable(fileName)} has ${size} bytes, expected at most ${limit}`);
    if (size > compressedSize * maximumRatio) {
      throw new Error(`${printable(fileName)} claims ${size} bytes of ${compressedSize} that are packed`);
    }
  }
  if (total > maximumBytes) throw new Error(`${total} bytes in all, expected at most ${maximumBytes}`);
  return found;
}

/** The bytes of an entry, held against its checksum; undefined where there is none. */
async function unpacked(archive: ZipFile, entry: Entry | undefined): Promise<Uint8Array | undefined> {
  if (entry === undefined) return undefined;
  const { uncompressedSize: size, fileName } = entry;
  const bytes = new Uint8Array(size);
  let at = 0;
  for await (const chunk of (await archive.openReadStreamPromise(entry)) as AsyncIterable<Uint8Array>) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  if (at !== size || crc32(bytes) !== entry.crc32) throw new Error(`the checksum of ${fileName} is wrong`);
  return bytes;
}

/** What is used of an archive; yauzl's own errors say what is wrong with one. */
async function contents(bytes: Uint8Array): Promise<{ weights?: Uint8Array; config?: Uint8Array }> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const archive = await fromBufferPromise(buffer, { lazyEntries: true });
  try {
    const entries = await listed(archive);
    const weights = await unpacked(archive, entries.get(weightsName));
    const config = await unpacked(archive, entries.get(configName));
    return { ...(weights && { weights }), ...(config && { config }) };
  } finally {
    archive.close();
  }
}

/** What an archive of Keras holds that is used. */
export interface KerasArchive {
  /** The file `model.weights.h5`. */
  readonly weights: Uint8Array;
  /** The file `config.json`, where there is one. */
  readonly config: string | undefined;
}

/**
 * Unpacks the contents of a `.keras` file; `file` is the name for errors.
 * @throws CheckpointError `KERAS_ARCHIVE` for an archive that is damaged, is none of Keras, or claims more than Keras writes
 *   (1,000 entries, 4 GiB, a name twice)
 */
export async function unpackKerasArchive(bytes: Uint8Array, file = 'model.keras'): Promise<KerasArchive> {
  const refuse = (message: string, cause?: unknown): never => {
    throw new CheckpointError(`${file}: ${message}`, { file, code: 'KERAS_ARCHIVE', cause });
  };
  let found: Awaited<ReturnType<typeof contents>>;
  try {
    found = await contents(bytes);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return refuse(`not a .keras file, or damaged: ${printableLine(reason)}`, error);
  }
  if (found.weights === undefined) return refuse(`no weights of Keras: there is no ${weightsName} in it`);
  const config = found.config === undefined ? undefined : new TextDecoder().decode(found.config);
  return { weights: found.weights, config };
}

/**
 * The weights in the contents of a `.keras` file; `file` is the name for errors.
 * @throws CheckpointError as {@link unpackKerasArchive} and as parseKeras.
 */
export async function parseKerasArchive(bytes: Uint8Array, file = 'model.keras'): Promise<KerasWeights> {
  const { weights, config } = await unpackKerasArchive(bytes, file);
  return parseKeras(weights, file, config);
}

/**
 * Reads the weights of a `.keras` file.
 * @throws DataError when it is missing or empty; CheckpointError as {@link parseKerasArchive}.
 */
export async function readKerasArchive(file: string): Promise<KerasWeights> {
  return parseKerasArchive(await readFileBytes(file), file);
}
