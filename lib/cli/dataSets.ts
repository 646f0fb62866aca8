// Labelled images as commands take them: a folder per class, or tar shards.

import type { Command } from 'commander';
import {
  type Augmentation,
  DataError,
  type ImageFolder,
  imageFolder,
  imagenetLabels,
  imagenetSynsets,
  isShardFolder,
  looksLikeShards,
  type PreprocessingName,
  resizingOf,
  type Shards,
  type ShardsOptions,
  shards,
} from '../index.ts';
import { UsageError } from './failure.ts';
import { integer } from './flags.ts';
import { foldersIn, saySkipped } from './folders.ts';
import { say } from './output.ts';

/** Images on disk with their classes. */
export type LabelledImages = ImageFolder | Shards;

/** `--index-cache`, of the commands that read shards. */
export interface IndexFlags {
  readonly indexCache?: string;
}

/** `--shuffle-buffer`, of the commands that shuffle them. */
export interface ShuffleFlags {
  readonly shuffleBuffer?: number;
}

export const withIndexFlags = (command: Command): Command =>
  command.option(
    '--index-cache <dir>',
    'keep what is read of the headers of shards without an index there, for the next time',
  );

export const withShuffleFlags = (command: Command): Command =>
  command.option(
    '--shuffle-buffer <n>',
    'samples of shards among which the next one is drawn (default: 10,000)',
    integer(1),
  );

/** How the images are to be read. */
export interface ReadingOptions extends IndexFlags, ShuffleFlags {
  readonly size: number;
  readonly preprocessing?: PreprocessingName;
  readonly augment?: Augmentation;
  readonly color?: boolean;
  /** Default 'skip'. */
  readonly onBadImage?: 'skip' | 'fail';
}

/** Whether paths are shards: archives, patterns, or a folder of such. */
export const areShards = async (paths: readonly string[]): Promise<boolean> =>
  paths.some(looksLikeShards) || (await Promise.all(paths.map(isShardFolder))).includes(true);

/** Refuses several paths that are not all shards, which can be told from their names. */
export function checkPaths(paths: readonly string[]): void {
  const other = paths.find((path) => !looksLikeShards(path));
  if (paths.length > 1 && other !== undefined) {
    throw new UsageError(
      `${other}: several paths are tar shards (.tar); expected one folder, or shards alone`,
    );
  }
}

/**
 * Opens a folder per class, or shards.
 * @param classes names in the order of their labels, or their number: more than there are become outputs that no image has
 * @throws DataError where the data are at fault
 */
export async function openImages(
  paths: readonly string[],
  options: ReadingOptions,
  classes?: readonly string[] | number,
): Promise<LabelledImages> {
  const { preprocessing, indexCache, shuffleBuffer, size, augment = 'none', color = false } = options;
  const { onBadImage = 'skip' } = options;
  const common = {
    size,
    augment,
    color,
    onBadImage,
    ...(preprocessing === undefined ? {} : resizingOf(preprocessing)),
    onSkip: saySkipped,
  };
  if (await areShards(paths)) {
    const own: ShardsOptions = {
      ...common,
      ...(indexCache === undefined ? {} : { indexCache }),
      ...(shuffleBuffer === undefined ? {} : { buffer: shuffleBuffer }),
      ...(classes === undefined ? {} : { classes }),
      onNotice: say,
    };
    return shards(paths, own);
  }
  const folder = paths[0] as string;
  if (typeof classes === 'object') return imageFolder(folder, { ...common, classes });
  const found = imageFolder(folder, common);
  if (classes === undefined || classes === found.classes.length) return found;
  return imageFolder(folder, { ...common, classes: padded(found.classes, classes, folder) });
}

/** More classes than there are folders: outputs that no image has. */
function padded(names: readonly string[], classes: number, folder: string): string[] {
  if (classes < names.length) {
    throw new DataError(`${folder}: ${names.length} classes, more than --classes ${classes}`, {
      file: folder,
    });
  }
  return [
    ...names,
    ...Array.from({ length: classes - names.length }, (_, i) => `unused ${names.length + i}`),
  ];
}

/** Whether the classes of the data have names: folders always, shards where somebody wrote them down. */
export const hasNames = (set: LabelledImages): boolean => !('named' in set) || set.named;

/** Whether names are those of ImageNet's classes in WordNet, all of them or a part. */
const areSynsets = (names: readonly string[]): boolean =>
  names.length > 0 && names.every((name) => imagenetSynsets.includes(name));

/**
 * Opens images with the classes of a model. Where its names are those of ImageNet's classes, and the images' are numbers of
 * WordNet, they are the same classes.
 */
export async function openImagesOf(
  paths: readonly string[],
  options: ReadingOptions,
  labels: readonly string[] | undefined,
  classes: number,
): Promise<LabelledImages> {
  const numbered = await areShards(paths);
  if (labels === undefined || labels.join() !== imagenetLabels.join()) {
    return openImages(paths, options, labels ?? (numbered ? classes : undefined));
  }
  const own = numbered ? (await openImages(paths, options, classes)).classes : foldersIn(paths[0] as string);
  const known = own.filter((name) => !name.startsWith('unused '));
  return openImages(paths, options, areSynsets(known) ? imagenetSynsets : labels);
}
