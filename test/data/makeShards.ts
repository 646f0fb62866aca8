// Test archives: shards of gradient images, written by this package's own headers.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { paddedLength, type TarBytes, tarEnd, tarHeader } from '../../lib/data/tar.ts';
import { gradient, put } from './makeImages.ts';

/** An archive of these files. */
export function tarOf(files: readonly (readonly [name: string, contents: Uint8Array | string])[]): Buffer {
  const pieces: Uint8Array[] = [];
  for (const [name, contents] of files) {
    const bytes = Buffer.from(contents);
    pieces.push(
      tarHeader(name, bytes.length),
      bytes,
      Buffer.alloc(paddedLength(bytes.length) - bytes.length),
    );
  }
  return Buffer.concat([...pieces, tarEnd]);
}

/** A header whose bytes were changed, with the checksum that fits it. */
export function withSum(header: Uint8Array): Buffer {
  const block = Buffer.from(header);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** An archive in memory. */
export const inMemory = (bytes: Uint8Array): TarBytes => ({
  size: bytes.length,
  read: (position, length) => bytes.subarray(position, Math.min(bytes.length, position + length)),
});

/** The bytes of gradient image `number`, JPEG. */
export const imageBytes = (number: number): Promise<Buffer> =>
  gradient(40 + ((number * 7) % 30), 36 + ((number * 11) % 30), (number * 37) % 256)
    .jpeg()
    .toBuffer();

/** Writes shards of `counts` samples each, labelled by number in turn; the images are `imageBytes(0)` and on. */
export async function putShards(dir: string, counts: readonly number[], classes: number): Promise<string[]> {
  const paths: string[] = [];
  let number = 0;
  for (const [shard, count] of counts.entries()) {
    const files: [string, Uint8Array | string][] = [];
    for (let i = 0; i < count; i++, number++) {
      const key = String(number).padStart(6, '0');
      files.push([`${key}.jpg`, await imageBytes(number)], [`${key}.cls`, String(number % classes)]);
    }
    paths.push(put(join(dir, `a-${String(shard).padStart(6, '0')}.tar`), tarOf(files)));
  }
  return paths;
}

/** Whether a program can be started. */
export function has(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Packs these files, in this order, with the system's tar. */
export function gnuTar(
  archive: string,
  dir: string,
  files: readonly string[],
  flags: readonly string[],
): Buffer {
  execFileSync('tar', [
    '-cf',
    archive,
    ...flags,
    '-C',
    dir,
    ...files.map((file) => relative(dir, file) || '.'),
  ]);
  return readFileSync(archive);
}
