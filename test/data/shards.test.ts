// Tests of lib/data/shards.ts: samples and labels, indices, order, resuming, and what is refused.
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ArgumentError, DataError } from '../../lib/core/errors.ts';
import { decodeImage } from '../../lib/data/decode.ts';
import { indexFile, indexText, parseClasses, parseIndex } from '../../lib/data/shardIndex.ts';
import { shardOrder } from '../../lib/data/shardOrder.ts';
import { expandBraces } from '../../lib/data/shardPaths.ts';
import { scanShard } from '../../lib/data/shardScan.ts';
import { type Shards, type ShardsOptions, shards } from '../../lib/data/shards.ts';
import { collect, failureOf, fingerprints } from './collect.ts';
import { put, temporaryFolder } from './makeImages.ts';
import { imageBytes, inMemory, putShards, tarOf } from './makeShards.ts';

const folder = temporaryFolder();
after(() => folder.remove());
let folders = 0;
const newFolder = () => join(folder.path, `set${folders++}`);

/** Shards of 5, 7 and 4 samples of 3 classes. */
async function newShards(
  options: Partial<ShardsOptions> = {},
): Promise<{ dir: string; files: string[]; set: Shards }> {
  const dir = newFolder();
  const files = await putShards(dir, [5, 7, 4], 3);
  return { dir, files, set: await shards(dir, { size: 24, ...options }) };
}

async function refusal(paths: string | string[], options: Partial<ShardsOptions> = {}): Promise<DataError> {
  const error = await failureOf(() => shards(paths, { size: 24, ...options }));
  expect(error).to.be.instanceOf(DataError);
  return error as DataError;
}

const labelsOf = (set: Shards) => Array.from({ length: set.length }, (_, i) => set.label(i));

describe('shards', () => {
  it('give the images and labels of their samples, in their order', async () => {
    const { set, files } = await newShards();
    expect(set).to.include({ length: 16, size: 24, named: false });
    expect(set.classes).to.deep.equal(['0', '1', '2']);
    expect(set.files).to.deep.equal(files);
    const batches = await collect(set, { batchSize: 6 });
    expect(batches.map(({ shape }) => shape[0])).to.deep.equal([6, 6, 4]);
    expect(batches.flatMap(({ labels }) => [...labels])).to.deep.equal(
      Array.from({ length: 16 }, (_, i) => i % 3),
    );
    const expected = await decodeImage(await imageBytes(7), { height: 24, width: 24 });
    const bytes = batches[1]?.images as Uint8Array;
    expect(Buffer.from(bytes.subarray(24 * 24 * 3, 2 * 24 * 24 * 3)).equals(expected)).to.equal(true);
    expect(set.sampleName(7)).to.equal(`${files[1]}: 000007`);
  });

  it('are named one by one, by a pattern, or by their folder', async () => {
    const { dir, files, set } = await newShards();
    for (const paths of [files, [join(dir, 'a-{000000..000002}.tar')], [dir]]) {
      expect((await shards(paths, { size: 24 })).files).to.deep.equal(set.files);
    }
    expect((await refusal([files[0] as string, dir])).code).to.equal('SHARD_TWICE');
    expect((await refusal(join(dir, 'a-{000000..000003}.tar'))).message).to.match(
      /a-000003\.tar: no such file$/,
    );
    expect((await refusal(put(join(newFolder(), 'x', 'readme'), '').slice(0, -7))).code).to.equal(
      'SHARD_FOLDER',
    );
  });

  it('expand braces as a shell does', () => {
    expect(expandBraces('a-{8..11}.tar')).to.deep.equal(['a-8.tar', 'a-9.tar', 'a-10.tar', 'a-11.tar']);
    expect(expandBraces('{b,a}-{01..00}')).to.deep.equal(['b-01', 'b-00', 'a-01', 'a-00']);
    expect(expandBraces('plain{x}.tar')).to.deep.equal(['plain{x}.tar']);
    expect(() => expandBraces('{0..999999}{0..9}')).to.throw(ArgumentError, /more than 1000000 names/);
    expect(() => expandBraces('{0..99999999}')).to.throw(ArgumentError, /at most 1000000/);
  });

  it('know the conventions of WebDataset', async () => {
    const image = await imageBytes(1);
    const path = put(
      join(newFolder(), 'w.tar'),
      tarOf([
        ['__meta__', 'about all'],
        ['dir/one.JPG', image],
        ['dir/one.txt', 'a caption'],
        ['dir/one.cls', 'cat\n'],
        ['two.json', '{"label":"ant","size":[1,2]}'],
        ['two.png', image],
        ['.hidden', ''],
        ['readme', 'no ending'],
        ['three.webp', image],
        ['three.cls', 'cat'],
        ['three.seg.png', 'another picture of it'],
      ]),
    );
    const set = await shards(path, { size: 24 });
    expect(set.classes).to.deep.equal(['ant', 'cat']);
    expect(labelsOf(set)).to.deep.equal([1, 0, 1]);
    expect([0, 1, 2].map((i) => set.sampleName(i))).to.deep.equal(
      ['dir/one', 'two', 'three'].map((key) => `${path}: ${key}`),
    );
  });

  it('take the names of numbered classes from classes.txt or classes.json beside them', async () => {
    for (const [name, text] of [
      ['classes.txt', 'red\ngreen\nblue\n'],
      ['classes.json', '["red","green","blue"]'],
    ] as const) {
      const { dir } = await newShards();
      put(join(dir, name), text);
      const set = await shards(dir, { size: 24 });
      expect(set).to.include({ named: true });
      expect(set.classes).to.deep.equal(['red', 'green', 'blue']);
      const other = await shards(dir, { size: 24, classes: ['blue', 'pink', 'green', 'red'] });
      expect(labelsOf(other).slice(0, 4)).to.deep.equal([3, 2, 0, 3]);
      expect((await refusal(dir, { classes: ['red', 'blue'] })).message).to.match(
        /'green' is not one of the 2 classes/,
      );
      put(join(dir, name), name === 'classes.txt' ? 'red\ngreen\n' : '["red","green"]');
      expect((await refusal(dir)).message).to.match(
        /sample '000002' has the label 2; the list .* has 2 names/,
      );
    }
  });

  it('have as many classes as are asked for', async () => {
    const { dir } = await newShards();
    expect((await shards(dir, { size: 24, classes: 5 })).classes).to.have.length(5);
    expect((await shards(dir, { size: 24, classes: ['a', 'b', 'c'] })).classes).to.deep.equal([
      'a',
      'b',
      'c',
    ]);
    expect((await refusal(dir, { classes: 2 })).code).to.equal('UNKNOWN_CLASS');
  });

  it('leave out images that cannot be read, with shard and key', async () => {
    const files: [string, Uint8Array | string][] = [];
    for (let i = 0; i < 200; i++)
      files.push([`${i}.jpg`, i === 20 ? 'broken' : await imageBytes(i % 4)], [`${i}.cls`, `${i % 2}`]);
    const path = put(join(newFolder(), 'b.tar'), tarOf(files));
    const set = await shards(path, { size: 8 });
    const batches = await collect(set, { batchSize: 50 });
    expect(batches.map(({ shape }) => shape[0])).to.deep.equal([49, 50, 50, 50]);
    expect([...set.skipped.keys()]).to.deep.equal([`${path}: 20`]);
  });
});

describe('shards that are refused', () => {
  const refused = async (files: readonly (readonly [string, Uint8Array | string])[]) =>
    refusal(put(join(newFolder(), 'x.tar'), tarOf(files)));

  for (const [what, files, code, says] of [
    ['without image', [['a.cls', '1']], 'SHARD_NO_IMAGE', /sample 'a' has no image; expected one of \.jpg/],
    [
      'without label',
      [
        ['a.jpg', 'x'],
        ['a.txt', 'caption'],
      ],
      'SHARD_NO_LABEL',
      /sample 'a' has no label; expected \.cls/,
    ],
    [
      'with two images',
      [
        ['a.jpg', 'x'],
        ['a.png', 'x'],
        ['a.cls', '1'],
      ],
      'SHARD_TWICE',
      /'a' has two images/,
    ],
    [
      'with a file twice',
      [
        ['a.cls', '1'],
        ['a.cls', '1'],
      ],
      'SHARD_TWICE',
      /'a' has two files \.cls/,
    ],
    [
      'with a label below 0',
      [
        ['a.jpg', 'x'],
        ['a.json', '{"label":-1}'],
      ],
      'SHARD_LABEL',
      /label -1, expected/,
    ],
    [
      'with an empty label',
      [
        ['a.jpg', 'x'],
        ['a.cls', ' '],
      ],
      'SHARD_LABEL',
      /label " ", expected a number or a name/,
    ],
    [
      'with a label of another kind',
      [
        ['a.jpg', 'x'],
        ['a.json', '{"label":[1]}'],
      ],
      'SHARD_LABEL',
      /label \[1\]/,
    ],
    [
      'with JSON that is none',
      [
        ['a.jpg', 'x'],
        ['a.json', '{'],
      ],
      'SHARD_LABEL',
      /not valid JSON/,
    ],
    [
      'with a label without end',
      [
        ['a.jpg', 'x'],
        ['a.cls', 'x'.repeat(5000)],
      ],
      'SHARD_LABEL',
      /5000 bytes, expected at most/,
    ],
    [
      'with names and numbers',
      [
        ['a.jpg', 'x'],
        ['a.cls', '1'],
        ['b.jpg', 'x'],
        ['b.cls', 'cat'],
      ],
      'SHARD_MIXED_LABELS',
      /label cat; expected all/,
    ],
    ['without samples', [['readme', 'x']], 'SHARD_EMPTY', /no samples in it/],
  ] as const) {
    it(what, async () => {
      const error = await refused(files);
      expect(error.code).to.equal(code);
      expect(error.message).to.match(says);
    });
  }

  it('with one class, and with names in one and numbers in the other', async () => {
    const one = await refused([
      ['a.jpg', 'x'],
      ['a.cls', '0'],
    ]);
    expect(one.message).to.match(/only one class, '0'; expected at least two/);
    const { dir } = await newShards();
    put(
      join(dir, 'z.tar'),
      tarOf([
        ['a.jpg', 'x'],
        ['a.cls', 'cat'],
      ]),
    );
    expect((await refusal(dir)).code).to.equal('SHARD_MIXED_LABELS');
  });

  it('that are truncated, saying what of them is whole; or what is whole is used', async () => {
    const { files } = await newShards();
    const [path = ''] = files;
    const whole = readFileSync(path);
    const labels = new Set<number>();
    for (const keep of [whole.length - 1100, 3000, 700]) {
      put(path, whole.subarray(0, keep));
      const error = await refusal(files);
      expect(error.code).to.equal('TAR_TRUNCATED');
      const samples = Number(/; (\d+) samples before that are whole$/.exec(error.message)?.[1]);
      labels.add(samples);
      if (samples === 0) continue;
      const notices: string[] = [];
      const used = await shards(files, {
        size: 24,
        onTruncated: 'use',
        onNotice: (text) => notices.push(text),
      });
      expect(used.length).to.equal(samples + 11);
      expect(notices).to.have.length(1);
      await collect(used, { batchSize: 4 });
      expect(used.skipped.size).to.equal(0);
    }
    expect(labels.size).to.be.greaterThan(1);
  });
});

describe("shards' indices", () => {
  const writeIndex = async (file: string) => {
    const index = await scanShard(inMemory(readFileSync(file)), file);
    return put(indexFile(file), indexText(index));
  };

  it('are read in place of the headers, and give the same', async () => {
    const { dir, files, set } = await newShards();
    const before = fingerprints(await collect(set, { batchSize: 5 }));
    for (const file of files) await writeIndex(file);
    expect(fingerprints(await collect(await shards(dir, { size: 24 }), { batchSize: 5 }))).to.deep.equal(
      before,
    );
    // Nothing but the index is looked at: headers may be anything.
    const text = readFileSync(indexFile(files[0] as string), 'utf8').replace('"000003"', '"renamed"');
    put(indexFile(files[0] as string), text);
    expect((await shards(dir, { size: 24 })).sampleName(3)).to.match(/: renamed$/);
  });

  it('of another archive are passed over, which is said', async () => {
    const { dir, files } = await newShards();
    for (const file of files) await writeIndex(file);
    const [, second = ''] = files;
    put(
      second,
      tarOf([
        ['z.jpg', await imageBytes(3)],
        ['z.cls', '1'],
      ]),
    );
    const notices: string[] = [];
    const set = await shards(dir, { size: 24, onNotice: (text) => notices.push(text) });
    expect(set.length).to.equal(10);
    expect(notices).to.deep.equal([
      `${indexFile(second)}: not the index of ${second} as it is; its headers are read instead`,
    ]);
    // Of the same size, with other bytes in it.
    const bytes = readFileSync(second);
    await writeIndex(second);
    bytes[600] = (bytes[600] as number) ^ 1;
    put(second, bytes);
    await shards(dir, { size: 24, onNotice: (text) => notices.push(text) });
    expect(notices).to.have.length(2);
  });

  it('do not depend on when files were copied', async () => {
    const { dir, files } = await newShards();
    for (const file of files) await writeIndex(file);
    for (const file of files) utimesSync(file, 0, 0);
    await shards(dir, { size: 24, onNotice: (text) => expect.fail(text) });
  });

  it('are kept in a folder if that is asked for, and only then', async () => {
    const { dir, files, set } = await newShards();
    const before = readdirSync(dir);
    const cache = newFolder();
    const first = await shards(dir, { size: 24, indexCache: cache });
    expect(readdirSync(dir)).to.deep.equal(before);
    const kept = readdirSync(cache);
    expect(kept).to.have.length(files.length);
    const second = await shards(dir, { size: 24, indexCache: cache });
    for (const made of [first, second]) expect(labelsOf(made)).to.deep.equal(labelsOf(set));
    put(join(cache, kept[0] as string), 'damaged');
    expect(labelsOf(await shards(dir, { size: 24, indexCache: cache }))).to.deep.equal(labelsOf(set));
    expect(readFileSync(join(cache, kept[0] as string), 'utf8')).to.match(/^\{"format"/);
  });

  it('say what is wrong with them', async () => {
    const { files } = await newShards();
    const text = readFileSync(await writeIndex(files[0] as string), 'utf8');
    const index = JSON.parse(text) as Record<string, unknown>;
    const refused = (change: object) => {
      try {
        parseIndex(JSON.stringify({ ...index, ...change }), 'x.index.json');
      } catch (error) {
        expect(error).to.be.instanceOf(DataError).with.property('code', 'SHARD_INDEX');
        return (error as DataError).message;
      }
      return expect.fail('was read');
    };
    expect(parseIndex(text, 'x').keys).to.have.length(5);
    expect(refused({ format: 'other' })).to.match(/format is "other", expected/);
    expect(refused({ version: 2 })).to.match(/version is 2, expected 1/);
    expect(refused({ archive: { bytes: -1, sample: '' } })).to.match(/expected bytes and sample/);
    expect(refused({ labels: [0, 0, 0, 0, -1] })).to.match(/labels hold -1, expected whole numbers/);
    expect(refused({ classes: ['a', 'b'] })).to.match(/labels hold 2, expected whole numbers in range/);
    expect(refused({ classes: ['a', 'a'] })).to.match(/class "a" is there twice/);
    expect(refused({ labels: [0] })).to.match(/lists of 5, 5, 1, 5, 5 items, expected as many of each/);
    expect(refused({ offsets: [0, 0, 0, 0, 1e9] })).to.match(/offsets hold 1000000000/);
    expect(refused({ keys: [1, 2, 3, 4, 5] })).to.match(/keys hold 1, expected strings/);
    const offsets = [...(index.offsets as number[])];
    offsets[4] = (index.archive as { bytes: number }).bytes;
    expect(refused({ offsets })).to.match(/sample 4 reaches beyond the \d+ bytes/);
    expect(() => parseIndex('{"format":1,"format":1}', 'x')).to.throw(DataError, /'format' twice/);
    expect(() => parseClasses('["a",""]', 'classes.json')).to.throw(
      DataError,
      /a class is "", expected a name/,
    );
    expect(() => parseClasses('a\n\nb\n', 'classes.txt')).to.throw(DataError, /a class is ""/);
  });
});

describe("shards' order", () => {
  const starts = Float64Array.of(0, 50, 50 + 70, 160, 200);
  const isPermutation = (order: Uint32Array) =>
    [...order].sort((a, b) => a - b).every((value, i) => value === i);

  it('has each sample once, whatever is shuffled at once', () => {
    for (const shardsAtOnce of [1, 2, 4, 9]) {
      for (const buffer of [1, 7, 200, 1e9]) {
        const order = shardOrder(starts, { shardsAtOnce, buffer }, 5, 1);
        expect(order).to.have.length(200);
        expect(isPermutation(order)).to.equal(true);
      }
    }
  });

  it('is another one for each seed and epoch, and the same for the same', () => {
    const order = (seed: number, epoch: number) =>
      shardOrder(starts, { shardsAtOnce: 2, buffer: 20 }, seed, epoch).join();
    expect(order(1, 0)).to.equal(order(1, 0));
    expect(new Set([order(1, 0), order(1, 1), order(2, 0), order(2, 1)]).size).to.equal(4);
  });

  it('reads shards one after the other without a buffer, and all of them at random with a large one', () => {
    const plain = shardOrder(starts, { shardsAtOnce: 1, buffer: 1 }, 3, 0);
    const jumps = plain.filter((sample, i) => i > 0 && sample !== (plain[i - 1] as number) + 1).length;
    expect(jumps).to.be.at.most(3);
    // How often each sample comes first, over many epochs: 2,000 draws of 200, each within five deviations.
    const first = new Uint32Array(200);
    for (let epoch = 0; epoch < 2000; epoch++) {
      const [sample] = shardOrder(starts, { shardsAtOnce: 2, buffer: 200 }, 11, epoch);
      first[sample as number] = (first[sample as number] as number) + 1;
    }
    expect(Math.max(...first)).to.be.below(10 + 5 * Math.sqrt(10));
    expect(first.filter((count) => count === 0).length).to.be.below(5);
  });

  it('keeps to a window of what is read at a time', () => {
    // 40 shards of 100 samples; 4 at once and a buffer of 200: what comes is at most a few hundred behind what was read.
    const many = Float64Array.from({ length: 41 }, (_, i) => 100 * i);
    const order = shardOrder(many, { shardsAtOnce: 4, buffer: 200 }, 1, 0);
    const openedAt = new Map<number, number>();
    for (const [place, sample] of order.entries()) {
      const shard = Math.floor(sample / 100);
      if (!openedAt.has(shard)) openedAt.set(shard, place);
    }
    const inOrder = [...openedAt.values()];
    expect(inOrder).to.have.length(40);
    expect(inOrder[39] as number).to.be.greaterThan(2500); // the last is opened late: nothing is read all at once
  });

  it('makes the same batches with any number of workers, and goes on in the middle of an epoch', async () => {
    const { set } = await newShards({ augment: 'inception', shardsAtOnce: 2, buffer: 6 });
    const options = { batchSize: 3, seed: 4, epoch: 2, shuffle: true, dropLast: true };
    const whole = fingerprints(await collect(set, { ...options, workers: 1 }));
    expect(whole).to.have.length(5);
    expect(fingerprints(await collect(set, { ...options, workers: 4 }))).to.deep.equal(whole);
    expect(fingerprints(await collect(set, { ...options, startBatch: 3 }))).to.deep.equal(whole.slice(3));
    const other = fingerprints(await collect(set, { ...options, epoch: 3 }));
    expect(other).not.to.deep.equal(whole);
  });

  it('goes on in the middle without reading what went before', async () => {
    const { set, files } = await newShards({ shardsAtOnce: 1, buffer: 1 });
    const options = { batchSize: 2, seed: 4, shuffle: true };
    const rest = await collect(set, { ...options, startBatch: 6 });
    const used = new Set(
      rest.flatMap(({ sampleIds = [] }) => sampleIds.map((id) => set.sampleName(id).split(': ')[0])),
    );
    for (const file of files) if (!used.has(file)) rmSync(file);
    expect(files.filter((file) => !used.has(file))).not.to.deep.equal([]);
    const again = await collect(set, { ...options, startBatch: 6 });
    expect(fingerprints(again)).to.deep.equal(fingerprints(rest));
    expect(set.skipped.size).to.equal(0);
  });

  it('is refused with options out of range', async () => {
    const { dir } = await newShards();
    for (const options of [{ buffer: 0 }, { shardsAtOnce: 0 }, { buffer: 1.5 }, { maxSkippedFraction: 2 }]) {
      const error = await failureOf(() => shards(dir, { size: 24, ...options }));
      expect(error).to.be.instanceOf(ArgumentError);
    }
  });
});

describe('shards in great numbers', () => {
  it('are indexed in bounded memory: 20,000 samples', async () => {
    const files: [string, string][] = [];
    for (let i = 0; i < 20_000; i++) files.push([`${i}.jpg`, 'x'], [`${i}.cls`, `${i % 10}`]);
    const path = join(newFolder(), 'many.tar');
    put(path, '');
    writeFileSync(path, tarOf(files));
    const set = await shards(path, { size: 8 });
    expect(set.length).to.equal(20_000);
    expect(set.sampleName(19_999)).to.equal(`${path}: 19999`);
    expect(set.label(12_345)).to.equal(5);
  });
});
