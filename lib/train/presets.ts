// Recipes by name: those of the Xception paper for both networks and both data sets, and two for little data.
// "Section" is one of Chollet 2017 (arXiv 1610.02357).

import type { Recipe } from './recipe.ts';

/**
 * What both networks were trained with on ImageNet. The paper does not say how many images a step had, and 60 GPUs each
 * took their share of it (section 4.4): the rate belongs to a batch much larger than 32.
 */
const imagenet = {
  /** Section 4.2. */
  optimizer: 'sgd',
  /** Section 4.2. */
  momentum: 0.9,
  /** Section 4.2: the initial rate. */
  lr: 0.045,
  /** Section 4.2: "decay of rate 0.94 every 2 epochs". */
  schedule: 'exponential',
  decayRate: 0.94,
  decayEpochs: 2,
  /** Section 4.2: models are evaluated by their Polyak average. The decay is that of TensorFlow's Inception; the paper has none. */
  polyak: 0.9999,
  /** Section 4.3: 0.5 before the logistic regression. */
  dropout: 0.5,
  loss: 'softmax',
} as const satisfies Recipe;

/** What both networks were trained with on JFT: several labels to an image. */
const jft = {
  /** Section 4.2. */
  optimizer: 'rmsprop',
  /** Section 4.2. */
  momentum: 0.9,
  /** Section 4.2: the initial rate. */
  lr: 0.001,
  /** Section 4.2: "decay of rate 0.9 every 3,000,000 samples". */
  schedule: 'exponential',
  decayRate: 0.9,
  decaySamples: 3_000_000,
  /** Section 4.2, as for ImageNet. */
  polyak: 0.9999,
  /** Section 4.3: none, since so many images make overfitting unlikely. */
  dropout: 0,
  /** Section 4.1: labels from a set of 17,000, several to an image; a logistic regression for each. */
  loss: 'sigmoid',
} as const satisfies Recipe;

/** Section 4.3: settled for on Xception, and used for ImageNet and JFT alike. */
const xceptionDecay = 1e-5;
/** Section 4.3: tuned for Inception V3 on ImageNet, and used for ImageNet and JFT alike. */
const inceptionDecay = 4e-5;

/** What both recipes for little data have: Adam needs no tuning to the batch, and small batches make many steps of few images. */
const littleData = {
  optimizer: 'adam',
  schedule: 'cosine',
  batch: 16,
  weightDecay: 0,
  /** The average follows within tens of steps, as the running statistics do. */
  polyak: 0.99,
  batchNormMomentum: 0.97,
  dropout: 0.5,
  labelSmoothing: 0.1,
  augment: 'light',
} as const satisfies Recipe;

/**
 * Recipes by name. What the paper does not say (images per step, epochs, random changes to images, RMSprop's ρ and ε) is
 * left to the defaults.
 */
export const presets = {
  'xception-imagenet': { arch: 'xception', ...imagenet, weightDecay: xceptionDecay },
  'xception-jft': { arch: 'xception', ...jft, weightDecay: xceptionDecay },
  /** Without the tower at the side, as section 4.3. */
  'inception-v3-imagenet': { arch: 'inception_v3', ...imagenet, weightDecay: inceptionDecay },
  'inception-v3-jft': { arch: 'inception_v3', ...jft, weightDecay: inceptionDecay },
  /**
   * A network that has learned other images, on a few hundred or thousand of one's own: everything is trained from the
   * first step, at rates that do not tear down what is there. docs/training.md has what was measured.
   */
  finetune: { ...littleData, lr: 0.0002, warmup: 50, epochs: 10 },
  /** From random weights on a few thousand images. docs/training.md has what was measured. */
  small: { ...littleData, lr: 0.001, warmup: 100, epochs: 15 },
} as const satisfies Readonly<Record<string, Recipe>>;

/** Name of a recipe in {@link presets}. */
export type PresetName = keyof typeof presets;

/** All names, in the order in which they are told. */
export const presetNames = Object.keys(presets) as readonly PresetName[];
