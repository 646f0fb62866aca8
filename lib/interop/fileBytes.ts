// Reading a whole file into one buffer, with errors that name the file. Knows no format.

import { type FileHandle, open } from 'node:fs/promises';
import { DataError, OutOfMemoryError } from '../core/errors.ts';

/** One read call takes at most this much, because the system's own limit is just under 2 GiB. */
const chunkBytes = 2 ** 30;

const reasons: Record<string, string> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EACCES: 'no permission to read it',
  EISDIR: 'it is a folder, expected a file',
};

function readError(file: string, cause: unknown): DataError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const reason = reasons[code] ?? (cause instanceof Error ? cause.message : String(cause));
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  return new DataError(`${file}: ${reason}`, { file, code: missing ? 'FILE_MISSING' : 'FILE_READ', cause });
}

/**
 * The bytes of a file, in a buffer of their own (offset 0).
 * @throws DataError `FILE_MISSING`, `FILE_READ`, `FILE_EMPTY`; OutOfMemoryError when no buffer is large
 *   enough.
 */
export async function readFileBytes(file: string): Promise<Uint8Array<ArrayBuffer>> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    const stat = await handle.stat();
    if (!stat.isFile()) {
      const what = stat.isDirectory() ? 'a folder' : 'not a regular file';
      throw new DataError(`${file}: it is ${what}, expected a file`, { file, code: 'FILE_READ' });
    }
    if (stat.size === 0) throw new DataError(`${file}: the file is empty`, { file, code: 'FILE_EMPTY' });
    return await readExactly(handle, file, stat.size);
  } catch (error) {
    if (error instanceof DataError || error instanceof OutOfMemoryError) throw error;
    throw readError(file, error);
  } finally {
    await handle?.close();
  }
}

async function readExactly(handle: FileHandle, file: string, size: number): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = new Uint8Array(size);
  } catch {
    throw new OutOfMemoryError(`${file}: cannot hold its ${size} bytes in memory`, { requested: size });
  }
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await handle.read(bytes, filled, Math.min(chunkBytes, size - filled), filled);
    // The file shrank while it was read: what is there is returned, and its parser says what is missing.
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
  }
  return bytes;
}
