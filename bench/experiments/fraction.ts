// A part of a folder of training images, class by class, as links to them: any command can train on it.

import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Which of `count` places are taken for a fraction: evenly spread, at least one, and all of them for 1. */
export function chosenPlaces(count: number, fraction: number): number[] {
  const wanted = Math.min(count, Math.max(1, Math.round(count * fraction)));
  return Array.from({ length: wanted }, (_, i) => Math.floor((i * count) / wanted));
}

/**
 * Makes `out/<class>/<file>` as links to a part of the images of `train`, the same part every time.
 * @returns the folder to train on: `train` itself where the fraction is 1
 */
export function linkFraction(train: string, out: string, fraction: number): string {
  if (fraction >= 1) return train;
  for (const entry of readdirSync(train, { withFileTypes: true })) {
    if (entry.name.startsWith('.') || !entry.isDirectory()) continue;
    const files = readdirSync(join(train, entry.name))
      .filter((name) => !name.startsWith('.'))
      .sort();
    mkdirSync(join(out, entry.name), { recursive: true });
    for (const place of chosenPlaces(files.length, fraction)) {
      const name = files[place] as string;
      try {
        symlinkSync(resolve(train, entry.name, name), join(out, entry.name, name));
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      }
    }
  }
  return out;
}
