// Files that are whole or not there: written beside, synced, renamed, folder synced; and the folders for them. Knows no
// format.

import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { threadId } from 'node:worker_threads';
import { CheckpointError } from '../core/errors.ts';

let written = 0;

/** Temporary files of this module look like `.model.safetensors.1234-0-7.tmp`. */
const temporaryName = /^\..+\.\d+-\d+-\d+\.tmp$/;

const reasons: Readonly<Record<string, readonly [code: string, reason: string]>> = {
  ENOSPC: ['DISK_FULL', 'no space left on the disk'],
  EDQUOT: ['DISK_FULL', 'the disk quota is used up'],
  EROFS: ['READ_ONLY', 'the disk is read-only'],
  EACCES: ['READ_ONLY', 'no permission to write there'],
  EPERM: ['READ_ONLY', 'no permission to write there'],
  ENOENT: ['NO_FOLDER', 'its folder does not exist'],
  ENOTDIR: ['NO_FOLDER', 'a part of its path is a file'],
  EEXIST: ['NO_FOLDER', 'a part of its path is a file'],
  EISDIR: ['NO_FOLDER', 'there is a folder of that name'],
  EIO: ['DISK_ERROR', 'the disk reported an error (EIO)'],
};

/**
 * An error of the file system as one line that says what is left. One that has been made into a CheckpointError is
 * given back as it is.
 */
export function writeError(
  path: string,
  cause: unknown,
  state = 'what was there before is unchanged',
): CheckpointError {
  if (cause instanceof CheckpointError) return cause;
  const errno = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const text = cause instanceof Error ? cause.message : String(cause);
  const [code, reason] = reasons[errno] ?? ['WRITE_FAILED', text];
  return new CheckpointError(`${path}: cannot be written: ${reason}; ${state}`, { file: path, code, cause });
}

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() === true;

/** As {@link makeFolder}, with the errors of the file system. `path` is absolute. */
async function makeFolders(path: string): Promise<void> {
  if (await isFolder(path)) return;
  const above = dirname(path);
  if (above !== path) await makeFolders(above);
  try {
    await mkdir(path);
  } catch (error) {
    if (!(await isFolder(path))) throw error; // else another process has made it meanwhile
  }
}

/**
 * Makes a folder and those above it that are missing; one that is there is left as it is. Node's own `recursive` never ends
 * where a folder that is there answers ENOENT to whoever makes one in it, as /proc does.
 * @throws CheckpointError as {@link writeFileAtomic}
 */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await makeFolders(resolve(folder));
  } catch (error) {
    const errno = error instanceof Error && 'code' in error ? error.code : undefined;
    if (errno !== 'ENOENT') throw writeError(folder, error);
    const message = `${folder}: cannot be written: its file system lets nobody make folders there`;
    throw new CheckpointError(message, { file: folder, code: 'READ_ONLY', cause: error });
  }
}

/** Makes a rename or a new entry in `folder` survive a power failure. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes `chunks`, one after the other, so that `file` is at every moment either what it was or all of the
 * new contents, also after a crash or a power failure. The folder must exist.
 * @throws CheckpointError `DISK_FULL`, `READ_ONLY`, `NO_FOLDER`, `DISK_ERROR` or `WRITE_FAILED`; `file` is
 *   then as it was, and the temporary file is removed.
 */
export async function writeFileAtomic(file: string, chunks: readonly Uint8Array[]): Promise<void> {
  const folder = dirname(file);
  written += 1;
  const temporary = join(folder, `.${basename(file)}.${process.pid}-${threadId}-${written}.tmp`);
  let renamed = false;
  try {
    const handle = await open(temporary, 'wx');
    try {
      for (const chunk of chunks) await handle.writeFile(chunk);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    renamed = true;
    await syncFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw renamed
      ? writeError(file, error, 'it was replaced, but may not survive a power failure')
      : writeError(file, error);
  }
}

/**
 * Removes what a killed process left of `writeFileAtomic` in `folder`, and returns the names removed. Only
 * for a folder that no other process is writing to.
 */
export async function removeTemporaryFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => temporaryName.test(name));
  await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
  return names;
}
