// Tests of lib/data/arrays.ts: float32 as it stands, uint8 resized, labels checked.
import { expect } from 'chai';
import { ArgumentError, DataError } from '../../lib/core/errors.ts';
import { arrays } from '../../lib/data/arrays.ts';
import { resizePixels } from '../../lib/data/decode.ts';
import { collect, fingerprints } from './collect.ts';

const N = 7;
const pixels = Uint8Array.from({ length: N * 6 * 6 * 3 }, (_, i) => (i * 37 + (i >> 4)) % 256);
const shape = [N, 6, 6, 3];
const labels = Int32Array.from([0, 2, 1, 1, 0, 2, 0]);

describe('arrays', () => {
  it('gives float32 images bit for bit, as they stand', async () => {
    const data = Float32Array.from({ length: N * 4 * 5 * 3 }, (_, i) => Math.sin(i) * 1e3);
    const set = arrays({ data, shape: [N, 4, 5, 3] }, labels);
    expect(set.classes).to.deep.equal(['0', '1', '2']);
    expect(set).to.include({ length: N, size: undefined });
    const batches = await collect(set, { batchSize: 3 });
    expect(batches.map((batch) => batch.shape)).to.deep.equal([
      [3, 4, 5, 3],
      [3, 4, 5, 3],
      [1, 4, 5, 3],
    ]);
    const all = Float32Array.from(batches.flatMap((batch) => [...batch.images]));
    expect(Buffer.compare(Buffer.from(all.buffer), Buffer.from(data.buffer))).to.equal(0);
    expect(batches.flatMap((batch) => [...batch.labels])).to.deep.equal([...labels]);
  });

  it('shuffles and restarts float32 and uint8 images alike', async () => {
    const options = { batchSize: 2, shuffle: true, seed: 9, epoch: 2 } as const;
    const sets = [
      arrays({ data: pixels, shape }, labels),
      arrays({ data: Float32Array.from(pixels), shape }, labels),
    ];
    const [asBytes, asFloats] = await Promise.all(sets.map((set) => collect(set, options)));
    expect(asBytes!.map((batch) => batch.sampleIds)).to.deep.equal(asFloats!.map((batch) => batch.sampleIds));
    asBytes!.forEach((batch, at) => {
      expect([...batch.images]).to.deep.equal([...asFloats![at]!.images]);
      batch.sampleIds!.forEach((id, place) => {
        expect(batch.labels[place]).to.equal(labels[id]);
      });
    });
    for (const set of sets) {
      const rest = fingerprints(await collect(set, { ...options, startBatch: 2 }));
      expect(rest).to.deep.equal(fingerprints(await collect(set, options)).slice(2));
      expect(await collect(set, { ...options, dropLast: true })).to.have.length(3);
    }
  });

  it('keeps uint8 images of the right size, and resizes others', async () => {
    const same = arrays({ data: pixels, shape }, labels);
    expect(same.size).to.equal(6);
    expect([...(await collect(same, { batchSize: N }))[0]!.images]).to.deep.equal([...pixels]);
    const resized = arrays({ data: pixels, shape }, labels, { size: 10 });
    expect(resized.size).to.equal(10);
    const expected = await resizePixels(pixels, [N, 6, 6, 3], { height: 10, width: 10 });
    expect([...(await collect(resized, { batchSize: N }))[0]!.images]).to.deep.equal([...expected]);
  });

  it('augments uint8 images, and refuses to augment float32 ones', async () => {
    const set = arrays({ data: pixels, shape }, labels, { augment: 'inception', color: true });
    const run = async (workers: number, epoch: number) =>
      fingerprints(await collect(set, { batchSize: 4, epoch, workers }));
    expect(await run(1, 0)).to.deep.equal(await run(3, 0));
    expect(await run(1, 0)).not.to.deep.equal(await run(1, 1));
    const floats = arrays({ data: Float32Array.from(pixels), shape }, labels);
    expect(() => floats.batches({ batchSize: 2, augment: 'light' })).to.throw(ArgumentError, /as they stand/);
    expect(() => floats.batches({ batchSize: 2, color: true })).to.throw(ArgumentError, /with color/);
    expect(() => arrays({ data: Float32Array.from(pixels), shape }, labels, { size: 8 })).to.throw(
      ArgumentError,
      /size/,
    );
  });

  it('counts exactly: 10,007 images in batches of 32', async () => {
    const n = 10_007;
    for (const data of [new Uint8Array(n * 3), new Float32Array(n * 3)]) {
      const set = arrays({ data, shape: [n, 1, 1, 3] }, new Int32Array(n), { classes: 2 });
      const seen = (await collect(set, { batchSize: 32, shuffle: true })).flatMap(
        (batch) => batch.sampleIds!,
      );
      expect(seen).to.have.length(n);
      expect(new Set(seen).size).to.equal(n);
    }
  });

  it('takes many labels at once', async () => {
    const manyHot = {
      data: Uint8Array.from({ length: N * 4 }, (_, i) => Number(i % 3 === 0)),
      shape: [N, 4],
    };
    const set = arrays({ data: pixels, shape }, manyHot, { classes: ['a', 'b', 'c', 'd'] });
    expect(set.classes).to.deep.equal(['a', 'b', 'c', 'd']);
    const batches = await collect(set, { batchSize: 3 });
    expect(batches[1]!.labels).to.deep.equal(manyHot.data.slice(12, 24));
  });

  const image = { data: pixels, shape };
  const mistakes: readonly (readonly [string, () => unknown, RegExp])[] = [
    [
      'three dimensions',
      () => arrays({ data: pixels, shape: [N, 36, 3] }, labels),
      /\[n, height, width, 3\]/,
    ],
    ['four channels', () => arrays({ data: pixels, shape: [N, 6, 6, 4] }, labels), /got \[7, 6, 6, 4\]/],
    [
      'no images',
      () => arrays({ data: new Uint8Array(0), shape: [0, 6, 6, 3] }, new Int32Array(0)),
      /nothing empty/,
    ],
    ['a wrong length', () => arrays({ data: pixels.subarray(1), shape }, labels), /expected 756 numbers/],
    ['too few labels', () => arrays(image, labels.subarray(1)), /labels: expected 7, one per image, got 6/],
    [
      'a label out of range',
      () => arrays(image, labels, { classes: 2 }),
      /^labels: label 1 is 2; expected 0 to 1 for 2 classes$/,
    ],
    [
      'a negative label',
      () =>
        arrays(
          image,
          labels.map((label) => label - 1),
        ),
      /label 0 is -1/,
    ],
    [
      'a wrong number of columns',
      () => arrays(image, { data: new Uint8Array(N * 3), shape: [N, 3] }, { classes: 4 }),
      /\[7, 4\]/,
    ],
    [
      'too few rows',
      () => arrays(image, { data: new Uint8Array(18), shape: [6, 3] }),
      /\[7, classes\], got \[6, 3\]/,
    ],
    [
      'a wrong length of labels',
      () => arrays(image, { data: new Uint8Array(5), shape: [N, 3] }),
      /expected 21 numbers/,
    ],
    [
      'a many-hot label of 2',
      () => arrays(image, { data: new Uint8Array(N * 3).fill(2, 7, 8), shape: [N, 3] }),
      /class 1 of label 2 is 2; expected 0 or 1/,
    ],
  ];
  for (const [name, make, message] of mistakes) {
    it(`refuses ${name}`, () => {
      expect(make).to.throw(DataError, message);
    });
  }
});
