// A plain stack of separable convolutions without residual connections, in the layout of VGG-16 (Simonyan & Zisserman 2014,
// arXiv 1409.1556, configuration D). Section 4.6 of Chollet 2017 reports good results with such a network and does not
// describe it further; what is taken over from Xception is said at each place. Shapes are for 299 x 299.

import { globalAvgPool, maxPool, relu, Sequential } from '../nn/layers.ts';
import type { Module } from '../nn/module.ts';
import { head, separableParts, type XceptionOptions } from './xception.ts';

/** [number of layers, channels] of each stage, between which the image is halved. */
const stages = [
  [2, 64], //    299 x 299, then pooled to 149 x 149
  [2, 128], //   149 x 149,                 74 x 74
  [3, 256], //    74 x 74,                  37 x 37
  [3, 512], //    37 x 37,                  18 x 18
  [3, 512], //    18 x 18,                   9 x 9
] as const;

/**
 * The network: float images [n, h, w, 3] to logits [n, classes]. 13 separable convolutions, each followed by batch
 * normalization and ReLU; the mean over the image and the classifier as in Xception, in place of VGG's two fully
 * connected layers, which the option `fullyConnected` gives back.
 */
export function separableVggNetwork(options: XceptionOptions): Module {
  const separable = separableParts(options);
  let channels = 3;
  const layers = stages.flatMap(([count, outputs], stage) => {
    const stack: Module[] = [];
    for (let i = 1; i <= count; i += 1) {
      stack.push(separable(`block${stage + 1}_sepconv${i}`, channels, outputs), relu());
      channels = outputs;
    }
    return [...stack, maxPool(2, 2, 'valid')];
  });
  return new Sequential(...layers, globalAvgPool(), head(channels, options));
}
