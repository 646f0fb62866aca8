// Xception, as figure 5 of Chollet 2017 (arXiv 1610.02357) and Keras Applications build it. Shapes are for 299 x 299.

import {
  BatchNorm,
  type BatchNormOptions,
  Conv2d,
  Dropout,
  elu,
  globalAvgPool,
  Linear,
  maxPool,
  Residual,
  relu,
  SeparableConv2d,
  Sequential,
} from '../nn/layers.ts';
import type { Module } from '../nn/module.ts';
import { choice, flag, type OptionsOf, positive, wholeOr, wholes } from './options.ts';

/**
 * What of the network is left open: the experiments of the paper, and where timm's `legacy_xception` computes otherwise. The
 * defaults are figure 5 and Keras.
 */
export const xceptionVariant = {
  /** `vgg`: a plain stack of separable convolutions, as section 4.6 mentions; see separableVgg.ts. */
  style: choice(['xception', 'vgg'], 'xception'),
  /** False: modules without shortcuts (section 4.6, figure 9). */
  residual: flag(true),
  /** Between depthwise and pointwise convolution (section 4.7, figure 10). */
  intermediateActivation: choice(['none', 'relu', 'elu'], 'none'),
  /** Units of layers between the features and the classifier (section 3); 4096,4096 in figures 7 and 8. */
  fullyConnected: wholes(1, []),
  /**
   * Segments of the channels that the spatial convolutions do not mix (sections 1.2 and 5): 1 is a regular convolution,
   * `channels` a depthwise one. A layer whose channels it does not divide takes the largest divisor below.
   */
  segments: wholeOr(1, ['channels'], 'channels'),
  /**
   * Padding of the poolings that halve the image: `tensorflow` puts an odd row and column at the bottom and right,
   * `symmetric` has one on every side (PyTorch). They differ where the image has an even number of rows or columns.
   */
  samePadding: choice(['tensorflow', 'symmetric'], 'tensorflow'),
  /** Of batch normalization, added to the variance; 1e-5 in timm. */
  epsilon: positive(1e-3),
  /** Running variance from the unbiased variance of the batch (PyTorch). */
  unbiasedVariance: flag(false),
};

/** Options of {@link xceptionNetwork}. */
export interface XceptionOptions extends Partial<OptionsOf<typeof xceptionVariant>> {
  /** Number of classes. */
  readonly classes: number;
  /** Rate of the dropout before the classifier. Default 0.5, as section 4.3 of the paper. */
  readonly dropout?: number;
  /**
   * Share of the old running statistics that is kept at each step. Default 0.99, as Keras. They start at mean 0 and
   * variance 1, so after n steps 0.99ⁿ of that start is left: trainings of a few hundred steps want 0.9.
   */
  readonly batchNormMomentum?: number;
}

/** How many groups a spatial convolution over `channels` has: the largest divisor that is not above `segments`. */
export function groupsOf(channels: number, segments: number | 'channels'): number {
  if (segments === 'channels') return channels;
  let groups = Math.min(segments, channels);
  while (channels % groups !== 0) groups -= 1;
  return groups;
}

/** How all normalizations of a network are, as the options say. */
function normalizationOf(options: Omit<XceptionOptions, 'classes'>): BatchNormOptions {
  const { batchNormMomentum: momentum = 0.99, epsilon = 1e-3, unbiasedVariance: unbiased = false } = options;
  return { momentum, epsilon, unbiased };
}

/** A separable convolution and its normalization, as the options say. */
export function separableParts(options: Omit<XceptionOptions, 'classes'>) {
  const { intermediateActivation, segments = 'channels' } = options;
  const normalization = normalizationOf(options);
  const between = { relu, elu, none: () => undefined }[intermediateActivation ?? 'none'];
  return (name: string, inputs: number, outputs: number) => {
    const groups = groupsOf(inputs, segments);
    return new Sequential(
      [
        name,
        new SeparableConv2d(inputs, outputs, { kernel: 3, padding: 'same', groups, between: between() }),
      ],
      [`${name}_bn`, new BatchNorm(outputs, normalization)],
    );
  };
}

/** Fully connected layers with ReLU, if any, dropout and logistic regression: features [n, c] to logits [n, classes]. */
export function head(features: number, options: XceptionOptions): Module {
  const { classes, dropout = 0.5, fullyConnected = [] } = options;
  const widths = [features, ...fullyConnected];
  return new Sequential(
    ...fullyConnected.flatMap((units, i) => [
      [`fc${i + 1}`, new Linear(widths[i] as number, units)] as const,
      relu(),
    ]),
    new Dropout(dropout),
    ['predictions', new Linear(widths.at(-1) as number, classes)],
  );
}

/** The parts of figure 5. */
function parts(options: XceptionOptions) {
  const { residual = true, samePadding = 'tensorflow' } = options;
  const normalization = normalizationOf(options);
  const separable = separableParts(options);

  /** "All Convolution and SeparableConvolution layers are followed by batch normalization" (figure 5). */
  const conv = (name: string, inputs: number, outputs: number, stride = 1) =>
    new Sequential(
      [name, new Conv2d(inputs, outputs, { kernel: 3, stride, padding: 'valid' })],
      [`${name}_bn`, new BatchNorm(outputs, normalization)],
    );

  /** A module of the entry or exit flow: two separable convolutions, pooled, beside a strided 1 x 1 convolution. */
  const downsample = (
    name: string,
    inputs: number,
    inner: number,
    outputs: number,
    first: Module[] = [relu()],
  ) => {
    const main = new Sequential(
      ...first,
      separable(`${name}_sepconv1`, inputs, inner),
      relu(),
      separable(`${name}_sepconv2`, inner, outputs),
      maxPool(3, 2, samePadding === 'symmetric' ? 1 : 'same'),
    );
    if (!residual) return main;
    const shortcut = new Sequential(
      [`${name}_shortcut`, new Conv2d(inputs, outputs, { kernel: 1, stride: 2, padding: 'same' })],
      [`${name}_shortcut_bn`, new BatchNorm(outputs, normalization)],
    );
    return new Residual(main, shortcut);
  };

  /** A module of the middle flow. */
  const middle = (name: string) => {
    const main = new Sequential(
      ...[1, 2, 3].flatMap((i) => [relu(), separable(`${name}_sepconv${i}`, 728, 728)]),
    );
    return residual ? new Residual(main) : main;
  };

  return { conv, separable, downsample, middle };
}

/** The network: float images [n, h, w, 3] to logits [n, classes]. 36 convolutional layers in 14 modules. */
export function xceptionNetwork(options: XceptionOptions): Module {
  const { conv, separable, downsample, middle } = parts(options);
  // biome-ignore format: a stage and its shape stand on one line, as in the figure
  return new Sequential(
    // Entry flow                                       299 x 299 x 3
    conv('block1_conv1', 3, 32, 2), relu(), //          149 x 149 x 32
    conv('block1_conv2', 32, 64), relu(), //            147 x 147 x 64
    downsample('block2', 64, 128, 128, []), //           74 x 74 x 128
    downsample('block3', 128, 256, 256), //              37 x 37 x 256
    downsample('block4', 256, 728, 728), //              19 x 19 x 728
    // Middle flow: eight times                          19 x 19 x 728
    ...[5, 6, 7, 8, 9, 10, 11, 12].map((i) => middle(`block${i}`)),
    // Exit flow
    downsample('block13', 728, 728, 1024), //            10 x 10 x 1024
    separable('block14_sepconv1', 1024, 1536), relu(), // 10 x 10 x 1536
    separable('block14_sepconv2', 1536, 2048), relu(), // 10 x 10 x 2048
    globalAvgPool(), //                                  2048
    head(2048, options), //                              classes
  );
}
