// Sums over the images that a training has seen: loss and right answers.

import { bestOf } from './evaluate.ts';

/** Sums over images. */
export interface Sums {
  readonly loss: number;
  readonly correct: number;
  readonly images: number;
}

export const noSums: Sums = { loss: 0, correct: 0, images: 0 };

/**
 * What one batch adds.
 * @param loss mean over the batch
 * @param logits [n, classes]
 * @param labels [n], or [n, classes] where images have many
 */
export function sumsOf(
  loss: number,
  logits: Float32Array,
  labels: Int32Array | Uint8Array,
  classes: number,
): Sums {
  const images = logits.length / classes;
  let correct = 0;
  for (let i = 0; i < images; i++) {
    const best = bestOf(logits.subarray(i * classes, (i + 1) * classes), 1)[0] as number;
    const right = labels instanceof Int32Array ? labels[i] === best : labels[i * classes + best] === 1;
    if (right) correct += 1;
  }
  return { loss: loss * images, correct, images };
}

export const addSums = (a: Sums, b: Sums): Sums => ({
  loss: a.loss + b.loss,
  correct: a.correct + b.correct,
  images: a.images + b.images,
});

/** Means over the images; 0 where there are none. */
export const meansOf = ({ loss, correct, images }: Sums): { loss: number; top1: number } =>
  images === 0 ? { loss: 0, top1: 0 } : { loss: loss / images, top1: correct / images };
