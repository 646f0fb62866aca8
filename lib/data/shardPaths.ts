// Names of shards: lists, folders, and patterns with braces, as WebDataset writes them.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError, DataError } from '../core/errors.ts';
import { byCodeUnit } from './imageFolder.ts';

/** More shards than any data set has. */
const maximumShards = 1_000_000;

/** What `depthwise pack` keeps in the folder that it makes. */
export const packFile = 'pack.json';

const isShard = (name: string): boolean => /\.tar$/i.test(name) && !name.startsWith('.');

/** Whether a path is meant as shards rather than as a folder of classes: an archive, or a pattern of such. */
export const looksLikeShards = (path: string): boolean => /\.tar$/i.test(path);

/** Names of the shards in a folder, in the order of their names; none where it cannot be listed. */
export async function shardsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter(isShard).sort(byCodeUnit);
}

/** Whether a folder holds shards, or what `pack` has made of them so far. */
export async function isShardFolder(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((): string[] => []);
  return names.includes(packFile) || names.some(isShard);
}

/** `000..012` and `a,b` of a pair of braces; undefined where it is neither, and the braces are part of the name. */
function choices(inside: string): string[] | undefined {
  const range = /^(\d{1,9})\.\.(\d{1,9})$/.exec(inside);
  if (range === null) return inside.includes(',') ? inside.split(',') : undefined;
  const [first, last] = [range[1] as string, range[2] as string];
  const [from, to] = [Number(first), Number(last)];
  const count = Math.abs(to - from) + 1;
  if (count > maximumShards)
    throw new ArgumentError(`{${inside}}: ${count} names; expected at most ${maximumShards}`);
  // As bash: padded where one of the ends is.
  const width = [first, last].some((text) => text.length > 1 && text.startsWith('0'))
    ? Math.max(first.length, last.length)
    : 0;
  const step = from <= to ? 1 : -1;
  return Array.from({ length: count }, (_, i) => String(from + i * step).padStart(width, '0'));
}

/**
 * The names that a pattern stands for: `a-{000..063}.tar` is 64 of them, `{train,more}-0.tar` two, as in a shell.
 * @throws ArgumentError for more than a million
 */
export function expandBraces(pattern: string): string[] {
  let [names, rest] = [[''], pattern];
  for (;;) {
    const found = /^([^{]*)\{([^{}]*)\}/.exec(rest);
    const inside = found === null ? undefined : choices(found[2] as string);
    if (found === null || inside === undefined) {
      const literal = found === null ? rest : found[0];
      names = names.map((name) => name + literal);
      if (found === null) return names;
    } else {
      if (names.length * inside.length > maximumShards) {
        throw new ArgumentError(`${pattern}: more than ${maximumShards} names`);
      }
      names = names.flatMap((name) => inside.map((choice) => `${name}${found[1]}${choice}`));
    }
    rest = rest.slice((found as RegExpExecArray)[0].length);
  }
}

/**
 * The archives that paths stand for, in their order: archives themselves, patterns with braces, and folders, of which all
 * `.tar` are taken in the order of their names.
 *
 * @throws DataError for a folder without shards, a path that is not there, and a shard that is named twice
 */
export async function shardFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    // What is there is what is meant: a name may hold braces.
    const kind = await stat(path).catch(() => undefined);
    if (kind?.isDirectory()) {
      const names = await shardsIn(path);
      if (names.length === 0) {
        throw new DataError(`${path}: no shards in it; expected .tar files`, {
          file: path,
          code: 'SHARD_FOLDER',
        });
      }
      for (const name of names) files.push(join(path, name));
    } else files.push(...(kind === undefined ? expandBraces(path) : [path]));
  }
  const seen = new Set<string>();
  for (const file of files) {
    if (seen.has(file)) throw new DataError(`${file}: is named twice`, { file, code: 'SHARD_TWICE' });
    seen.add(file);
  }
  if (files.length === 0) throw new ArgumentError('shards: expected at least one path');
  return files;
}
