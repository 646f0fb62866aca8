// Augmentation: which crop, flip and colour change a sample gets. Arithmetic only; pixels are decode.ts's.
import { unitInterval } from '../core/philox.ts';
import type { Augmentation } from './batch.ts';
import { below, Purpose, randomBlock } from './random.ts';

/** Width and height in pixels, after the camera's rotation has been applied. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** A rectangle of whole pixels within an image. */
export interface Rectangle extends ImageSize {
  readonly left: number;
  readonly top: number;
}

/** An affine map of colour: out = matrix · (red, green, blue) · scale + offset, on the scale of 0 to 255. */
export interface ColorMap {
  readonly matrix: readonly (readonly [number, number, number])[];
  readonly scale: number;
  readonly offset: number;
}

/** Area as a fraction of the image's, and width / height, of a random crop. */
export interface CropRange {
  readonly area: readonly [least: number, most: number];
  readonly aspect: readonly [least: number, most: number];
}

const CROPS: Readonly<Record<Exclude<Augmentation, 'none'>, CropRange>> = {
  inception: { area: [0.08, 1], aspect: [3 / 4, 4 / 3] },
  light: { area: [0.8, 1], aspect: [9 / 10, 10 / 9] },
  randaugment: { area: [0.08, 1], aspect: [3 / 4, 4 / 3] },
};

const CROP_TRIES = 10;

/** What identifies a sample's random numbers. */
export interface SampleKey {
  readonly seed: number;
  readonly epoch: number;
  readonly index: number;
}

/**
 * A random crop: area uniform in its range, aspect log-uniform in its own (so that wide and tall are alike),
 * place uniform. Where ten tries do not fit the image, the largest centred rectangle of the allowed aspects.
 */
export function randomCrop(image: ImageSize, range: CropRange, key: SampleKey): Rectangle {
  const { width, height } = image;
  const [leastArea, mostArea] = range.area;
  const [leastAspect, mostAspect] = range.aspect;
  for (let attempt = 0; attempt < CROP_TRIES; attempt++) {
    const words = randomBlock(key.seed, Purpose.crop, key.epoch, key.index, attempt);
    const area = width * height * (leastArea + (mostArea - leastArea) * unitInterval(words[0]!));
    const aspect = leastAspect * (mostAspect / leastAspect) ** unitInterval(words[1]!);
    const cropWidth = Math.round(Math.sqrt(area * aspect));
    const cropHeight = Math.round(Math.sqrt(area / aspect));
    if (cropWidth < 1 || cropHeight < 1 || cropWidth > width || cropHeight > height) continue;
    return {
      left: below(width - cropWidth + 1, words[2]!),
      top: below(height - cropHeight + 1, words[3]!),
      width: cropWidth,
      height: cropHeight,
    };
  }
  const cropWidth = Math.max(1, Math.min(width, Math.round(height * mostAspect)));
  const cropHeight = Math.max(1, Math.min(height, Math.round(width / leastAspect)));
  return centered(image, cropWidth, cropHeight);
}

/** The centred square that holds `fraction` of the shorter edge. */
export function centerCrop(image: ImageSize, fraction: number): Rectangle {
  const edge = Math.max(1, Math.round(Math.min(image.width, image.height) * fraction));
  return centered(image, edge, edge);
}

function centered(image: ImageSize, width: number, height: number): Rectangle {
  return { left: (image.width - width) >> 1, top: (image.height - height) >> 1, width, height };
}

/** The crop of a sample: a function of the image's size, or undefined for the whole image. */
export function augmentationCrop(
  augment: Augmentation,
  key: SampleKey,
): ((image: ImageSize) => Rectangle) | undefined {
  const range = cropRange(augment);
  return range && ((image) => randomCrop(image, range, key));
}

/** The ranges of an augmentation's crops; undefined: the whole image. */
export const cropRange = (augment: Augmentation): CropRange | undefined =>
  augment === 'none' ? undefined : CROPS[augment];

/** Whether a sample is mirrored; an even chance. */
export function augmentationFlip(augment: Augmentation, key: SampleKey): boolean {
  return augment !== 'none' && randomBlock(key.seed, Purpose.flip, key.epoch, key.index)[0]! >= 2 ** 31;
}

/**
 * A random change of colour with the ranges of the Inception reference implementation (TensorFlow,
 * `image_processing.distort_color`): brightness by up to 32 of 255, contrast and saturation by 0.5 to 1.5,
 * hue by up to 0.2 of a turn. Contrast is about mid-grey, and hue turns in the plane of equal luminance, so
 * the whole is one affine map of (red, green, blue), which costs one pass over the pixels.
 */
export function randomColor(key: SampleKey): ColorMap {
  const words = randomBlock(key.seed, Purpose.color, key.epoch, key.index);
  const within = (least: number, most: number, word: number) => least + (most - least) * unitInterval(word);
  return colorMap({
    brightness: within(-32, 32, words[0]!),
    contrast: within(0.5, 1.5, words[1]!),
    saturation: within(0.5, 1.5, words[2]!),
    hue: within(-0.2, 0.2, words[3]!),
  });
}

// Luminance, its complement and the turn by a right angle, as `saturate` and `hueRotate` of
// https://www.w3.org/TR/filter-effects-1/#feColorMatrixElement have them.
const LUMINANCE = [0.213, 0.715, 0.072] as const;
const QUARTER_TURN = [
  [-0.213, -0.715, 0.928],
  [0.143, 0.14, -0.283],
  [-0.787, 0.715, 0.072],
] as const;

/**
 * The colour map of a change of brightness (added, of 255), contrast (factor about 127.5), saturation
 * (factor) and hue (in turns). Grey stays grey under saturation and hue; so with luminance L = 1 · w and
 * quarter turn K, where K · 1 = 0, their product is L + saturation (cos (I - L) + sin K).
 */
export function colorMap(change: {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  readonly hue: number;
}): ColorMap {
  const cos = Math.cos(2 * Math.PI * change.hue);
  const sin = Math.sin(2 * Math.PI * change.hue);
  const entry = (row: 0 | 1 | 2, column: 0 | 1 | 2) => {
    const luminance = LUMINANCE[column];
    const rest = (row === column ? 1 : 0) - luminance;
    return luminance + change.saturation * (cos * rest + sin * QUARTER_TURN[row][column]);
  };
  const row = (at: 0 | 1 | 2) => [entry(at, 0), entry(at, 1), entry(at, 2)] as const;
  return {
    matrix: [row(0), row(1), row(2)],
    scale: change.contrast,
    offset: change.brightness + 127.5 * (1 - change.contrast),
  };
}
