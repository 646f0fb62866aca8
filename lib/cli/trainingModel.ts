// The classifier that a training starts with: its network, its options, and the weights of `--init`.

import {
  architecture,
  type Classifier,
  createClassifier,
  type Dataset,
  fittedToSize,
  isPreprocessingName,
  type PreprocessingName,
  type WeightFile,
  withoutAuxiliary,
} from '../index.ts';
import { checkSize, type ModelFlags, type VariantFlags, variantOf } from './flags.ts';
import { say } from './output.ts';
import type { RecipeFlags } from './recipe.ts';

/** Flags that say what is trained. */
export interface StartFlags
  extends ModelFlags,
    VariantFlags,
    Pick<RecipeFlags, 'dropout' | 'batchNormMomentum'> {
  readonly init?: string;
}

/** The rule by which pixels become input: that of the weights to start from. */
export const preprocessingOf = (weights: WeightFile | undefined): PreprocessingName =>
  weights !== undefined && isPreprocessingName(weights.preprocessing) ? weights.preprocessing : 'keras';

/** Names of the options that `--arch-option` sets. */
const chosenOptions = ({ archOption }: StartFlags): string[] =>
  archOption.map((text) => text.slice(0, text.indexOf('=')));

/**
 * Options of the network: it computes as the weights' own did, unless a flag says otherwise, be it the default; a resumed run
 * goes on as it was. A classifier at the side that came with the weights is kept where the images are large enough for it.
 */
function variantFor(
  arch: string,
  flags: StartFlags,
  before: WeightFile | undefined,
  size: number,
): Record<string, unknown> {
  const own = ['dropout', 'batchNormMomentum', ...chosenOptions(flags)];
  const kept = before?.arch === arch ? fittedToSize(before, size).options : {};
  const rules = Object.fromEntries(Object.entries(kept).filter(([name]) => !own.includes(name)));
  return { ...rules, ...variantOf(arch, flags) };
}

/** The weights of `--init` without a classifier at the side that the network has not, which is said. */
function fittedToNetwork(
  weights: WeightFile,
  { auxiliary }: Record<string, unknown>,
  size: number,
): WeightFile {
  if (weights.options.auxiliary !== true || auxiliary === true) return weights;
  const small = fittedToSize(weights, size) !== weights;
  const why = small ? `images of ${size} pixels are too small for it` : 'as asked';
  say(`--init: the classifier at the side (auxiliary) is left out, ${why}`);
  return withoutAuxiliary(weights);
}

/** A new classifier for the data, with the weights of `--init` if given. */
export function classifierFor(
  flags: StartFlags,
  training: Dataset,
  named: boolean,
  weights: WeightFile | undefined,
  before: WeightFile | undefined,
): Classifier {
  const arch = flags.arch ?? before?.arch ?? weights?.arch ?? 'xception';
  const { classes, size = architecture(arch).size } = training;
  const variant = variantFor(arch, flags, before, size);
  checkSize(arch, flags.size, variant);
  const model = createClassifier(arch, {
    classes: named ? classes : classes.length,
    dropout: flags.dropout,
    batchNormMomentum: flags.batchNormMomentum,
    variant,
    size,
  });
  model.configure({ preprocessing: preprocessingOf(before) });
  if (weights !== undefined) {
    const { tensors, file = flags.init as string } = fittedToNetwork(weights, variant, size);
    const left = model.loadWeights(tensors, { skipClassifier: true, file });
    if (left.length > 0)
      say(
        `--init: the classifier does not fit ${classes.length} classes and starts anew (${left.join(', ')})`,
      );
  }
  return model;
}
