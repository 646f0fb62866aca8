// Image folders: one folder per class, the classes and the files in the order of their names.
import { type Dirent, readdirSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { ArgumentError, DataError } from '../core/errors.ts';
import {
  type Augmentation,
  type Batch,
  type BatchOptions,
  checkAugmentation,
  checkInteger,
  type Dataset,
  planBatches,
} from './batch.ts';
import type { Interpolation, ResizeRule } from './decode.ts';
import { loadBatches, SkipLedger } from './loader.ts';
import type { SampleSource } from './source.ts';

/** Endings of the files that are taken for images, in any case. Files with other endings are left alone. */
export const IMAGE_EXTENSIONS: readonly string[] = ['.jpg', '.jpeg', '.png', '.webp'];

/** Options of `imageFolder`. */
export interface ImageFolderOptions {
  /** Edge of the square images given, in pixels. */
  readonly size: number;
  /**
   * The classes, in the order of their labels, for example those stored with a model's weights. Folders may
   * lack some; a folder of another name is an error. Default: the folders, sorted by name.
   */
  readonly classes?: readonly string[];
  /** Random changes, unless `batches` is asked for others. Default 'none'. */
  readonly augment?: Augmentation;
  /** Random colour, unless `batches` is asked otherwise. Default false. */
  readonly color?: boolean;
  /** How a whole image is brought to `size` where no random crop does it. Default 'stretch'. */
  readonly resize?: ResizeRule;
  /** Default 'bilinear'. */
  readonly interpolation?: Interpolation;
  /**
   * What to do with an image that cannot be read: leave it out and count it, or end with a DataError. Default
   * 'skip'.
   */
  readonly onBadImage?: 'skip' | 'fail';
  /**
   * Fraction of the images that may be left out; one more is a DataError that names the first. One image may
   * always be left out, so that a small folder is not lost to a single file. Default 0.01.
   */
  readonly maxSkippedFraction?: number;
  /** Called once for each image left out, in the order of the batches. */
  readonly onSkip?: (path: string, reason: string) => void;
}

/**
 * A folder with one folder of images (JPEG, PNG, WebP) per class.
 *
 * Classes are sorted by name, files by name within their class, both by UTF-16 code unit, so that the order
 * is the same on every machine. Hidden files and files with other endings are left alone. The folder is
 * listed at once; images are read when batches are asked for.
 *
 * @param dir the folder, for example 'clothing/train'
 * @throws DataError naming the folder, where it is missing or none, has fewer than two class folders (without
 *   `classes`), a class folder without images or with folders within, or a class that is not among `classes`;
 *   ArgumentError for an option out of range
 */
export function imageFolder(dir: string, options: ImageFolderOptions): ImageFolder {
  return new ImageFolder(dir, options);
}

/** The data set that `imageFolder` makes. Sample i is `files[i]` of class `labels[i]`. */
export class ImageFolder implements Dataset {
  readonly dir: string;
  readonly classes: readonly string[];
  readonly size: number;
  /** Paths, `dir` included. */
  readonly files: readonly string[];
  /** [files.length], indices into `classes` */
  readonly labels: Int32Array;
  readonly #defaults: { readonly augment: Augmentation; readonly color: boolean };
  readonly #source: SampleSource;
  readonly #ledger: SkipLedger;

  constructor(dir: string, options: ImageFolderOptions) {
    const size = checkInteger('size', options.size, 1);
    const resize = checkResize(options.resize ?? 'stretch');
    const maxSkippedFraction = options.maxSkippedFraction ?? 0.01;
    if (!(maxSkippedFraction >= 0 && maxSkippedFraction <= 1)) {
      throw new ArgumentError(`maxSkippedFraction: expected a number from 0 to 1, got ${maxSkippedFraction}`);
    }
    this.#defaults = { augment: checkAugmentation(options.augment ?? 'none'), color: options.color ?? false };
    this.dir = dir;
    this.size = size;

    const folders = classFolders(dir, options.classes);
    this.classes = options.classes ? [...options.classes] : folders;
    const { files, labels } = listImages(dir, folders, this.classes);
    this.files = files;
    this.labels = labels;
    this.#source = {
      name: dir,
      length: files.length,
      decode: { height: size, width: size, resize, interpolation: options.interpolation ?? 'bilinear' },
      input: (index) => ({ path: files[index]! }),
      sampleName: (index) => files[index]!,
      labels: (indices) => Int32Array.from(indices, (index) => labels[index]!),
    };
    this.#ledger = new SkipLedger(this.#source, {
      onBadImage: options.onBadImage ?? 'skip',
      maxSkippedFraction,
      onSkip: options.onSkip,
    });
  }

  get length(): number {
    return this.files.length;
  }

  get skipped(): ReadonlyMap<string, string> {
    return this.#ledger.skipped;
  }

  batches(options: BatchOptions): AsyncIterable<Batch> {
    return loadBatches(this.#source, planBatches(options, this.#defaults), this.#ledger);
  }
}

/** @throws ArgumentError for a rule that is none */
export function checkResize(rule: ResizeRule): ResizeRule {
  if (rule === 'stretch' || (rule.crop > 0 && rule.crop <= 1)) return rule;
  throw new ArgumentError(
    `resize: expected 'stretch' or { crop: a number above 0, at most 1 }, got ${JSON.stringify(rule)}`,
  );
}

/** Names of the class folders, sorted; refused where training on them would go wrong in silence. */
function classFolders(dir: string, classes: readonly string[] | undefined): string[] {
  const folders = readFolder(dir)
    .filter((entry) => isFolder(dir, entry))
    .map((entry) => entry.name)
    .sort(byCodeUnit);
  if (folders.length === 0) {
    throw new DataError(`${dir}: no class folders in it; expected one folder of images per class`, {
      file: dir,
    });
  }
  if (!classes) {
    if (folders.length > 1) return folders;
    throw new DataError(`${dir}: only one class folder, '${folders[0]}'; expected at least two`, {
      file: dir,
    });
  }
  const unknown = folders.find((name) => !classes.includes(name));
  const twice = classes.find((name, at) => classes.indexOf(name) !== at);
  if (twice !== undefined) throw new ArgumentError(`classes: '${twice}' is in it twice`);
  if (unknown !== undefined) {
    throw new DataError(
      `${join(dir, unknown)}: '${unknown}' is not one of the ${classes.length} classes ${some(classes)}`,
      {
        file: join(dir, unknown),
        code: 'UNKNOWN_CLASS',
      },
    );
  }
  return folders;
}

/** The images of all classes, in order, with the labels. */
function listImages(
  dir: string,
  folders: readonly string[],
  classes: readonly string[],
): { files: string[]; labels: Int32Array } {
  const files: string[] = [];
  const labels: number[] = [];
  for (const folder of folders) {
    const path = join(dir, folder);
    const label = classes.indexOf(folder);
    const names: string[] = [];
    for (const entry of readFolder(path)) {
      if (isFolder(path, entry)) {
        throw new DataError(
          `${path}: has a folder '${entry.name}' where images are expected; ` +
            'name the folder that holds the class folders',
          { file: path },
        );
      }
      const isFile = entry.isFile() || entry.isSymbolicLink(); // a pipe or a device would be waited for
      if (isFile && IMAGE_EXTENSIONS.includes(extname(entry.name).toLowerCase())) names.push(entry.name);
    }
    if (names.length === 0) {
      throw new DataError(`${path}: no images in it (${IMAGE_EXTENSIONS.join(', ')})`, { file: path });
    }
    for (const name of names.sort(byCodeUnit)) {
      files.push(join(path, name));
      labels.push(label);
    }
  }
  return { files, labels: Int32Array.from(labels) };
}

/** The entries of a folder that are not hidden. */
function readFolder(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true }).filter((entry) => !entry.name.startsWith('.'));
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    const reason =
      code === 'ENOENT'
        ? 'no such folder'
        : code === 'ENOTDIR'
          ? 'is a file; expected a folder with one folder of images per class'
          : `cannot be listed (${cause instanceof Error ? cause.message : String(cause)})`;
    throw new DataError(`${path}: ${reason}`, { file: path, cause });
  }
}

/**
 * Whether an entry is a folder, also by way of a link. A link to nothing is none; it is found when it is
 * read.
 */
function isFolder(path: string, entry: Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return statSync(join(path, entry.name), { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Not `localeCompare`: the order, and so the labels, must not depend on the machine's language. */
export function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first names of a list, for messages. */
export function some(names: readonly string[]): string {
  return `(${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''})`;
}
