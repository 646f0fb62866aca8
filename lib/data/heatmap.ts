// Heat over a picture: a coarse map of values from 0 to 1, drawn over an image as colour, as a PNG.

import sharp from 'sharp';
import { ArgumentError } from '../core/errors.ts';

/** Values over an image, in [0, 1]; [height, width], row after row. */
export interface HeatMap {
  /** [height, width], row after row: 0 for nothing, 1 for most. */
  readonly map: Float32Array;
  /** Rows. */
  readonly height: number;
  /** Columns. */
  readonly width: number;
}

/** An image in memory: uint8 [height, width, 3], red green blue. */
export interface Picture {
  readonly data: Uint8Array;
  readonly height: number;
  readonly width: number;
}

/** Colour and its share of the picture at each value: nothing, then violet, red, orange, yellow. Lightness rises throughout. */
const stops = [
  { at: 0, color: [40, 10, 90], share: 0 },
  { at: 0.25, color: [96, 20, 130], share: 0.35 },
  { at: 0.5, color: [200, 40, 90], share: 0.5 },
  { at: 0.75, color: [245, 125, 30], share: 0.6 },
  { at: 1, color: [255, 235, 90], share: 0.7 },
] as const;

/** How much of its colour the picture keeps beneath, so that the heat's stands out. */
const kept = 0.45;

/** Colour [red, green, blue] and share of a value. */
export function heatColor(value: number): {
  color: readonly [number, number, number];
  share: number;
} {
  const v = Math.min(1, Math.max(0, value));
  const above = Math.max(
    1,
    stops.findIndex(({ at }) => at >= v),
  );
  const low = stops[above - 1] as (typeof stops)[number];
  const high = stops[above] as (typeof stops)[number];
  const t = (v - low.at) / (high.at - low.at);
  const mix = (a: number, b: number) => a + t * (b - a);
  const [r, g, b] = low.color;
  const [r2, g2, b2] = high.color;
  return { color: [mix(r, r2), mix(g, g2), mix(b, b2)], share: mix(low.share, high.share) };
}

/** Weights of the four neighbours of a place between the middle two: Catmull and Rom 1974. Smooth, and exact at the cells. */
const cubic = (t: number): readonly [number, number, number, number] => [
  (t * (2 * t - 1 - t * t)) / 2,
  (2 + t * t * (3 * t - 5)) / 2,
  (t * (1 + 4 * t - 3 * t * t)) / 2,
  (t * t * (t - 1)) / 2,
];

/** The value at a place, y and x in [0, 1]: cubic, with values in the middles of cells and the outer ones going on to the edge. */
export function sampleMap({ map, height, width }: HeatMap, y: number, x: number): number {
  const place = (at: number, extent: number) => Math.min(extent - 1, Math.max(0, at * extent - 0.5));
  const [row, column] = [place(y, height), place(x, width)];
  const [top, left] = [Math.floor(row), Math.floor(column)];
  const [down, across] = [cubic(row - top), cubic(column - left)];
  const within = (i: number, extent: number) => Math.min(extent - 1, Math.max(0, i));
  let sum = 0;
  down.forEach((weight, i) => {
    const start = within(top + i - 1, height) * width;
    across.forEach((other, j) => {
      sum += weight * other * (map[start + within(left + j - 1, width)] as number);
    });
  });
  return Math.min(1, Math.max(0, sum));
}

/**
 * The picture with the map stretched over it.
 * @returns a PNG of the picture's size
 * @throws ArgumentError where the data do not have the size that is said
 */
export async function heatOverlay(picture: Picture, heat: HeatMap): Promise<Uint8Array> {
  const { data, height, width } = picture;
  if (data.length !== height * width * 3 || heat.map.length !== heat.height * heat.width) {
    throw new ArgumentError(
      `heatOverlay: expected ${height} x ${width} x 3 bytes and ${heat.height} x ${heat.width} values, ` +
        `got ${data.length} and ${heat.map.length}`,
    );
  }
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 3;
      const { color, share } = heatColor(sampleMap(heat, (y + 0.5) / height, (x + 0.5) / width));
      const [r = 0, g = 0, b = 0] = data.subarray(at, at + 3);
      const grey = 0.299 * r + 0.587 * g + 0.114 * b; // luma of ITU-R BT.601
      for (let c = 0; c < 3; c++) {
        const base = grey + kept * ((data[at + c] as number) - grey);
        out[at + c] = Math.round(base + share * ((color[c] as number) - base));
      }
    }
  }
  return await sharp(out, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
