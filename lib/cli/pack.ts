// `pack`: from a folder of images to tar shards with an index, resumably.

import { basename, join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { type Packed, type PackOptions, packFolder } from '../index.ts';
import { UsageError } from './failure.ts';
import { integer } from './flags.ts';
import { isFolder, saySkipped } from './folders.ts';
import { interruptible } from './interrupt.ts';
import { count, print, say, withCommas } from './output.ts';
import { duration } from './progress.ts';

interface PackFlags {
  readonly out: string;
  readonly size?: number;
  readonly shorter?: number;
  readonly quality: number;
  readonly shardSize?: number;
  readonly perShard?: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly workers?: number;
  readonly json: boolean;
}

const units = new Map([
  ['', 1],
  ['B', 1],
  ['KB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['KIB', 2 ** 10],
  ['MIB', 2 ** 20],
  ['GIB', 2 ** 30],
]);

/** A number of bytes, with or without a unit. */
function bytes(text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(text) ?? [];
  const value = Math.round(Number(digits) * (units.get(unit.toUpperCase()) ?? Number.NaN));
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError('Expected a number of bytes, as 256MB, 1GiB or 100000.');
  }
  return value;
}

function quality(text: string): number {
  const value = integer(1)(text);
  if (value > 100) throw new InvalidArgumentError('Expected a whole number from 1 to 100.');
  return value;
}

export function packCommand(): Command {
  return new Command('pack')
    .description('make tar shards with an index from a folder of images; the same command again goes on')
    .argument('<folder>', 'a folder per class, or one with train/ and validation/ of such')
    .requiredOption(
      '--out <dir>',
      'folder for the shards; with train/ and validation/ where the data have them',
    )
    .option('--size <pixels>', 'make every image a square of this edge, its aspect not kept', integer(1))
    .option('--shorter <pixels>', 'make the shorter edge this long, where it is longer', integer(1))
    .option('--quality <q>', 'of the JPEGs that resized images become, 1 to 100', quality, 95)
    .option('--shard-size <bytes>', 'of a shard at most (default: 256MB)', bytes)
    .option('--per-shard <n>', 'samples of a shard, in place of its size', integer(1))
    .option('--shuffle', 'pack in a random order, so that each shard has images of all classes', false)
    .option('--seed <n>', 'of that order', integer(0), 0)
    .option('--workers <n>', 'images read at the same time (default: the number of processors)', integer(1))
    .option('--json', 'JSON lines on stdout and nothing else', false)
    .action(pack);
}

const redrawn = 200; // milliseconds between two states of the line on a terminal
const repeated = 10_000; // milliseconds between two lines elsewhere

/** Says how far a packing is: one line that is rewritten on a terminal, a line now and then elsewhere. */
class PackLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #name: string;
  readonly #begin = performance.now();
  #last: number;
  #from: number | undefined;
  #drawn = 0;

  constructor(stream: NodeJS.WriteStream, name: string) {
    this.#stream = stream;
    this.#name = name;
    this.#last = stream.isTTY ? Number.NEGATIVE_INFINITY : performance.now();
  }

  show({ images, total, shards, bytes: done }: Parameters<NonNullable<PackOptions['onProgress']>>[0]): void {
    this.#from ??= images; // what was there already says nothing of the speed
    const now = performance.now();
    if (now - this.#last < (this.#stream.isTTY ? redrawn : repeated)) return;
    this.#last = now;
    const speed = (images - this.#from) / ((now - this.#begin) / 1000);
    const line =
      `${this.#name}  ${withCommas(images)}/${withCommas(total)} images  ${count(shards, 'shard')}  ` +
      `${(done / 1e6).toFixed(0)} MB  ${speed.toFixed(0)} images/s  left ${duration((total - images) / speed)}`;
    if (this.#stream.isTTY) this.#stream.write(`\r${line.padEnd(this.#drawn)}`);
    else this.#stream.write(`${line}\n`);
    this.#drawn = line.length;
  }

  /** Leaves the line, so that something else can be printed. */
  end(): void {
    if (this.#stream.isTTY && this.#drawn > 0) this.#stream.write('\n');
    this.#drawn = 0;
  }
}

/** Folders to pack: the data itself, or its parts with the folders that they become. */
function parts(folder: string, out: string): { from: string; to: string; name: string }[] {
  const split = ['train', 'validation'].filter((name) => isFolder(join(folder, name)));
  if (!split.includes('train')) return [{ from: folder, to: out, name: 'shard' }];
  return split.map((name) => ({ from: join(folder, name), to: join(out, name), name }));
}

async function pack(folder: string, flags: PackFlags): Promise<void> {
  const { size, shorter, quality, shardSize, perShard, shuffle, seed, workers, json } = flags;
  if (size !== undefined && shorter !== undefined) {
    throw new UsageError('--size and --shorter exclude each other; expected one of them');
  }
  if (shardSize !== undefined && perShard !== undefined) {
    throw new UsageError('--shard-size and --per-shard exclude each other; expected one of them');
  }
  const resize = size !== undefined ? { size } : shorter !== undefined ? { shorter } : undefined;
  const { signal, release } = interruptible('stopping; what is finished is kept');
  let classes: readonly string[] | undefined;
  try {
    for (const { from, to, name } of parts(folder, flags.out)) {
      const line = new PackLine(json ? process.stderr : process.stdout, basename(from));
      const saying = (message: string) => {
        line.end();
        say(message);
      };
      const packed = await packFolder(from, {
        out: to,
        name,
        quality,
        shuffle,
        seed,
        signal,
        ...(classes === undefined ? {} : { classes }),
        ...(resize === undefined ? {} : { resize }),
        ...(shardSize === undefined ? {} : { shardBytes: shardSize }),
        ...(perShard === undefined ? {} : { perShard }),
        ...(workers === undefined ? {} : { workers }),
        onSkip: (path, reason) => {
          line.end();
          saySkipped(path, reason);
        },
        onNotice: saying,
        onProgress: (progress) => line.show(progress),
      }).finally(() => line.end());
      classes = packed.classes; // labels mean the same in all parts
      if (json) print(packedJson(packed));
      else sayPacked(packed);
    }
  } finally {
    release();
  }
}

/** What `pack` says of a folder of shards as JSON. */
function packedJson({ out, classes, samples, shards, kept, skipped }: Packed): object {
  return {
    out,
    classes: classes.length,
    samples,
    bytes: shards.reduce((sum, shard) => sum + shard.bytes, 0),
    kept,
    shards,
    skipped: [...skipped].map(([file, reason]) => ({ file, reason })),
  };
}

function sayPacked({ out, samples, shards, kept, skipped }: Packed): void {
  const size = shards.reduce((sum, shard) => sum + shard.bytes, 0);
  const lost = skipped.size === 0 ? '' : `; ${count(skipped.size, 'image')} left out: cannot be read`;
  const before = kept === 0 ? '' : `, ${kept} of them kept`;
  print(
    `${out}: ${withCommas(samples)} images in ${count(shards.length, 'shard')}${before}, ${(size / 1e6).toFixed(1)} MB${lost}`,
  );
}
