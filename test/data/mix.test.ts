// Tests of lib/data/mix.ts and of batches that are mixed, erased and changed: formulas, and what the numbers depend on.
import { expect } from 'chai';
import { type Batch, type BatchOptions, imageFolder } from '../../lib/data/index.ts';
import { cutBox, drawMix, type MixKey } from '../../lib/data/mix.ts';
import { imageSupport } from '../../lib/data/pool.ts';
import { putClasses, temporaryFolder } from './makeImages.ts';

const key: MixKey = { seed: 7, epoch: 2, batch: 0, mixup: 0, cutmix: 0 };
const image = { width: 60, height: 40 };

describe('the share of a mix', () => {
  for (const a of [0.05, 0.2, 1, 1.5, 8]) {
    it(`is from Beta(${a}, ${a}): mean 1/2, variance 1 / (8a + 4)`, () => {
      const n = 4000;
      const shares = Array.from(
        { length: n },
        (_, batch) => drawMix({ ...key, batch, mixup: a }, image)!.share,
      );
      const mean = shares.reduce((sum, x) => sum + x, 0) / n;
      const variance = shares.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n;
      const expected = 1 / (8 * a + 4);
      // Four standard errors; that of a variance is at most its own size times sqrt(2 / n) for such short tails.
      expect(mean).to.be.closeTo(0.5, 4 * Math.sqrt(expected / n));
      expect(variance).to.be.closeTo(expected, 4 * expected * Math.sqrt(2 / n));
    });
  }

  it('depends on seed, epoch and batch alone, and on each of them', () => {
    const draw = (more: Partial<MixKey>) => drawMix({ ...key, mixup: 0.4, ...more }, image);
    expect(draw({})).to.deep.equal(draw({}));
    for (const other of [{ seed: 8 }, { epoch: 3 }, { batch: 1 }]) {
      expect(draw(other)).not.to.deep.equal(draw({}));
    }
  });

  it('is what CutMix leaves of the area', () => {
    for (let batch = 0; batch < 200; batch++) {
      const { box, share } = drawMix({ ...key, batch, cutmix: 1 }, image)!;
      if (box === undefined) continue;
      const { left, top, right, bottom } = box;
      expect(left).to.be.at.least(0).and.below(right);
      expect(top).to.be.at.least(0).and.below(bottom);
      expect(right).to.be.at.most(60);
      expect(bottom).to.be.at.most(40);
      expect(share).to.equal(1 - ((right - left) * (bottom - top)) / 2400);
    }
    // In the middle nothing is cut off: a quarter of the area.
    expect(cutBox(0.75, image, 0.5, 0.5)).to.deep.equal({ left: 15, top: 10, right: 45, bottom: 30 });
    expect(cutBox(0.75, image, 0, 0)).to.deep.equal({ left: 0, top: 0, right: 15, bottom: 10 });
  });

  it('is that of one way or the other, where both are asked for', () => {
    const draws = Array.from({ length: 400 }, (_, batch) =>
      drawMix({ ...key, batch, mixup: 1, cutmix: 1 }, image),
    );
    expect(draws.filter((draw) => draw?.box !== undefined).length).to.be.within(160, 240);
    expect(drawMix(key, image)).to.equal(undefined);
  });
});

(imageSupport().native ? describe : describe.skip)('batches', () => {
  const folder = temporaryFolder();

  before(async () => {
    await putClasses(folder.path, { a: 9, b: 8, c: 7 });
  });
  after(() => folder.remove());

  const batches = async (more: Partial<BatchOptions>): Promise<Batch[]> => {
    const found: Batch[] = [];
    const data = imageFolder(folder.path, { size: 32 });
    const options = { batchSize: 8, shuffle: true, dropLast: true, seed: 3, epoch: 1, ...more };
    for await (const batch of data.batches({ augment: 'light', ...options })) found.push(batch);
    return found;
  };
  const stride = 32 * 32 * 3;

  it('are blended with their neighbours by mixup, and keep both labels', async () => {
    const plain = await batches({});
    const mixed = await batches({ mixup: 0.8 });
    expect(mixed).to.have.length(3);
    mixed.forEach(({ images, labels, mix, sampleIds }, at) => {
      const own = plain[at]!;
      expect(sampleIds).to.deep.equal(own.sampleIds);
      expect(labels).to.deep.equal(own.labels);
      expect([...mix!.labels]).to.deep.equal([...own.labels].map((_, i) => [...own.labels].at(i - 1)));
      const share = mix!.shares[0]!;
      expect(new Set(mix!.shares)).to.have.property('size', 1);
      images.forEach((value, i) => {
        const other = own.images.at(i - stride) as number;
        expect(Math.abs(value - (share * own.images[i]! + (1 - share) * other))).to.be.at.most(0.51);
      });
    });
  });

  it('have a part of their neighbours by cutmix', async () => {
    const plain = await batches({});
    for (const [at, { images, mix }] of (await batches({ cutmix: 1 })).entries()) {
      const own = plain[at]!.images;
      let foreign = 0;
      images.forEach((value, i) => {
        if (value !== own[i]) {
          expect(value).to.equal(own.at(i - stride));
          foreign++;
        }
      });
      // Pixels of the box may be alike by chance.
      expect(foreign / images.length).to.be.at.most(1 - mix!.shares[0]! + 1e-6);
      expect(foreign / images.length).to.be.at.least(0.6 * (1 - mix!.shares[0]!));
    }
  });

  it('are erased in so many images as asked for, and changed by randaugment', async () => {
    const plain = (await batches({}))[0]!.images;
    const erased = (await batches({ erasing: 0.5 }))[0]!.images;
    const changed = new Array<number>(8).fill(0);
    erased.forEach((value, i) => {
      if (value !== plain[i]) changed[Math.floor(i / stride)]! += 1;
    });
    expect(changed.filter((n) => n > 0)).to.have.length.within(1, 7);
    for (const n of changed) if (n > 0) expect(n / stride).to.be.within(0.01, 0.42);
    const inception = (await batches({ augment: 'inception' }))[0]!.images;
    const augmented = (await batches({ augment: 'randaugment' }))[0]!.images;
    expect(augmented).not.to.deep.equal(inception);
  });

  it('are the same with 1, 2 and 4 workers, with everything at once, and from the middle of an epoch', async () => {
    const all = { augment: 'randaugment', color: true, erasing: 0.5, mixup: 0.2, cutmix: 1 } as const;
    const one = await batches({ ...all, workers: 1 });
    expect(await batches({ ...all, workers: 2 })).to.deep.equal(one);
    expect(await batches({ ...all, workers: 4 })).to.deep.equal(one);
    expect(await batches({ ...all, workers: 2, startBatch: 2 })).to.deep.equal(one.slice(2));
    expect(await batches({ ...all, epoch: 2 })).not.to.deep.equal(one);
  });

  it('refuse amounts out of range', async () => {
    for (const wrong of [{ erasing: 1.1 }, { mixup: -1 }, { cutmix: Number.NaN }]) {
      const error = await batches(wrong).catch((error: unknown) => error);
      expect(error)
        .to.be.an('error')
        .with.property('message')
        .that.matches(/expected a number from 0 to/);
    }
  });
});
