// Folders of images as commands take them.

import { statSync } from 'node:fs';
import { count, say } from './output.ts';

/** Whether a path is a folder; a path through a file is none. */
export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // what is wrong with it is said by whoever reads it
  }
}

/** Says on stderr which image is left out, and why. */
export const saySkipped = (path: string, reason: string): void => say(`left out: ${path}: ${reason}`);

/** Says at the end how many images were left out, if any. */
export function sayHowManySkipped({ size }: ReadonlyMap<string, string>): void {
  if (size > 0) say(`${count(size, 'image')} left out: cannot be read`);
}
