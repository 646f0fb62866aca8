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

/**
 * A classifier from a file of weights (ours, Keras', timm's or torchvision's), a checkpoint or a run folder, whose newest checkpoint is taken.
 * @param options raw: the weights themselves where there is a Polyak average too; classes: for a file without classifier
 * @throws CheckpointError or DataError naming the file
 */
export async function loadModel(
  path: string,
  options: {
    raw?: boolean;
    arch?: string;
    classes?: number;
    size?: number;
    variant?: Readonly<Record<string, unknown>>;
  } = {},
): Promise<Classifier> {
  return fromWeightFile(await readWeights(path, { raw: options.raw ?? false }), { ...options, file: path });
}

/** A classifier from weights that have been read. */
export function fromWeightFile(
  weights: WeightFile,
  options: {
    arch?: string;
    classes?: number;
    size?: number;
    variant?: Readonly<Record<string, unknown>>;
    file?: string;
  } = {},
): Classifier {
  const classes = weights.classes ?? options.classes;
  const where = options.file === undefined ? '' : `${options.file}: `;
  if (classes === undefined) {
    throw new ArgumentError(`${where}the file has no classifier; give the number of classes with --classes`);
  }
  const size = options.size ?? weights.size;
  const { dropout, batchNormMomentum, ...variant } = weights.options;
  const arch = options.arch ?? weights.arch;
  const option = (name: string, value: unknown) => (typeof value === 'number' ? { [name]: value } : {});
  const model = createClassifier(arch, {
    classes: weights.labels ?? classes,
    ...(size === undefined ? {} : { size }),
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
      skipClassifier: weights.classes === undefined,
      ...(options.file === undefined ? {} : { file: options.file }),
    });
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model;
}
