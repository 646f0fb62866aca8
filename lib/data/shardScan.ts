// Reading a shard's headers: WebDataset's conventions for samples, keys and labels.
//
// A sample is the files beside one another whose paths are the same up to the first dot of the name; what follows is the
// kind: `.jpg`, `.jpeg`, `.png` and `.webp` are its image, `.cls` its class as a number or a name, `.json` an object whose
// `label` is one. Other kinds (`.txt`, which holds captions) are passed over, and so are names like `__this__`.

import { DataError } from '../core/errors.ts';
import { isObject } from '../core/jsonText.ts';
import { printable } from '../core/printable.ts';
import { byCodeUnit } from './imageFolder.ts';
import { PackedNames } from './packedNames.ts';
import { type ShardIndex, sampleArchive } from './shardIndex.ts';
import { readTar, type TarBytes, type TarEntry } from './tar.ts';

/** Codes of the errors of samples; stable. */
export type ShardCode =
  | 'SHARD_NO_IMAGE'
  | 'SHARD_NO_LABEL'
  | 'SHARD_LABEL'
  | 'SHARD_TWICE'
  | 'SHARD_MIXED_LABELS'
  | 'SHARD_EMPTY';

/** What is done with an archive that ends too early. */
export type TruncatedPolicy = 'fail' | 'use';

const imageKinds: readonly string[] = ['jpg', 'jpeg', 'png', 'webp'];
/** Longest label, and longest description that one is looked for in, in bytes. */
const longestLabel = 4096;
const longestJson = 2 ** 20;

/** Path up to the first dot of the name, and what follows it; undefined for files that are no part of a sample. */
function partsOf(name: string): { key: string; kind: string } | undefined {
  const slash = name.lastIndexOf('/');
  const dot = name.indexOf('.', slash + 1);
  if (dot <= slash + 1) return undefined; // no ending, or a hidden file
  if (/^__[^/]*__$/.test(name.slice(slash + 1))) return undefined;
  return { key: name.slice(0, dot), kind: name.slice(dot + 1).toLowerCase() };
}

/** A sample whose files are being gathered. */
interface Gathered {
  readonly key: string;
  readonly kinds: Set<string>;
  image: TarEntry | undefined;
  /** Of `.cls`, else of `.json`. */
  label: number | string | undefined;
}

type Fail = (code: ShardCode, message: string) => never;

/** A class as `.cls` and `label` say it: a number from 0, or a name. */
function checkLabel(value: unknown, fail: Fail): number | string {
  const text = typeof value === 'string' ? value.trim() : value;
  if (typeof text === 'string' && /^\d+$/.test(text)) return checkLabel(Number(text), fail);
  if (typeof text === 'string' && text !== '') return text;
  if (Number.isInteger(text) && (text as number) >= 0 && (text as number) < 2 ** 31) return text as number;
  return fail(
    'SHARD_LABEL',
    `has the label ${printable(JSON.stringify(value) ?? 'undefined')}, expected a number or a name`,
  );
}

async function labelIn(
  bytes: TarBytes,
  entry: TarEntry,
  kind: string,
  fail: Fail,
): Promise<number | string | undefined> {
  const most = kind === 'cls' ? longestLabel : longestJson;
  if (entry.length > most)
    fail('SHARD_LABEL', `has a .${kind} of ${entry.length} bytes, expected at most ${most}`);
  const contents = await bytes.read(entry.offset, entry.length);
  if (contents.length < entry.length) fail('SHARD_LABEL', 'has a label that cannot be read');
  const text = new TextDecoder().decode(contents);
  if (kind === 'cls') return checkLabel(text, fail);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail('SHARD_LABEL', 'has a .json that is not valid JSON');
  }
  if (!isObject(value) || !Object.hasOwn(value, 'label')) return undefined;
  return checkLabel(value.label, fail);
}

/** The samples as they are found. */
class Samples {
  readonly keys = new PackedNames();
  readonly offsets: number[] = [];
  readonly lengths: number[] = [];
  readonly labels: number[] = [];
  /** Names by number, and numbers by name, where labels are names. */
  readonly names = new Map<string, number>();
  /** Of the first sample: whether labels are names. */
  named: boolean | undefined;

  add({ key, image, label }: Gathered, fail: Fail): void {
    if (image === undefined) {
      fail('SHARD_NO_IMAGE', `has no image; expected one of .${imageKinds.join(', .')}`);
    }
    if (label === undefined) {
      fail('SHARD_NO_LABEL', 'has no label; expected .cls with a number or a name, or .json with `label`');
    }
    const named = typeof label === 'string';
    this.named ??= named;
    if (named !== this.named) {
      fail(
        'SHARD_MIXED_LABELS',
        `has the label ${printable(String(label))}; expected all as numbers or all as names`,
      );
    }
    if (typeof label === 'string' && !this.names.has(label)) this.names.set(label, this.names.size);
    this.keys.push(key);
    this.offsets.push(image.offset);
    this.lengths.push(image.length);
    this.labels.push(typeof label === 'string' ? (this.names.get(label) as number) : label);
  }

  /** Labels, and their names sorted, so that the same names give the same numbers in whatever order they come. */
  labelled(): Pick<ShardIndex, 'classes' | 'labels'> {
    if (!this.named) return { classes: undefined, labels: Int32Array.from(this.labels) };
    const classes = [...this.names.keys()].sort(byCodeUnit);
    const places = new Map(classes.map((name, i) => [this.names.get(name), i]));
    return { classes, labels: Int32Array.from(this.labels, (label) => places.get(label) as number) };
  }
}

/** Adds a file to the sample that it belongs to. */
async function gather(
  bytes: TarBytes,
  sample: Gathered,
  entry: TarEntry,
  kind: string,
  fail: Fail,
): Promise<void> {
  if (sample.kinds.has(kind)) fail('SHARD_TWICE', `has two files .${printable(kind)}`);
  sample.kinds.add(kind);
  if (imageKinds.includes(kind)) {
    if (sample.image !== undefined) fail('SHARD_TWICE', 'has two images');
    sample.image = entry;
  } else if (kind === 'cls') sample.label = await labelIn(bytes, entry, kind, fail);
  else if (kind === 'json' && !sample.kinds.has('cls'))
    sample.label = await labelIn(bytes, entry, kind, fail);
}

/**
 * Reads the headers of a shard, and the labels, from its beginning to its end. Images are not read; memory grows by about
 * 50 bytes a sample.
 *
 * @param file the shard's name, for errors
 * @param truncated what to do where the archive ends too early: 'fail', or 'use' the samples before that
 * @param notice called with what is left out
 * @throws DataError with a TarCode or a {@link ShardCode}
 */
export async function scanShard(
  bytes: TarBytes,
  file: string,
  truncated: TruncatedPolicy = 'fail',
  notice: (message: string) => void = () => undefined,
): Promise<ShardIndex> {
  const samples = new Samples();
  let open: Gathered | undefined;
  const failFor =
    (key: string): Fail =>
    (code, message) => {
      throw new DataError(`${file}: sample '${printable(key)}' ${message}`, { file, code });
    };
  try {
    for await (const entry of readTar(bytes, file)) {
      const parts = partsOf(entry.name);
      if (parts === undefined) continue;
      if (open?.key !== parts.key) {
        if (open !== undefined) samples.add(open, failFor(open.key));
        open = { key: parts.key, kinds: new Set(), image: undefined, label: undefined };
      }
      await gather(bytes, open, entry, parts.kind, failFor(parts.key));
    }
    if (open !== undefined) samples.add(open, failFor(open.key));
  } catch (error) {
    if (!(error instanceof DataError) || error.code !== 'TAR_TRUNCATED') throw error;
    // The last sample may lack files that were to follow, but one with image and label is whole.
    if (open?.image !== undefined && open.label !== undefined) samples.add(open, failFor(open.key));
    const whole = `${samples.keys.length} samples before that are whole`;
    if (truncated === 'fail') {
      throw new DataError(`${error.message}; ${whole}`, { file, code: error.code, cause: error });
    }
    notice(`${error.message}; the ${whole} and used`);
  }
  if (samples.keys.length === 0) {
    throw new DataError(`${file}: no samples in it; expected images with .cls or .json beside them`, {
      file,
      code: 'SHARD_EMPTY',
    });
  }
  return {
    archive: { bytes: bytes.size, sample: await sampleArchive(bytes), sha256: undefined },
    ...samples.labelled(),
    keys: samples.keys,
    sources: undefined,
    offsets: Float64Array.from(samples.offsets),
    lengths: Float64Array.from(samples.lengths),
  };
}
