// Some images of a batch, one below the other in a PNG, with the names of their labels: what the network sees.

import sharp from 'sharp';
import type { Batch } from '../data/batch.ts';

/** Images of a batch as they went to the device. */
export interface SampleSheet {
  /** Step that was trained on them. */
  readonly step: number;
  /** Of one image, in pixels. */
  readonly width: number;
  readonly height: number;
  /** What each image is labelled with, from top to bottom. */
  readonly labels: readonly string[];
  /** PNG of base64. */
  readonly png: string;
}

/** Images on a sheet. */
const most = 12;

/** Bytes of the first images: as they are, or the range of float32 values from black to white. */
function pixelsOf({ images }: Batch, count: number): Uint8Array {
  if (images instanceof Uint8Array) return images.slice(0, count);
  const values = images.subarray(0, count);
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const scale = high > low ? 255 / (high - low) : 0;
  return Uint8Array.from(values, (value) => (value - low) * scale);
}

function labelOf({ labels, shape: [n] }: Batch, i: number, classes: readonly string[]): string {
  const name = (label: number) => classes[label] ?? String(label);
  if (labels instanceof Int32Array) return name(labels[i] as number);
  const width = labels.length / n;
  const names = Array.from(labels.subarray(i * width, (i + 1) * width), (share, label) => ({ share, label }))
    .filter(({ share }) => share > 0)
    .map(({ share, label }) => (share === 1 ? name(label) : `${name(label)} ${Math.round(100 * share)} %`));
  return names.length === 0 ? 'none' : names.join(', ');
}

/**
 * Copies the first images of a batch at once, and encodes them on a thread of their own.
 * @param classes names of the labels; where one is missing its number stands for it
 */
export function sampleSheet(batch: Batch, step: number, classes: readonly string[]): Promise<SampleSheet> {
  const [n, height, width] = batch.shape;
  const count = Math.min(n, most);
  const pixels = pixelsOf(batch, count * height * width * 3);
  const labels = Array.from({ length: count }, (_, i) => labelOf(batch, i, classes));
  return sharp(pixels, { raw: { width, height: height * count, channels: 3 } })
    .png({ compressionLevel: 4 })
    .toBuffer()
    .then((png) => ({ step, width, height, labels, png: png.toString('base64') }));
}
