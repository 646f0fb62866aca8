// Mixup and CutMix: what is mixed into each image of a batch, as a function of (seed, epoch, number of the batch).
import { unitInterval } from '../core/philox.ts';
import type { ImageSize } from './augment.ts';
import type { Box, ImageMix } from './pool.ts';
import { Purpose, randomBlock } from './random.ts';

/** How the images of one batch are mixed. */
export interface BatchMix extends ImageMix {
  /** An image's own share of its pixels, which is that of its label. */
  readonly share: number;
}

/** What identifies a batch's random numbers, and how strongly it is mixed. */
export interface MixKey {
  readonly seed: number;
  readonly epoch: number;
  /** Number of the batch in its epoch. */
  readonly batch: number;
  /** Parameters of the Beta distributions; 0: not that way. */
  readonly mixup: number;
  readonly cutmix: number;
}

/** Tries of a rejection that succeeds at least half of the time; that none does has a chance of 10^-19. */
const maxTries = 64;

/** The mix of a batch; undefined: none. */
export function drawMix(key: MixKey, image: ImageSize): BatchMix | undefined {
  const { mixup, cutmix } = key;
  if (mixup === 0 && cutmix === 0) return undefined;
  const words = randomBlock(key.seed, Purpose.mix, key.epoch, key.batch);
  const cut = mixup === 0 || (cutmix > 0 && words[0]! >= 2 ** 31);
  const lambda = beta(cut ? cutmix : mixup, key);
  if (!cut) {
    const fraction = Math.round(lambda * 65536);
    return { fraction, share: fraction / 65536 };
  }
  const box = cutBox(lambda, image, unitInterval(words[1]!), unitInterval(words[2]!));
  const { left, top, right, bottom } = box;
  const share = 1 - ((right - left) * (bottom - top)) / (image.width * image.height);
  // Without a pixel in it there is no box, and every image is its own.
  return share === 1 ? { fraction: 65536, share } : { fraction: 0, box, share };
}

/**
 * The rectangle of CutMix, algorithm A.1 of its paper: both edges are sqrt(1 - λ) of the image's, the centre is uniform,
 * and what is outside of the image is cut off.
 */
export function cutBox(lambda: number, { width, height }: ImageSize, x: number, y: number): Box {
  const ratio = Math.sqrt(1 - lambda);
  const half = { x: Math.floor(width * ratio) / 2, y: Math.floor(height * ratio) / 2 };
  const centre = { x: Math.floor(x * width), y: Math.floor(y * height) };
  const within = (value: number, most: number) => Math.min(most, Math.max(0, Math.floor(value)));
  return {
    left: within(centre.x - half.x, width),
    top: within(centre.y - half.y, height),
    right: within(centre.x + half.x, width),
    bottom: within(centre.y + half.y, height),
  };
}

/**
 * A sample of Beta(a, a): Jöhnk's way up to a = 1, by logarithms, since u^(1/a) may be too small for a number; Cheng's
 * algorithm BB above ("Generating beta variates with nonintegral shape parameters", CACM 21, 1978).
 */
function beta(a: number, { seed, epoch, batch }: MixKey): number {
  const open = (word: number) => (word + 0.5) / 2 ** 32;
  const b = a > 1 ? Math.sqrt((2 * a - 2) / (2 * a * a - 2 * a)) : 0;
  for (let attempt = 1; attempt <= maxTries; attempt++) {
    const words = randomBlock(seed, Purpose.mix, epoch, batch, attempt);
    const [u, v] = [open(words[0]!), open(words[1]!)];
    if (a <= 1) {
      const [logX, logY] = [Math.log(u) / a, Math.log(v) / a];
      const most = Math.max(logX, logY);
      const logSum = most + Math.log(Math.exp(logX - most) + Math.exp(logY - most));
      if (logSum <= 0) return Math.exp(logX - logSum);
    } else {
      const t = b * Math.log(u / (1 - u));
      const w = a * Math.exp(t);
      const r = (a + 1 / b) * t - Math.log(4);
      if (r + 2 * a * Math.log((2 * a) / (a + w)) >= Math.log(u * u * v)) return w / (a + w);
    }
  }
  return 0.5;
}
