// How speed and memory grow: the points that are measured or left out, what is said of them, and the picture.
// The figures are made up.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import type { Contender } from '../../bench/support/contenders.ts';
import {
  expectedBytes,
  type Growth,
  measureGrowth,
  type Point,
  trendsOf,
} from '../../bench/support/growth.ts';
import { drawGrowth, growthMarkdown, growthText } from '../../bench/support/growthReport.ts';

const point = (batch: number, millisecondsPerImage: number, peakBytes: number): Point => {
  const speed = 1000 / millisecondsPerImage;
  return {
    mode: 'train',
    size: 299,
    batch,
    imagesPerSecond: { median: speed, min: speed, max: speed },
    peakBytes,
  };
};

/** Memory of 1 GB and 0.1 GB per image; from batch 8 on, 5 % between the fastest and the slowest. */
const points = [
  point(1, 200, 1.1e9),
  point(4, 150, 1.4e9),
  point(8, 100, 1.8e9),
  point(16, 105, 2.6e9),
  point(32, 102, 4.2e9),
];

describe('bench: growth', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-growth-'));
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('finds how far the time per image varies, and the line that memory follows', () => {
    const [trend] = trendsOf(points);
    expect(trend?.timeSpread).to.be.closeTo(0.05, 1e-9);
    expect(trend?.memory?.intercept).to.be.closeTo(1e9, 1);
    expect(trend?.memory?.slope).to.be.closeTo(0.1e9, 1);
    expect(trend?.memory?.deviation).to.be.closeTo(0, 1e-9);
    const bent = trendsOf([...points.slice(0, 4), point(32, 100, 8e9)]);
    expect(bent[0]?.memory?.deviation).to.be.greaterThan(0.1);
    expect(trendsOf(points.slice(0, 2))).to.deep.equal([
      { mode: 'train', size: 299, timeSpread: undefined, memory: undefined },
    ]);
  });

  it('expects the memory of a larger batch from two smaller ones', () => {
    expect(expectedBytes([[1, 1.1e9]], 4)).to.equal(undefined);
    expect(expectedBytes([[1, 1.1e9], [2, 1.2e9]], 64)).to.be.closeTo(7.4e9, 1); // biome-ignore format: pairs
  });

  it('makes tables with a row per point', () => {
    const growth: Growth = {
      points,
      omitted: [{ mode: 'train', size: 299, batch: 64, expectedBytes: 21e9 }],
      trends: trendsOf(points),
    };
    const lines = growthText(growth).split('\n');
    const cells = (line: string | undefined) => line?.trim().split(/\s{2,}/);
    expect(cells(lines[3])).to.deep.equal(['train', '299', '8', '10.00', '10.00', '10.00', '100.0', '1800']);
    expect(cells(lines[6])).to.deep.equal(['train', '299', '64', '-', '-', '-', '-', '> 21000']);
    expect(lines[7]).to.equal(
      'train, 299 pixels: time per image within 5.0 % from batch 8 on; memory 1000 MB + 100.0 MB per image, within 0.0 %',
    );
    expect(growthMarkdown(growth)).to.contain('| train | 299 | 8 | 10.00 | 10.00 | 10.00 | 100.0 | 1800 |');
  });

  it('measures each point in processes of its own, and leaves out what does not fit', async () => {
    const diary = join(folder, 'diary');
    const fake: Contender = {
      name: 'fake',
      modes: ['train'],
      command: ({ batch }) => ({
        file: process.execPath,
        args: [resolve(import.meta.dirname, 'fakePeer.mjs'), `batch${batch}`, diary, '250'],
      }),
    };
    const growth = await measureGrowth(
      fake,
      { mode: ['train'], batch: [4, 1, 2], size: [71], rounds: 2, seconds: 0, threads: 1, limitBytes: 0 },
      () => undefined,
    );
    // Two points have to be measured before a third can be expected to need more than nothing.
    expect(growth.points.map(({ batch, imagesPerSecond }) => [batch, imagesPerSecond.median])).to.deep.equal([
      [1, 4],
      [2, 8],
    ]);
    expect(growth.omitted.map(({ batch }) => batch)).to.deep.equal([4]);
    expect(readFileSync(diary, 'utf8').trim().split('\n')).to.deep.equal(
      [1, 2, 1, 2].flatMap((batch) => [`batch${batch} 1`, `batch${batch} 3`]),
    );
  });

  it('draws a picture with a panel for speed and one for memory', async () => {
    const path = join(folder, 'growth.png');
    await drawGrowth(points, path);
    const { format, width, height } = await sharp(path).metadata();
    expect(format).to.equal('png');
    expect(width).to.be.within(600, 2000);
    expect(height).to.be.within(900, 2000);
    const { channels } = await sharp(path).stats();
    expect(channels[0]?.min, 'something is drawn').to.be.lessThan(100);
  });
});
