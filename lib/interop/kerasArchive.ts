// Keras' `.keras` files: a ZIP archive with the weights as HDF5 and the configuration of the model as JSON.

import { crc32 } from 'node:zlib';
import { type Entry, fromBufferPromise, type ZipFile } from 'yauzl';
import { CheckpointError } from '../core/errors.ts';
import { readFileBytes } from './fileBytes.ts';
import { type KerasWeights, parseKeras } from './kerasH5.ts';

const weightsName = 'model.weights.h5';
const configName = 'config.json';

/** What WebAssembly's HDF5 library can read; a smaller archive may claim to unpack to more. */
const maximumBytes = 2 ** 31 - 1;
const maximumConfigBytes = 2 ** 26;

/** The bytes of an entry, held against its checksum. */
async function unpack(archive: ZipFile, entry: Entry, limit: number): Promise<Uint8Array> {
  const { uncompressedSize: size, fileName } = entry;
  if (size > limit) throw new Error(`${fileName} has ${size} bytes, expected at most ${limit}`);
  const bytes = new Uint8Array(size);
  let at = 0;
  for await (const chunk of (await archive.openReadStreamPromise(entry)) as AsyncIterable<Uint8Array>) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  if (at !== size || crc32(bytes) !== entry.crc32) throw new Error(`the checksum of ${fileName} is wrong`);
  return bytes;
}

/** Both entries; yauzl's own errors say what is wrong with the archive. */
async function entries(bytes: Uint8Array): Promise<{ weights?: Uint8Array; config?: Uint8Array }> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const archive = await fromBufferPromise(buffer, { lazyEntries: true });
  try {
    const found: { weights?: Uint8Array; config?: Uint8Array } = {};
    for await (const entry of archive.eachEntry()) {
      if (entry.fileName === weightsName) found.weights = await unpack(archive, entry, maximumBytes);
      if (entry.fileName === configName) found.config = await unpack(archive, entry, maximumConfigBytes);
    }
    return found;
  } finally {
    archive.close();
  }
}

/**
 * The weights in the contents of a `.keras` file; `file` is the name for errors.
 * @throws CheckpointError `KERAS_ARCHIVE` for an archive that is damaged or is none of Keras, and as parseKeras.
 */
export async function parseKerasArchive(bytes: Uint8Array, file = 'model.keras'): Promise<KerasWeights> {
  const refuse = (message: string, cause?: unknown): never => {
    throw new CheckpointError(`${file}: ${message}`, { file, code: 'KERAS_ARCHIVE', cause });
  };
  let found: Awaited<ReturnType<typeof entries>>;
  try {
    found = await entries(bytes);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return refuse(`not a .keras file, or damaged: ${reason.replaceAll('\n', ' ')}`, error);
  }
  if (found.weights === undefined) return refuse(`no weights of Keras: there is no ${weightsName} in it`);
  const config = found.config === undefined ? undefined : new TextDecoder().decode(found.config);
  return parseKeras(found.weights, file, config);
}

/**
 * Reads the weights of a `.keras` file.
 * @throws DataError when it is missing or empty; CheckpointError as {@link parseKerasArchive}.
 */
export async function readKerasArchive(file: string): Promise<KerasWeights> {
  return parseKerasArchive(await readFileBytes(file), file);
}
