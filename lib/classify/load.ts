// Making classifiers: new ones by name of the network, and from files of weights.

import { ArgumentError } from '../core/errors.ts';
import { readWeights, type WeightFile } from '../interop/weights.ts';
import type { inceptionV3Variant } from '../models/inceptionV3.ts';
import type { OptionsOf } from '../models/options.ts';
import { architecture } from '../models/registry.ts';
import type { xceptionVariant } from '../models/xception.ts';
import { Classifier } from './classifier.ts';
import { isPreprocessingName } from './preprocess.ts';

/** What of Xception is left open, by the paper's experiments. */
export type XceptionVariant = Partial<OptionsOf<typeof xceptionVariant>>;

/** What of Inception V3 is left open. */
export type InceptionV3Variant = Partial<OptionsOf<typeof inceptionV3Variant>>;

/** Options of {@link createClassifier}, and of any network. */
export interface ClassifierOptions {
  /** Number of classes, or their names. Default 1000. */
  readonly classes?: number | readonly string[];
  /** Rate of the dropout before the classifier. Default 0.5. */
  readonly dropout?: number;
  /** Share of the old running statistics that is kept at each step. Default 0.99; for a few hundred steps, 0.9. */
  readonly batchNormMomentum?: number;
  /** Edge of the images in pixels. Default: what the paper of the network uses. */
  readonly size?: number;
  /** Options of the network itself by name: see `architecture(name).variant`. */
  readonly variant?: Readonly<Record<string, unknown>>;
}

/**
 * A new classifier with a network of the registry, with random weights until others are loaded.
 * @throws ArgumentError for an unknown name or an option out of range
 */
export function createClassifier(arch: string, options: ClassifierOptions = {}): Classifier {
  const known = architecture(arch);
  const labels = typeof options.classes === 'object' ? options.classes : undefined;
  const classes = labels?.length ?? (options.classes as number | undefined) ?? 1000;
  const size = options.size ?? known.size;
  if (!Number.isInteger(classes) || classes < 1) {
    throw new ArgumentError(`${arch}: expected a number of classes of at least 1, got ${classes}`);
  }
  const variant = known.differing(options.variant ?? {});
  const minimum = known.minimumSizeWith(variant);
  if (!Number.isInteger(size) || size < minimum) {
    throw new ArgumentError(`${arch}: expected a size of at least ${minimum} pixels, got ${size}`);
  }
  const { dropout = 0.5, batchNormMomentum = 0.99 } = options;
  if (!(batchNormMomentum >= 0 && batchNormMomentum < 1)) {
    throw new ArgumentError(`${arch}: expected batchNormMomentum in [0, 1), got ${batchNormMomentum}`);
  }
  return new Classifier(known.build({ classes, dropout, batchNormMomentum, variant }), {
    arch,
    classes,
    ...(labels === undefined ? {} : { labels: [...labels] }),
    size,
    preprocessing: 'keras',
    options: { dropout, batchNormMomentum, ...variant },
  });
}

/** A classifier of a network, whose own options stand beside those that every network has. */
function named(arch: string, { classes, dropout, batchNormMomentum, size, ...own }: ClassifierOptions) {
  const common = { classes, dropout, batchNormMomentum, size };
  const given = Object.fromEntries(Object.entries(common).filter(([, value]) => value !== undefined));
  const { variant, ...rest } = own;
  return createClassifier(arch, { ...given, variant: { ...rest, ...variant } });
}

/** Xception (Chollet 2017, figure 5): 22,855,952 trainable parameters at 1,000 classes, 36 convolutional layers. */
export const xception = (options: ClassifierOptions & XceptionVariant = {}): Classifier =>
  named('xception', options);

/** Inception V3 (Szegedy et al. 2015): 23,817,352 trainable parameters at 1,000 classes, without the auxiliary tower. */
export const inceptionV3 = (options: ClassifierOptions & InceptionV3Variant = {}): Classifier =>
  named('inception_v3', options);

/** Options of {@link loadModel} and {@link fromWeightFile}. */
export interface FromWeightsOptions {
  /** Another network than the file says. */
  readonly arch?: string;
  /** Number of classes, for a file without classifier. */
  readonly classes?: number;
  /**
   * A new classifier in place of the file's, for training on other images: the number of its classes, or their names. It starts
   * at random, unless the file's has as many classes. All else, the rule of preprocessing too, is the file's.
   */
  readonly newClasses?: number | readonly string[];
  /** Edge of the images in pixels. Default: the file's, else what the paper of the network uses. */
  readonly size?: number;
  /** Options of the network in place of the file's. */
  readonly variant?: Readonly<Record<string, unknown>>;
}

/**
 * A classifier from a file of weights (ours, Keras', timm's or torchvision's), a checkpoint or a run folder, whose newest checkpoint is taken.
 * @throws CheckpointError or DataError naming the file
 */
export async function loadModel(
  path: string,
  options: FromWeightsOptions & {
    /** The weights themselves, also where there is a Polyak average. Default false. */
    readonly raw?: boolean;
  } = {},
): Promise<Classifier> {
  return fromWeightFile(await readWeights(path, { raw: options.raw ?? false }), { ...options, file: path });
}

/**
 * Weights without the classifier at the side (`auxiliary` of Inception V3), which only training computes: the answers are the
 * same. Weights that have none come back as they are.
 */
export function withoutAuxiliary(weights: WeightFile): WeightFile {
  const isSide = (name: string) => name.startsWith('aux_');
  if (![...weights.tensors.keys()].some(isSide)) return weights;
  const { auxiliary: _, ...options } = weights.options;
  return {
    ...weights,
    options,
    tensors: new Map([...weights.tensors].filter(([name]) => !isSide(name))),
    ...(weights.matched && { matched: weights.matched.filter(({ name }) => !isSide(name)) }),
  };
}

/**
 * Weights for images of a size, in pixels: below what the classifier at the side takes (299), without it. Its 5 x 5
 * convolution needs the grid of that size; torchvision's published weights have it, and are used at any size all the same.
 */
export function fittedToSize(weights: WeightFile, size: number): WeightFile {
  if (weights.options.auxiliary !== true) return weights;
  const least = architecture(weights.arch).minimumSizeWith({ auxiliary: true });
  return size < least ? withoutAuxiliary(weights) : weights;
}

/**
 * A classifier from weights that have been read. At sizes that the classifier at the side cannot take it is left out, as
 * {@link fittedToSize} does.
 * @throws CheckpointError where the weights are not those of the network; ArgumentError for options out of range
 */
export function fromWeightFile(
  given: WeightFile,
  options: FromWeightsOptions & {
    /** The file's name, for errors. */
    readonly file?: string;
  } = {},
): Classifier {
  const { newClasses } = options;
  const classes = newClasses ?? given.classes ?? options.classes;
  const where = options.file === undefined ? '' : `${options.file}: `;
  if (classes === undefined) {
    throw new ArgumentError(`${where}the file has no classifier; give the number of classes with --classes`);
  }
  const arch = options.arch ?? given.arch;
  const size = options.size ?? given.size ?? architecture(arch).size;
  const weights = fittedToSize(given, size);
  const { dropout, batchNormMomentum, ...variant } = weights.options;
  const option = (name: string, value: unknown) => (typeof value === 'number' ? { [name]: value } : {});
  const model = createClassifier(arch, {
    classes: newClasses ?? weights.labels ?? classes,
    size,
    ...option('dropout', dropout),
    ...option('batchNormMomentum', batchNormMomentum),
    variant: arch === weights.arch ? { ...variant, ...options.variant } : { ...options.variant },
  });
  const { preprocessing, activation } = weights;
  if (!isPreprocessingName(preprocessing)) {
    throw new ArgumentError(`${where}unknown preprocessing ${JSON.stringify(preprocessing)}`);
  }
  model.configure({ preprocessing, ...(activation === undefined ? {} : { activation }) });
  try {
    model.loadWeights(weights.tensors, {
      skipClassifier: weights.classes === undefined || newClasses !== undefined,
      ...(options.file === undefined ? {} : { file: options.file }),
    });
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model;
}
