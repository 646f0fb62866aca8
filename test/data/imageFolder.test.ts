// Tests of lib/data/imageFolder.ts and loader.ts: listing, determinism, unreadable images, memory.
import { copyFileSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect } from 'chai';
import { ArgumentError, DataError } from '../../lib/core/errors.ts';
import type { BatchOptions } from '../../lib/data/batch.ts';
import { decodeImage } from '../../lib/data/decode.ts';
import { imageFolder } from '../../lib/data/imageFolder.ts';
import { collect, failureOf, fingerprints } from './collect.ts';
import { gradient, put, putClasses, temporaryFolder } from './makeImages.ts';

const folder = temporaryFolder();
after(() => folder.remove());
let folders = 0;
/** A new folder of three classes with 9, 6 and 8 images. */
async function newFolder(): Promise<{ dir: string; paths: string[] }> {
  const dir = join(folder.path, `set${folders++}`);
  return { dir, paths: await putClasses(dir, { apple: 9, banana: 6, cherry: 8 }) };
}

describe('imageFolder: listing', () => {
  it('takes classes and files in the order of their names, by code unit', async () => {
    const dir = join(folder.path, 'names');
    const image = await gradient(9, 9, 1).png().toBuffer();
    for (const name of [
      'b/2.png',
      'b/10.PNG',
      'Z/x.webp',
      'é/1.jpeg',
      'a b/1.JPG',
      'a b/.hidden.jpg',
      'a b/notes.txt',
    ]) {
      put(join(dir, name), image);
    }
    put(join(dir, '.cache', 'x.jpg'), image);
    put(join(dir, 'README.md'), 'not a class');
    const set = imageFolder(dir, { size: 9 });
    expect(set.classes).to.deep.equal(['Z', 'a b', 'b', 'é']);
    expect(set.files.map((file) => file.slice(dir.length + 1))).to.deep.equal([
      'Z/x.webp',
      'a b/1.JPG',
      'b/10.PNG',
      'b/2.png',
      'é/1.jpeg',
    ]);
    expect([...set.labels]).to.deep.equal([0, 1, 2, 2, 3]);
    expect(set).to.include({ length: 5, size: 9 });
  });

  it('follows links to folders and files', async () => {
    const { dir, paths } = await newFolder();
    mkdirSync(join(dir, 'date'));
    symlinkSync(paths[0]!, join(dir, 'date', 'link.jpg'));
    symlinkSync(join(dir, 'apple'), join(dir, 'elder'));
    const set = imageFolder(dir, { size: 9 });
    expect(set.classes).to.deep.equal(['apple', 'banana', 'cherry', 'date', 'elder']);
    expect(set.length).to.equal(23 + 1 + 9);
  });

  const mistakes: readonly (readonly [string, (dir: string) => string, RegExp])[] = [
    ['a missing folder', (dir) => join(dir, 'none'), /none: no such folder$/],
    ['a file', (dir) => join(dir, 'apple', '000.jpg'), /000\.jpg: is a file; expected a folder/],
    ['no class folders', (dir) => join(dir, 'apple'), /apple: no class folders in it/],
    [
      'one class',
      (dir) => {
        rmSync(join(dir, 'apple'), { recursive: true });
        rmSync(join(dir, 'banana'), { recursive: true });
        return dir;
      },
      /: only one class folder, 'cherry'; expected at least two$/,
    ],
    [
      'a class without images',
      (dir) => {
        put(join(dir, 'empty', 'notes.txt'), '');
        return dir;
      },
      /empty: no images in it \(\.jpg, \.jpeg, \.png, \.webp\)$/,
    ],
    [
      'the folder above train/ and validation/',
      (dir) => {
        const above = join(dir, 'above');
        for (const part of ['train', 'validation']) {
          mkdirSync(join(above, part, 'apple'), { recursive: true });
          copyFileSync(join(dir, 'apple', '000.jpg'), join(above, part, 'apple', '000.jpg'));
        }
        return above;
      },
      /above\/train: has a folder 'apple' where images are expected; name the folder/,
    ],
  ];
  for (const [name, make, message] of mistakes) {
    it(`refuses ${name}, in one line that names it`, async () => {
      const dir = make((await newFolder()).dir);
      expect(() => imageFolder(dir, { size: 9 })).to.throw(DataError, message);
    });
  }

  it('keeps to the classes given: labels by name, absent ones allowed, others refused', async () => {
    const { dir } = await newFolder();
    const classes = ['cherry', 'mango', 'banana', 'apple'];
    const set = imageFolder(dir, { size: 9, classes });
    expect(set.classes).to.deep.equal(classes);
    expect(set.labels[0]).to.equal(3);
    expect(set.labels.at(-1)).to.equal(0);
    expect(() => imageFolder(dir, { size: 9, classes: ['apple', 'cherry'] })).to.throw(
      DataError,
      /banana: 'banana' is not one of the 2 classes \(apple, cherry\)$/,
    );
    expect(() => imageFolder(dir, { size: 9, classes: ['apple', 'apple'] })).to.throw(ArgumentError, /twice/);
  });

  it('refuses options out of range', async () => {
    const { dir } = await newFolder();
    for (const size of [0, 2.5, Number.NaN])
      expect(() => imageFolder(dir, { size })).to.throw(ArgumentError, /^size/);
    expect(() => imageFolder(dir, { size: 9, maxSkippedFraction: 2 })).to.throw(
      ArgumentError,
      /maxSkippedFraction/,
    );
    expect(() => imageFolder(dir, { size: 9, resize: { crop: 0 } })).to.throw(ArgumentError, /resize/);
    const set = imageFolder(dir, { size: 9 });
    for (const wrong of [
      { batchSize: 0 },
      { epoch: -1 },
      { seed: 0.5 },
      { workers: 0 },
      { startBatch: -1 },
    ]) {
      expect(() => set.batches({ batchSize: 4, ...wrong })).to.throw(ArgumentError);
    }
    // @ts-expect-error not an augmentation
    expect(() => set.batches({ batchSize: 4, augment: 'heavy' })).to.throw(
      ArgumentError,
      /inception, light, randaugment, none/,
    );
  });
});

describe('imageFolder: batches', () => {
  it('gives every image once, in stored order, as decodeImage has it', async () => {
    const { dir, paths } = await newFolder();
    const set = imageFolder(dir, { size: 24 });
    const batches = await collect(set, { batchSize: 5 });
    expect(batches.map((batch) => batch.shape)).to.deep.equal([
      ...Array(4).fill([5, 24, 24, 3]),
      [3, 24, 24, 3],
    ]);
    expect(batches.flatMap((batch) => batch.sampleIds)).to.deep.equal(paths.map((_, i) => i));
    expect(batches.flatMap((batch) => [...batch.labels])).to.deep.equal([...set.labels]);
    const seventh = batches[1]!.images.subarray(2 * 24 * 24 * 3, 3 * 24 * 24 * 3);
    expect(seventh).to.deep.equal(await decodeImage(paths[7]!, { height: 24, width: 24 }));
    expect(set.skipped.size).to.equal(0);
  });

  it('is the same bit for bit whatever the workers, the prefetch depth and the start', async () => {
    const { dir } = await newFolder();
    put(join(dir, 'banana', '001.jpg'), 'broken');
    const set = imageFolder(dir, { size: 24, augment: 'inception', color: true });
    for (const dropLast of [false, true]) {
      const options: BatchOptions = { batchSize: 4, epoch: 3, seed: 11, shuffle: true, dropLast };
      const expected = fingerprints(await collect(set, { ...options, workers: 1, prefetch: 0 }));
      expect(expected.length).to.equal(dropLast ? 5 : 6);
      for (const workers of [2, 4]) {
        for (const prefetch of [0, 3]) {
          const again = imageFolder(dir, { size: 24, augment: 'inception', color: true });
          expect(fingerprints(await collect(again, { ...options, workers, prefetch }))).to.deep.equal(
            expected,
          );
        }
      }
      for (const startBatch of [1, 4, expected.length]) {
        const rest = fingerprints(await collect(set, { ...options, startBatch }));
        expect(rest).to.deep.equal(expected.slice(startBatch));
      }
    }
  });

  it('changes order and augmentation with epoch and seed, and nothing else without them', async () => {
    const { dir } = await newFolder();
    const set = imageFolder(dir, { size: 24 });
    const run = async (options: Partial<BatchOptions>) =>
      fingerprints(await collect(set, { batchSize: 23, seed: 1, ...options }))[0]!;
    const shuffled = await run({ shuffle: true });
    expect(await run({ shuffle: true })).to.equal(shuffled);
    expect(await run({ shuffle: true, epoch: 1 })).not.to.equal(shuffled);
    expect(await run({ shuffle: true, seed: 2 })).not.to.equal(shuffled);
    expect(await run({ epoch: 1, seed: 5 })).to.equal(await run({}));
    for (const changed of [{ augment: 'light' }, { augment: 'inception' }, { color: true }] as const) {
      const first = await run(changed);
      expect(first).not.to.equal(await run({}));
      expect(await run({ ...changed, epoch: 1 })).not.to.equal(first);
    }
  });

  it('gives each sample its augmentation wherever it stands in the order', async () => {
    const { dir } = await newFolder();
    const set = imageFolder(dir, { size: 16, augment: 'inception' });
    const bySample = async (shuffle: boolean, batchSize: number) => {
      const found = new Map<number, string>();
      for (const { images, sampleIds } of await collect(set, { batchSize, seed: 4, shuffle })) {
        sampleIds?.forEach((id, at) => {
          found.set(id, Buffer.from(images.slice(at * 768, (at + 1) * 768)).toString('hex'));
        });
      }
      return [...found].sort(([a], [b]) => a - b);
    };
    expect(await bySample(true, 5)).to.deep.equal(await bySample(false, 7));
  });

  it('drops the incomplete last batch when asked, and says when none is left', async () => {
    const { dir } = await newFolder();
    const set = imageFolder(dir, { size: 8 });
    const batches = await collect(set, { batchSize: 10, dropLast: true });
    expect(batches.map((batch) => batch.shape[0])).to.deep.equal([10, 10]);
    const error = await failureOf(() => collect(set, { batchSize: 24, dropLast: true }));
    expect(error)
      .to.be.instanceOf(DataError)
      .with.property('message')
      .match(/23 images do not fill one batch of 24$/);
  });

  it('ends with the reason of an abort', async () => {
    const { dir } = await newFolder();
    const controller = new AbortController();
    let seen = 0;
    const error = await failureOf(async () => {
      for await (const batch of imageFolder(dir, { size: 8 }).batches({
        batchSize: 4,
        signal: controller.signal,
      })) {
        seen += batch.shape[0];
        controller.abort();
      }
    });
    expect(error).to.equal(controller.signal.reason);
    expect(seen).to.equal(4);
  });

  it('leaves the event loop free and the memory where it was', async function () {
    this.timeout(60_000);
    const { dir } = await newFolder();
    const set = imageFolder(dir, { size: 299, augment: 'inception' });
    const pass = async (epoch: number) => {
      for await (const batch of set.batches({ batchSize: 8, epoch, shuffle: true }))
        expect(batch.shape[1]).to.equal(299);
    };
    await pass(0);
    const delay = monitorEventLoopDelay({ resolution: 5 });
    const before = process.memoryUsage().rss;
    delay.enable();
    for (let epoch = 1; epoch <= 8; epoch++) await pass(epoch);
    delay.disable();
    expect(delay.percentile(99) / 1e6, 'ms').to.be.below(50);
    // 8 epochs are 184 images of 268 KB; were they kept, that would be 49 MB in ArrayBuffers alone
    expect((process.memoryUsage().rss - before) / 2 ** 20, 'MiB').to.be.below(40);
  });
});

describe('imageFolder: unreadable images', () => {
  it('leaves one out, names it once, and counts exactly', async () => {
    const { dir } = await newFolder();
    const broken = put(join(dir, 'banana', '002.jpg'), 'text');
    const reported: string[] = [];
    const set = imageFolder(dir, { size: 8, onSkip: (path, reason) => reported.push(`${path}: ${reason}`) });
    for (let epoch = 0; epoch < 2; epoch++) {
      const batches = await collect(set, { batchSize: 4, epoch });
      expect(batches.map((batch) => batch.shape[0])).to.deep.equal([4, 4, 3, 4, 4, 3]);
      for (const { images, labels, shape, sampleIds } of batches) {
        expect(images.length).to.equal(shape[0] * 8 * 8 * 3);
        expect(labels.length).to.equal(shape[0]);
        expect(sampleIds).to.have.length(shape[0]).and.not.include(11);
      }
    }
    expect([...set.skipped]).to.deep.equal([[broken, 'not a JPEG, PNG, WebP, GIF, TIFF or AVIF image']]);
    expect(reported).to.deep.equal([`${broken}: not a JPEG, PNG, WebP, GIF, TIFF or AVIF image`]);
  });

  it('keeps the images behind the gap together with their labels', async () => {
    const { dir, paths } = await newFolder();
    put(paths[1]!, '');
    const [batch] = await collect(imageFolder(dir, { size: 8 }), { batchSize: 23 });
    expect(batch!.sampleIds).to.deep.equal(paths.map((_, i) => i).filter((i) => i !== 1));
    const last = await decodeImage(paths.at(-1)!, { height: 8, width: 8 });
    expect(batch!.images.subarray(-192)).to.deep.equal(last);
    expect(batch!.labels.at(-1)).to.equal(2);
  });

  it('fills the batches of training by another sample', async () => {
    const { dir } = await newFolder();
    put(join(dir, 'apple', '004.jpg'), '');
    const set = imageFolder(dir, { size: 8 });
    const ids: (readonly number[])[] = [];
    for (let epoch = 0; epoch < 20; epoch++) {
      const batches = await collect(set, { batchSize: 23, dropLast: true, epoch });
      expect(batches.map((batch) => batch.shape[0])).to.deep.equal([23]);
      ids.push(batches[0]!.sampleIds!);
    }
    for (const id of ids) expect(id).not.to.include(4);
    expect(new Set(ids.map((id) => id[4])).size, 'substitutes').to.be.above(5);
    expect(set.skipped.size).to.equal(1);
  });

  it('leaves a batch out that has no readable image', async () => {
    const { dir } = await newFolder();
    put(join(dir, 'apple', '003.jpg'), '');
    const batches = await collect(imageFolder(dir, { size: 8 }), { batchSize: 1 });
    expect(batches.flatMap((batch) => batch.sampleIds))
      .to.have.length(22)
      .and.not.include(3);
  });

  it('ends where too many cannot be read, at the same place with any number of workers', async () => {
    const { dir } = await newFolder();
    const broken = ['apple/001.jpg', 'banana/000.jpg', 'cherry/003.jpg'].map((name) =>
      put(join(dir, name), ''),
    );
    for (const workers of [1, 4]) {
      let given = 0;
      const set = imageFolder(dir, { size: 8 });
      const error = await failureOf(async () => {
        for await (const batch of set.batches({ batchSize: 4, workers })) given += batch.shape[0];
      });
      expect(error).to.be.instanceOf(DataError).with.property('code', 'TOO_MANY_UNREADABLE');
      expect(error)
        .to.have.property('message')
        .that.equals(
          `${dir}: 2 of 23 images cannot be read, more than 1 %: ` +
            `${broken[0]} (the file is empty), ${broken[1]} (the file is empty)`,
        );
      expect(given).to.equal(7);
    }
    const tolerant = imageFolder(dir, { size: 8, maxSkippedFraction: 0.2 });
    const batches = await collect(tolerant, { batchSize: 4 });
    expect(batches.reduce((sum, batch) => sum + batch.shape[0], 0)).to.equal(20);
    expect([...tolerant.skipped.keys()]).to.deep.equal(broken);
  });

  it('ends at the first when told to, with the file', async () => {
    const { dir } = await newFolder();
    const broken = put(join(dir, 'apple', '001.jpg'), 'text');
    const error = await failureOf(() =>
      collect(imageFolder(dir, { size: 8, onBadImage: 'fail' }), { batchSize: 4 }),
    );
    expect(error).to.be.instanceOf(DataError).with.property('file', broken);
  });

  it('says when no batch can be filled at all', async () => {
    const { dir, paths } = await newFolder();
    for (const path of paths) put(path, '');
    const set = imageFolder(dir, { size: 8, maxSkippedFraction: 1 });
    const error = await failureOf(() => collect(set, { batchSize: 4, dropLast: true }));
    expect(error)
      .to.be.instanceOf(DataError)
      .with.property('message')
      .match(/no readable image found in place of/);
    expect(await collect(set, { batchSize: 4 })).to.deep.equal([]);
  });

  it('leaves out a file that has gone since the folder was listed', async () => {
    const { dir, paths } = await newFolder();
    const set = imageFolder(dir, { size: 8 });
    rmSync(paths[5]!);
    await collect(set, { batchSize: 8 });
    expect([...set.skipped]).to.deep.equal([[paths[5], 'no such file']]);
  });
});
