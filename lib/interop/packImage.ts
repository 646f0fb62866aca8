// An image on its way into a shard: byte for byte, or smaller and as JPEG. Knows no archive.

import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import sharp from 'sharp';
import { decodeImage, imageInfo, MAX_FILE_BYTES } from '../data/decode.ts';

/** How images are made smaller: a square of `size` pixels, or the shorter edge `shorter` pixels, aspect kept. */
export type Resizing = { readonly size: number } | { readonly shorter: number };

/** The bytes that go into a shard. */
export interface EncodedImage {
  readonly bytes: Uint8Array;
  /** Ending of the file in the shard, without the dot. */
  readonly kind: string;
}

/** An image with what is kept of it. */
export interface PackedImage extends EncodedImage {
  readonly label: number;
  /** Its path within the folder. */
  readonly source: string;
}

/** What makes the JPEGs; another version may make other bytes. */
export const encoderVersion = `sharp ${sharp.versions.sharp ?? ''}, libvips ${sharp.versions.vips}`.replace(
  ' ,',
  ',',
);

/** Edge to which images are decoded only to see that they can be. */
const glance = 8;

/** Width and height of an image by a rule; undefined: it stays as it is. */
function targetOf(
  { width, height }: { readonly width: number; readonly height: number },
  resize: Resizing,
): { width: number; height: number } | undefined {
  if ('size' in resize) return { width: resize.size, height: resize.size };
  const factor = resize.shorter / Math.min(width, height);
  if (factor >= 1) return undefined;
  const scaled = (edge: number) => Math.max(1, Math.round(edge * factor));
  return { width: scaled(width), height: scaled(height) };
}

/**
 * Reads an image and makes it smaller where that is asked for: then the camera's rotation is applied, transparency laid over
 * white, and profiles and notes left out. What stays byte for byte is decoded all the same, to see that it can be.
 *
 * @param quality of JPEGs, 1 to 100
 * @throws UnreadableImageError
 */
export async function packImage(
  file: string,
  resize: Resizing | undefined,
  quality: number,
): Promise<EncodedImage> {
  const size = resize === undefined ? undefined : targetOf(await imageInfo(file), resize);
  if (size !== undefined) {
    const pixels = await decodeImage(file, size);
    const image = sharp(pixels, { raw: { ...size, channels: 3 } });
    return { bytes: await image.jpeg({ quality }).toBuffer(), kind: 'jpg' };
  }
  await decodeImage(file, { width: glance, height: glance });
  const bytes = await readFile(file);
  if (bytes.length > MAX_FILE_BYTES) throw new Error(`${file}: grew while it was read`);
  const ending = extname(file).slice(1).toLowerCase();
  return { bytes, kind: ending === 'jpeg' ? 'jpg' : ending };
}
