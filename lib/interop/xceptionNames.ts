// Xception's layers with weights. One table for everything that reads and writes files of other programs.

import {
  classifier,
  convolution,
  features,
  type LayerEntry,
  type LayerWeight,
  normalization,
  separable,
} from './layerTable.ts';

const separableWithNorm = (name: string, inputs: number, outputs: number): LayerEntry[] => [
  separable(name, inputs, outputs),
  normalization(`${name}_bn`, outputs),
];

/**
 * A block that halves the size: two separable convolutions beside a strided 1x1 shortcut, which has no name in Keras.
 * `created`: how many shortcuts come before.
 */
const downsampling = (
  block: number,
  inputs: number,
  middle: number,
  outputs: number,
  created: number,
): LayerEntry[] => [
  ...separableWithNorm(`block${block}_sepconv1`, inputs, middle),
  ...separableWithNorm(`block${block}_sepconv2`, middle, outputs),
  convolution(`block${block}_shortcut`, inputs, outputs, [1, 1], created),
  normalization(`block${block}_shortcut_bn`, outputs, { created }),
];

const middleBlock = (block: number): LayerEntry[] =>
  [1, 2, 3].flatMap((i) => separableWithNorm(`block${block}_sepconv${i}`, 728, 728));

/**
 * The layers of Xception (Chollet 2017, figure 5) that have weights, in the order of Keras' `model.layers`,
 * by which Keras counts the layers of each class in `.weights.h5`. Without `classes` there is no classifier.
 */
export function xceptionLayers(classes: number | undefined): readonly LayerEntry[] {
  return [
    convolution('block1_conv1', 3, 32, [3, 3]),
    normalization('block1_conv1_bn', 32),
    convolution('block1_conv2', 32, 64, [3, 3]),
    normalization('block1_conv2_bn', 64),
    ...downsampling(2, 64, 128, 128, 0),
    ...downsampling(3, 128, 256, 256, 1),
    ...downsampling(4, 256, 728, 728, 2),
    ...[5, 6, 7, 8, 9, 10, 11, 12].flatMap(middleBlock),
    ...downsampling(13, 728, 728, 1024, 3),
    ...separableWithNorm('block14_sepconv1', 1024, 1536),
    ...separableWithNorm('block14_sepconv2', 1536, features),
    ...classifier(classes),
  ];
}

/** All weights of Xception in our names and shapes, in the order of {@link xceptionLayers}. */
export const xceptionWeights = (classes: number | undefined): readonly LayerWeight[] =>
  xceptionLayers(classes).flatMap((layer) => layer.weights);
