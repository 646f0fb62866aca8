// Folders of images as commands take them.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { count, say } from './output.ts';

/** Whether a path is a folder; a path through a file is none. */
export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // what is wrong with it is said by whoever reads it
  }
}

/** Names of the folders in a folder, hidden ones aside; none where it cannot be listed. */
export function foldersIn(path: string): string[] {
  try {
    return readdirSync(path).filter((name) => !name.startsWith('.') && isFolder(join(path, name)));
  } catch {
    return []; // what is wrong with it is said by whoever reads it
  }
}

/** Says on stderr which image is left out, and why. */
export const saySkipped = (path: string, reason: string): void => say(`left out: ${path}: ${reason}`);

/** Says at the end how many images were left out, if any. */
export function sayHowManySkipped({ size }: ReadonlyMap<string, string>): void {
  if (size > 0) say(`${count(size, 'image')} left out: cannot be read`);
}
