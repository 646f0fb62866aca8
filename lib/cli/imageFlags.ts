// Flags of what is done with training images, and with those that cannot be read.

import { type Command, Option } from 'commander';
import type { TrainerOptions } from '../index.ts';
import { real } from './flags.ts';

/** `--on-bad-image`. */
export interface BadImageFlags {
  readonly onBadImage: 'skip' | 'fail';
}

export interface ImageFlags extends BadImageFlags {
  readonly erasing: number;
  readonly mixup: number;
  readonly cutmix: number;
}

export function withImageFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--on-bad-image <skip|fail>',
        'leave out images that cannot be read, naming them, up to 1 % of all; or end with the first',
      )
        .choices(['skip', 'fail'])
        .default('skip'),
    )
    .option('--mixup <a>', 'blend images and labels, by a share from Beta(a, a); 0: do not', real(0, 1000), 0)
    .option(
      '--cutmix <a>',
      'put a part of another image into each, by a share from Beta(a, a)',
      real(0, 1000),
      0,
    )
    .option('--erasing <p>', 'probability that a rectangle of an image is filled with noise', real(0, 1), 0);
}

/** What of these a trainer takes. */
export const imageOptions = ({ erasing, mixup, cutmix }: ImageFlags): TrainerOptions => ({
  erasing,
  mixup,
  cutmix,
});
