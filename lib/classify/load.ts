// Making classifiers: new ones by name of the network, and from files of weights.

import { ArgumentError } from '../core/errors.ts';
import { readWeights, type WeightFile } from '../interop/weights.ts';
import { architecture } from '../models/registry.ts';
import { Classifier } from './classifier.ts';
import { isPreprocessingName } from './preprocess.ts';

/** Options of {@link xception} and {@link createClassifier}. */
export interface ClassifierOptions {
  /** Number of classes, or their names. Default 1000. */
  readonly classes?: number | readonly string[];
  /** Rate of the dropout before the classifier. Default 0.5. */
  readonly dropout?: number;
  /** Share of the old running statistics that is kept at each step. Default 0.99; for a few hundred steps, 0.9. */
  readonly batchNormMomentum?: number;
  /** Edge of the images in pixels. Default: what the paper of the network uses. */
  readonly size?: number;
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
  if (!Number.isInteger(size) || size < known.minimumSize) {
    throw new ArgumentError(`${arch}: expected a size of at least ${known.minimumSize} pixels, got ${size}`);
  }
  const { dropout = 0.5, batchNormMomentum = 0.99 } = options;
  if (!(batchNormMomentum >= 0 && batchNormMomentum < 1)) {
    throw new ArgumentError(`${arch}: expected batchNormMomentum in [0, 1), got ${batchNormMomentum}`);
  }
  return new Classifier(known.build({ classes, dropout, batchNormMomentum }), {
    arch,
    classes,
    ...(labels === undefined ? {} : { labels: [...labels] }),
    size,
    preprocessing: 'keras',
    options: { dropout, batchNormMomentum },
  });
}

/** Xception (Chollet 2017, figure 5): 22,855,952 trainable parameters at 1,000 classes, 36 convolutional layers. */
export const xception = (options: ClassifierOptions = {}): Classifier =>
  createClassifier('xception', options);

/**
 * A classifier from a file of weights (ours or Keras'), a checkpoint or a run folder, whose newest checkpoint is taken.
 * @param options raw: the weights themselves where there is a Polyak average too; classes: for a file without classifier
 * @throws CheckpointError or DataError naming the file
 */
export async function loadModel(
  path: string,
  options: { raw?: boolean; arch?: string; classes?: number; size?: number } = {},
): Promise<Classifier> {
  return fromWeightFile(await readWeights(path, { raw: options.raw ?? false }), { ...options, file: path });
}

/** A classifier from weights that have been read. */
export function fromWeightFile(
  weights: WeightFile,
  options: { arch?: string; classes?: number; size?: number; file?: string } = {},
): Classifier {
  const classes = weights.classes ?? options.classes;
  const where = options.file === undefined ? '' : `${options.file}: `;
  if (classes === undefined) {
    throw new ArgumentError(`${where}the file has no classifier; give the number of classes with --classes`);
  }
  const size = options.size ?? weights.size;
  const option = (name: 'dropout' | 'batchNormMomentum') => {
    const value = weights.options?.[name];
    return typeof value === 'number' ? { [name]: value } : {};
  };
  const model = createClassifier(options.arch ?? weights.arch, {
    classes: weights.labels ?? classes,
    ...(size === undefined ? {} : { size }),
    ...option('dropout'),
    ...option('batchNormMomentum'),
  });
  if (weights.activation !== undefined) model.configure({ activation: weights.activation });
  if (!isPreprocessingName(weights.preprocessing)) {
    throw new ArgumentError(`${where}unknown preprocessing ${JSON.stringify(weights.preprocessing)}`);
  }
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
