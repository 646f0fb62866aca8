// A small network and small data sets for the tests of training.

import { Classifier } from '../../lib/classify/classifier.ts';
import { uniform } from '../../lib/core/philox.ts';
import { arrays } from '../../lib/data/arrays.ts';
import type { Dataset } from '../../lib/data/batch.ts';
import {
  BatchNorm,
  Conv2d,
  Dropout,
  globalAvgPool,
  Linear,
  relu,
  SeparableConv2d,
  Sequential,
} from '../../lib/nn/layers.ts';

/** Images [n, 8, 8, 3] to three classes; every kind of layer that Xception has. */
export const tinyClassifier = (options: { dropout?: number; classes?: number } = {}): Classifier => {
  const { dropout = 0.2, classes = 3 } = options;
  return new Classifier(
    new Sequential(
      ['conv', new Conv2d(3, 8, { kernel: 3, stride: 2, padding: 'same' })],
      ['bn', new BatchNorm(8)],
      relu(),
      ['sepconv', new SeparableConv2d(8, 12, { kernel: 3, padding: 'same' })],
      ['sepconv_bn', new BatchNorm(12)],
      relu(),
      globalAvgPool(),
      new Dropout(dropout),
      ['predictions', new Linear(12, classes)],
    ),
    { arch: 'tiny', classes, size: 8, preprocessing: 'keras', options: { dropout } },
  );
};

/** uint8 images of three classes that a small network can tell apart: each is bright in one channel. */
export function brightImages(n: number, seed = 1): { data: Uint8Array; shape: number[]; labels: Int32Array } {
  const data = new Uint8Array(n * 8 * 8 * 3);
  const labels = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const label = Math.floor(uniform(seed, i, 1) * 3);
    labels[i] = label;
    for (let j = 0; j < 64 * 3; j++) {
      const noise = uniform(seed, i, 2, j) * 120;
      data[i * 192 + j] = noise + (j % 3 === label ? 100 : 0);
    }
  }
  return { data, shape: [n, 8, 8, 3], labels };
}

/** {@link brightImages} as a data set. */
export function brightDataset(n: number, seed = 1): Dataset {
  const { data, shape, labels } = brightImages(n, seed);
  return arrays({ data, shape }, labels, { classes: ['red', 'green', 'blue'] });
}
