// The data of a training: a folder with train/ and validation/, tar shards, or arrays.

import { join } from 'node:path';
import {
  type Augmentation,
  arrays,
  DataError,
  type Dataset,
  type ManyHotArray,
  type PreprocessingName,
} from '../index.ts';
import { naming, readArrayLabels, readImages } from './arrayFiles.ts';
import { hasNames, type IndexFlags, openImages, type ReadingOptions, type ShuffleFlags } from './dataSets.ts';
import { isFolder } from './folders.ts';

/** Where the data are, and what is made of them. */
export interface DataFlags extends IndexFlags, ShuffleFlags {
  /** A folder, or shards. */
  readonly data: readonly string[] | undefined;
  readonly arrays: readonly string[] | undefined;
  readonly validation: string | undefined;
  readonly classes: number | undefined;
  /** Undefined: the network's own. */
  readonly size: number | undefined;
  readonly defaultSize: number;
  readonly augment: Augmentation | undefined;
  readonly color: boolean;
  readonly loss: 'softmax' | 'sigmoid';
  /** What is done with images that cannot be read. */
  readonly onBadImage: 'skip' | 'fail';
  /** How whole images are resized. */
  readonly preprocessing: PreprocessingName;
}

/** What to train on. */
export interface TrainingSets {
  readonly training: Dataset;
  /** What is done with training images: the flag, or what fits the data. */
  readonly augment: Augmentation;
  readonly validation: Dataset | undefined;
  /** Whether the classes have names: those of folders, or of shards that have some. */
  readonly named: boolean;
}

/** Opens the data. @throws DataError where they are at fault */
export const openTrainingData = (flags: DataFlags): Promise<TrainingSets> =>
  flags.arrays === undefined ? openFolders(flags) : openArrays(flags);

async function openFolders(flags: DataFlags): Promise<TrainingSets> {
  const { size = flags.defaultSize, augment = 'inception', color, classes } = flags;
  const paths = flags.data as readonly string[];
  const [data = ''] = paths;
  const inner = join(data, 'train');
  const beside = join(data, 'validation');
  const parted = paths.length === 1 && isFolder(inner);
  if (paths.length === 1 && !parted && isFolder(beside)) {
    throw new DataError(`${data}: there is a validation/ in it, but no train/`, { file: data });
  }
  const { preprocessing, indexCache, shuffleBuffer, onBadImage } = flags;
  const options: ReadingOptions = {
    size,
    preprocessing,
    onBadImage,
    ...(indexCache === undefined ? {} : { indexCache }),
    ...(shuffleBuffer === undefined ? {} : { shuffleBuffer }),
  };
  const training = await openImages(parted ? [inner] : paths, { ...options, augment, color }, classes);
  const validation = flags.validation ?? (parted && isFolder(beside) ? beside : undefined);
  return {
    training,
    augment,
    validation:
      validation === undefined ? undefined : await openImages([validation], options, training.classes),
    named: hasNames(training),
  };
}

/** What the softmax loss cannot be trained on: many labels per image, and a single class, whose loss is always 0. */
function checkOneLabel(labels: Int32Array | ManyHotArray, file: string, classes: number | undefined): void {
  if (!(labels instanceof Int32Array)) {
    throw new DataError(`${file}: many labels per image; expected --loss sigmoid with them`, { file });
  }
  if (classes === undefined && labels.every((label) => label === 0)) {
    throw new DataError(`${file}: only one class, 0; expected at least two`, { file });
  }
}

async function openArrays(flags: DataFlags): Promise<TrainingSets> {
  const [imageFile, labelFile] = flags.arrays as readonly [string, string];
  const images = await readImages(imageFile);
  const labels = await readArrayLabels(labelFile);
  const floats = images.data instanceof Float32Array;
  const [, height, width] = images.shape;
  if (floats && flags.size !== undefined && (flags.size !== height || flags.size !== width)) {
    throw new DataError(
      `${imageFile}: float32 images are taken as they stand, ${height} x ${width}; --size is ${flags.size}`,
      { file: imageFile },
    );
  }
  const augment = flags.augment ?? (floats ? 'none' : 'inception');
  if (floats && (augment !== 'none' || flags.color)) {
    throw new DataError(
      `${imageFile}: float32 images are taken as they stand; expected --augment none without --color`,
      { file: imageFile },
    );
  }
  if (flags.loss === 'softmax') checkOneLabel(labels, labelFile, flags.classes);
  const training = naming(labelFile, () =>
    arrays(images, labels, {
      ...(flags.classes === undefined ? {} : { classes: flags.classes }),
      ...(floats ? {} : { size: flags.size ?? flags.defaultSize }),
      augment,
      color: flags.color,
    }),
  );
  const size = training.size ?? flags.defaultSize;
  return {
    training,
    augment,
    validation:
      flags.validation === undefined
        ? undefined
        : await openImages([flags.validation], {
            size,
            preprocessing: flags.preprocessing,
            onBadImage: flags.onBadImage,
          }),
    named: false,
  };
}
