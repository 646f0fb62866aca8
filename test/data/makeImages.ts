// Test images, made by formulas, so that every kind of file can be written where a test needs it.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createDeflate } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';

/** A folder that is removed when the test file is done. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'depthwise-data-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Writes a file, making its folder. */
export function put(path: string, bytes: Uint8Array | string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

/** One colour. */
export function plain(width: number, height: number, color: readonly [number, number, number]): Sharp {
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < pixels.length; i++) pixels[i] = color[i % 3]!;
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

/** Smooth colour gradients: red grows to the right, green downwards, blue with `tone`. */
export function gradient(width: number, height: number, tone: number): Sharp {
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      pixels.set([(255 * x) / (width - 1), (255 * y) / (height - 1), tone], (y * width + x) * 3);
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

/** A folder of `counts` gradient images per class, of varying sizes, as JPEG; returns the paths in order. */
export async function putClasses(dir: string, counts: Readonly<Record<string, number>>): Promise<string[]> {
  const paths: string[] = [];
  let number = 0;
  for (const [name, count] of Object.entries(counts)) {
    for (let i = 0; i < count; i++, number++) {
      const image = gradient(40 + ((number * 7) % 30), 36 + ((number * 11) % 30), (number * 37) % 256);
      paths.push(put(join(dir, name, `${String(i).padStart(3, '0')}.jpg`), await image.jpeg().toBuffer()));
    }
  }
  return paths;
}

/** The PNG of a black square at 1 bit per pixel: 900 megapixels in 110 KB for an edge of 30,000. */
export async function bombPng(edge: number): Promise<Buffer> {
  const row = Buffer.alloc(Math.ceil(edge / 8) + 1); // with the filter byte
  const rows = (function* () {
    for (let y = 0; y < edge; y++) yield row;
  })();
  const data: Buffer[] = [];
  await pipeline(
    Readable.from(rows),
    createDeflate({ level: 9 }),
    async (compressed: AsyncIterable<Buffer>) => {
      for await (const piece of compressed) data.push(piece);
    },
  );
  const header = Buffer.alloc(13);
  header.writeUInt32BE(edge, 0);
  header.writeUInt32BE(edge, 4);
  header[8] = 1; // bits per pixel; the zero after it: grey
  return pngFile([
    ['IHDR', header],
    ['IDAT', Buffer.concat(data)],
    ['IEND', Buffer.alloc(0)],
  ]);
}

/** A PNG file of these chunks. */
export function pngFile(chunks: readonly (readonly [type: string, data: Uint8Array])[]): Buffer {
  const parts = [Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')];
  for (const [type, data] of chunks) {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    const check = Buffer.alloc(4);
    check.writeUInt32BE(crc32(body));
    parts.push(length, body, check);
  }
  return Buffer.concat(parts);
}
