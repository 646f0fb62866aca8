// What an ELF file says of itself: which libraries it needs, of which versions, and where it looks for them. Asks readelf,
// which reads the files of every machine.

import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface Elf {
  /** As readelf calls it: `Advanced Micro Devices X86-64`, `AArch64`. */
  readonly machine: string;
  /** Names of the libraries that are loaded with it. */
  readonly needed: readonly string[];
  /** Folders that are searched first: DT_RPATH, which holds for what is needed in turn, or DT_RUNPATH, which does not. */
  readonly rpath: readonly string[];
  readonly runpath: readonly string[];
  /** Versions of symbols that are asked for: `GLIBC_2.34`, `GLIBCXX_3.4.29`. */
  readonly versions: readonly string[];
}

/** Libraries of every Linux with glibc on which Node's own binaries run: Node needs each of them itself. */
const everywhere = new Set([
  ...[
    'libc.so.6',
    'libm.so.6',
    'libdl.so.2',
    'libpthread.so.0',
    'librt.so.1',
    'libgcc_s.so.1',
    'libstdc++.so.6',
  ],
  ...['ld-linux-x86-64.so.2', 'ld-linux-aarch64.so.1'],
]);

export function readElf(path: string): Elf {
  const text = execFileSync('readelf', ['-hdVW', path], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const all = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map((match) => match[1] ?? '');
  const folders = (tag: string): string[] =>
    all(new RegExp(`\\(${tag}\\).*\\[(.*)\\]`, 'g')).flatMap((list) => list.split(':'));
  return {
    machine: all(/Machine: +(.*)/g)[0] ?? '',
    needed: all(/\(NEEDED\).*\[(.*)\]/g),
    rpath: folders('RPATH'),
    runpath: folders('RUNPATH'),
    versions: [...new Set(all(/Name: ((?:GLIBC|GLIBCXX|CXXABI|GCC)_[\d.]+)/g))],
  };
}

/** The newest version with a prefix: `newest('GLIBC', …)` is `2.34`. */
export function newest(prefix: string, elves: Iterable<Elf>): string | undefined {
  const versions = [...elves]
    .flatMap(({ versions: all }) => all)
    .filter((version) => version.startsWith(`${prefix}_`))
    .map((version) => version.slice(prefix.length + 1));
  return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

/**
 * The libraries that files need, and those that they need in turn, without those that are everywhere: name to path.
 * @param folders where to look, the first first
 */
export function closure(files: readonly string[], folders: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (file: string): void => {
    for (const name of readElf(file).needed) {
      if (everywhere.has(name) || found.has(name) || files.some((each) => basename(each) === name)) continue;
      const path = folders.map((folder) => join(folder, name)).find((each) => existsSync(each));
      if (path === undefined) {
        throw new Error(`${basename(file)} needs ${name}, which is in none of ${folders.join(', ')}`);
      }
      found.set(name, realpathSync(path));
      visit(path);
    }
  };
  for (const file of files) visit(file);
  return found;
}
