// Inception V3: Szegedy et al. 2015, arXiv 1512.00567, as Keras Applications and torchvision build it: both put together
// the same convolutions, and differ in what the options say. Shapes are for 299 x 299.

import {
  AuxiliaryClassifier,
  avgPool,
  BatchNorm,
  Concat,
  Conv2d,
  channelAffine,
  Dropout,
  globalAvgPool,
  Linear,
  maxPool,
  relu,
  Sequential,
} from '../nn/layers.ts';
import type { Module } from '../nn/module.ts';
import { flag, type OptionsOf } from './options.ts';

/** What of the network is left open. The defaults are Keras'. */
export const inceptionV3Variant = {
  /** The classifier at the side of the last 17 x 17 module (section 4); its loss counts 0.4. Needs 299 pixels to be trained. */
  auxiliary: flag(false),
  /** Normalization with a trainable scale (torchvision). */
  scale: flag(false),
  /** Average pooling that counts the zeros around the image (torchvision). */
  countPadding: flag(false),
  /** Running variance from the unbiased variance of the batch (PyTorch). */
  unbiasedVariance: flag(false),
  /**
   * The input is normalised by ImageNet's mean and deviation, and the network itself brings it to [-1, 1]: torchvision's
   * `transform_input`, on with its published weights.
   */
  transformInput: flag(false),
};

/** Options of {@link inceptionV3Network}. */
export interface InceptionV3Options extends Partial<OptionsOf<typeof inceptionV3Variant>> {
  /** Number of classes. */
  readonly classes: number;
  /** Rate of the dropout before the classifier. Default 0.5. */
  readonly dropout?: number;
  /** Share of the old running statistics that is kept at each step. Default 0.99, as Keras; torchvision: 0.9. */
  readonly batchNormMomentum?: number;
}

/** Of the loss of the classifier at the side: that of the authors' training code; the paper names none. */
const auxiliaryWeight = 0.4;

/** From ImageNet's mean and deviation (red, green, blue, of values in [0, 1]) to [-1, 1]: x · deviation / 0.5 + (mean - 0.5) / 0.5. */
const fromImageNet = {
  scale: [0.229, 0.224, 0.225].map((deviation) => deviation / 0.5),
  shift: [0.485, 0.456, 0.406].map((mean) => (mean - 0.5) / 0.5),
};

type Kernel = readonly [height: number, width: number];

/** The paper's pieces, with one rule of normalization and one of average pooling. */
function parts(options: Omit<InceptionV3Options, 'classes'>) {
  const { scale = false, unbiasedVariance: unbiased = false, countPadding = false } = options;
  const momentum = options.batchNormMomentum ?? 0.99;

  /** A convolution without bias, batch normalization, ReLU. */
  const conv = (
    name: string,
    inputs: number,
    outputs: number,
    kernel: number | Kernel,
    { stride = 1, padding = 'same' }: { stride?: number; padding?: 'same' | 'valid' } = {},
  ) =>
    new Sequential(
      [name, new Conv2d(inputs, outputs, { kernel, stride, padding })],
      [`${name}_bn`, new BatchNorm(outputs, { epsilon: 1e-3, momentum, unbiased, scale })],
      relu(),
    );

  /** The convolutions that halve the grid. */
  const halve = { stride: 2, padding: 'valid' } as const;
  const pooled = () => avgPool(3, 1, 'same', { countPadding });

  /** Block A, figure 5: 5 x 5 beside two 3 x 3. 224 channels and those behind the pooling. */
  const a = (name: string, inputs: number, pool: number) =>
    new Concat(
      conv(`${name}_1x1`, inputs, 64, 1),
      new Sequential(conv(`${name}_5x5_1`, inputs, 48, 1), conv(`${name}_5x5_2`, 48, 64, 5)),
      new Sequential(
        conv(`${name}_3x3dbl_1`, inputs, 64, 1),
        conv(`${name}_3x3dbl_2`, 64, 96, 3),
        conv(`${name}_3x3dbl_3`, 96, 96, 3),
      ),
      new Sequential(pooled(), conv(`${name}_pool`, inputs, pool, 1)),
    );

  /** Block B, figure 10: halves the grid beside a pooling. 480 channels and the input's. */
  const b = (name: string, inputs: number) =>
    new Concat(
      conv(`${name}_3x3`, inputs, 384, 3, halve),
      new Sequential(
        conv(`${name}_3x3dbl_1`, inputs, 64, 1),
        conv(`${name}_3x3dbl_2`, 64, 96, 3),
        conv(`${name}_3x3dbl_3`, 96, 96, 3, halve),
      ),
      maxPool(3, 2, 'valid'),
    );

  /** Block C, figure 6 with n = 7: 7 x 7 as 1 x 7 and 7 x 1. 768 channels from 768. */
  const c = (name: string, inner: number) =>
    new Concat(
      conv(`${name}_1x1`, 768, 192, 1),
      new Sequential(
        conv(`${name}_7x7_1`, 768, inner, 1),
        conv(`${name}_7x7_2`, inner, inner, [1, 7]),
        conv(`${name}_7x7_3`, inner, 192, [7, 1]),
      ),
      new Sequential(
        conv(`${name}_7x7dbl_1`, 768, inner, 1),
        conv(`${name}_7x7dbl_2`, inner, inner, [7, 1]),
        conv(`${name}_7x7dbl_3`, inner, inner, [1, 7]),
        conv(`${name}_7x7dbl_4`, inner, inner, [7, 1]),
        conv(`${name}_7x7dbl_5`, inner, 192, [1, 7]),
      ),
      new Sequential(pooled(), conv(`${name}_pool`, 768, 192, 1)),
    );

  /** Block D: halves the grid again. 512 channels and the input's. */
  const d = (name: string, inputs: number) =>
    new Concat(
      new Sequential(conv(`${name}_3x3_1`, inputs, 192, 1), conv(`${name}_3x3_2`, 192, 320, 3, halve)),
      new Sequential(
        conv(`${name}_7x7x3_1`, inputs, 192, 1),
        conv(`${name}_7x7x3_2`, 192, 192, [1, 7]),
        conv(`${name}_7x7x3_3`, 192, 192, [7, 1]),
        conv(`${name}_7x7x3_4`, 192, 192, 3, halve),
      ),
      maxPool(3, 2, 'valid'),
    );

  /** Block E, figure 7: 3 x 3 as 1 x 3 beside 3 x 1. 2,048 channels. */
  const e = (name: string, inputs: number) => {
    const split = (path: string) =>
      new Concat(conv(`${path}_1x3`, 384, 384, [1, 3]), conv(`${path}_3x1`, 384, 384, [3, 1]));
    return new Concat(
      conv(`${name}_1x1`, inputs, 320, 1),
      new Sequential(conv(`${name}_3x3_1`, inputs, 384, 1), split(`${name}_3x3_2`)),
      new Sequential(
        conv(`${name}_3x3dbl_1`, inputs, 448, 1),
        conv(`${name}_3x3dbl_2`, 448, 384, 3),
        split(`${name}_3x3dbl_3`),
      ),
      new Sequential(pooled(), conv(`${name}_pool`, inputs, 192, 1)),
    );
  };

  /** The classifier at the side of a 17 x 17 grid, figure 8. */
  const auxiliary = (classes: number) =>
    new AuxiliaryClassifier(
      new Sequential(
        avgPool(5, 3, 'valid'), //                                     5 x 5 x 768
        conv('aux_conv1', 768, 128, 1), //                             5 x 5 x 128
        conv('aux_conv2', 128, 768, 5, { padding: 'valid' }), //       1 x 1 x 768
        globalAvgPool(),
        ['aux_predictions', new Linear(768, classes)],
      ),
      auxiliaryWeight,
    );

  return { conv, halve, a, b, c, d, e, auxiliary };
}

/**
 * The network: float images [n, h, w, 3] to logits [n, classes]. 23,817,352 trainable parameters at 1,000 classes with
 * the default options. docs/networks.md says what the 23,626,728 of the Xception paper count.
 */
export function inceptionV3Network(options: InceptionV3Options): Module {
  const { classes, dropout = 0.5 } = options;
  const { conv, halve, a, b, c, d, e, auxiliary } = parts(options);
  // biome-ignore format: a stage and its shape stand on one line, as in the paper's table 1
  return new Sequential(
    // Stem                                                299 x 299 x 3
    ...(options.transformInput === true ? [channelAffine(fromImageNet.scale, fromImageNet.shift)] : []),
    conv('conv1', 3, 32, 3, halve), //                     149 x 149 x 32
    conv('conv2', 32, 32, 3, { padding: 'valid' }), //     147 x 147 x 32
    conv('conv3', 32, 64, 3), //                           147 x 147 x 64
    maxPool(3, 2, 'valid'), //                              73 x 73 x 64
    conv('conv4', 64, 80, 1), //                            73 x 73 x 80
    conv('conv5', 80, 192, 3, { padding: 'valid' }), //     71 x 71 x 192
    maxPool(3, 2, 'valid'), //                              35 x 35 x 192
    // Three modules of figure 5
    a('mixed0', 192, 32), //                                35 x 35 x 256
    a('mixed1', 256, 64), //                                35 x 35 x 288
    a('mixed2', 288, 64), //                                35 x 35 x 288
    b('mixed3', 288), //                                    17 x 17 x 768
    // Four modules of figure 6
    c('mixed4', 128), //                                    17 x 17 x 768
    c('mixed5', 160), //                                    17 x 17 x 768
    c('mixed6', 160), //                                    17 x 17 x 768
    c('mixed7', 192), //                                    17 x 17 x 768
    ...(options.auxiliary === true ? [auxiliary(classes)] : []),
    d('mixed8', 768), //                                     8 x 8 x 1280
    // Two modules of figure 7
    e('mixed9', 1280), //                                    8 x 8 x 2048
    e('mixed10', 2048), //                                   8 x 8 x 2048
    globalAvgPool(), //                                      2048
    new Dropout(dropout),
    ['predictions', new Linear(2048, classes)], //           classes
  );
}
