// Tests of the native image pipeline: pixels against Pillow and torchvision, random numbers against augment.ts, damaged
// files, and that the number of threads changes nothing.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import sharp, { type Sharp } from 'sharp';
import { augmentationCrop, augmentationFlip, type ImageSize, randomColor } from '../../lib/data/augment.ts';
import { decodeImage } from '../../lib/data/decode.ts';
import { imageFolder } from '../../lib/data/index.ts';
import { type ImageJob, ImagePool, type ImageRules, imageSupport } from '../../lib/data/pool.ts';
import { bombPng, gradient, plain, pngFile, put, temporaryFolder } from './makeImages.ts';

interface Recorded {
  readonly resized: readonly {
    readonly size: readonly [number, number];
    readonly interpolation: 'bilinear' | 'bicubic';
    readonly pixels: string;
  }[];
  readonly jpegs: readonly {
    readonly kind: string;
    readonly size: readonly [number, number];
    readonly file: string;
    readonly pixels: string;
  }[];
  readonly changes: readonly { readonly op: string; readonly magnitude: number; readonly pixels: string }[];
}

const fixture = new URL('../fixtures/imagePipeline.json', import.meta.url);
const recorded = JSON.parse(readFileSync(fixture, 'utf8')) as Recorded;
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

/** The image of the same name in scripts/record/image_pipeline.py. */
function made(width: number, height: number): Uint8Array {
  const at = (i: number) => {
    const x = Math.floor(i / 3) % width;
    const y = Math.floor(i / 3 / width);
    return ((x * 13 + y * 7 + x * y + (i % 3) * 53) % 200) + 20;
  };
  return Uint8Array.from({ length: width * height * 3 }, (_, i) => at(i));
}

/** A photograph's likeness: smooth, with neither symmetry nor equal channels. */
function scene(width: number, height: number): Sharp {
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < pixels.length; i++) {
    const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3];
    pixels[i] = 128 + 60 * Math.sin(x / 9 + c) + 60 * Math.cos(y / 13 - c + x / 40);
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

const largest = (a: Uint8Array, b: Uint8Array) =>
  a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);
const mean = (a: Uint8Array, b: Uint8Array) =>
  a.reduce((sum, v, i) => sum + Math.abs(v - b[i]!), 0) / a.length;

const support = imageSupport();

(support.native ? describe : describe.skip)('native images', () => {
  const folder = temporaryFolder();
  let pool: ImagePool;

  before(() => {
    pool = new ImagePool(2);
  });

  after(() => {
    pool.close();
    folder.remove();
  });

  /** One image. */
  const make = async (rules: ImageRules, input: ImageJob['input'], sample = 0): Promise<Uint8Array> => {
    const out = new Uint8Array(rules.height * rules.width * 3);
    const failures = await pool.make(rules, [{ input, sample }], out);
    expect(failures.map(({ reason }) => reason)).to.deep.equal([]);
    return out;
  };

  const reason = async (bytes: Uint8Array | string, rules: Partial<ImageRules> = {}): Promise<string> => {
    const input = typeof bytes === 'string' ? { path: bytes } : bytes;
    const out = new Uint8Array(8 * 8 * 3);
    const [failure] = await pool.make({ height: 8, width: 8, ...rules }, [{ input }], out);
    return failure === undefined ? 'made' : `${failure.status}: ${failure.reason}`;
  };

  it('are resized as by Pillow, to the bit', async () => {
    const input = { pixels: made(13, 11), height: 11, width: 13 };
    for (const { size, interpolation, pixels } of recorded.resized) {
      const [width, height] = size;
      const out = await make({ height, width, interpolation }, input);
      expect(largest(out, bytesOf(pixels)), `${size} ${interpolation}`).to.equal(0);
    }
  });

  for (const { kind, size, file, pixels } of recorded.jpegs) {
    it(`are decoded and resized as by Pillow: ${kind}`, async () => {
      const [width, height] = size;
      const out = await make({ height, width }, bytesOf(file));
      expect(largest(out, bytesOf(pixels))).to.equal(0);
    });
  }

  it('are changed as by the ops of torchvision', () => {
    const names = [...new Set(recorded.changes.map(({ op }) => op))];
    for (const { op, magnitude, pixels } of recorded.changes) {
      const image = made(14, 12);
      pool.change(names.indexOf(op), magnitude, image, { height: 12, width: 14 });
      expect(largest(image, bytesOf(pixels)), `${op} ${magnitude}`).to.equal(0);
    }
  });

  it('draw the crops, flips and colours of augment.ts', () => {
    for (const augment of ['inception', 'light'] as const) {
      const [seed, epoch] = [2 ** 40 + 17, 3];
      const sizes: ImageSize[] = [
        { height: 400, width: 533 },
        { height: 40, width: 9 },
        { height: 1, width: 1 },
      ];
      const samples = Array.from({ length: 300 }, (_, sample) => ({ sample, ...sizes[sample % 3]! }));
      const draws = pool.draws({ height: 1, width: 1, augment, color: true, seed, epoch }, samples);
      samples.forEach(({ sample, ...size }, i) => {
        const key = { seed, epoch, index: sample };
        const { crop, flip, matrix, scale, offset } = draws[i]!;
        expect(crop).to.deep.equal(augmentationCrop(augment, key)?.(size));
        expect(flip).to.equal(augmentationFlip(augment, key));
        const color = randomColor(key);
        [...color.matrix.flat(), color.scale, color.offset].forEach((value, at) => {
          expect([...matrix, scale, offset][at]).to.be.closeTo(value, 1e-12);
        });
      });
    }
  });

  it('are cropped out of a JPEG without decoding the rest: the same as out of its pixels', async () => {
    for (const chromaSubsampling of ['4:4:4', '4:2:0']) {
      for (const progressive of [false, true]) {
        const file = await scene(131, 94).jpeg({ chromaSubsampling, progressive }).toBuffer();
        const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
        const input = { pixels: new Uint8Array(data), height: info.height, width: info.width };
        // Large enough that nothing is shrunk while decoding.
        const rules = { height: 70, width: 75, augment: 'inception', color: true } as const;
        for (let sample = 0; sample < 40; sample++) {
          const out = await make(rules, file, sample);
          const far = largest(out, await make(rules, input, sample));
          expect(far, `${chromaSubsampling}, progressive ${progressive}, sample ${sample}`).to.equal(0);
        }
      }
    }
  });

  it('are nearly the same where a JPEG is shrunk while decoding', async () => {
    const file = await scene(640, 480).jpeg({ quality: 95 }).toBuffer();
    const { data } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
    const input = { pixels: new Uint8Array(data), height: 480, width: 640 };
    for (const edge of [100, 48, 20]) {
      const rules = { height: edge, width: edge, augment: 'light' } as const;
      for (let sample = 0; sample < 5; sample++) {
        expect(mean(await make(rules, file, sample), await make(rules, input, sample))).to.be.below(1.5);
      }
    }
  });

  it('are turned as the camera was held: as by sharp, for all eight orientations', async () => {
    const rules = { height: 40, width: 32, augment: 'light', seed: 5 } as const;
    for (let orientation = 1; orientation <= 8; orientation++) {
      const file = await scene(90, 60).withMetadata({ orientation }).jpeg({ quality: 95 }).toBuffer();
      for (let index = 0; index < 4; index++) {
        const key = { seed: 5, epoch: 0, index };
        const expected = await decodeImage(file, {
          ...rules,
          crop: augmentationCrop('light', key),
          flip: augmentationFlip('light', key),
        });
        expect(mean(await make(rules, file, index), expected), `orientation ${orientation}`).to.be.below(1.5);
      }
    }
  });

  it('of four inks become red, green and blue', async () => {
    const file = await plain(40, 30, [200, 100, 50]).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer();
    expect((await sharp(file).metadata()).channels).to.equal(4);
    const out = await make({ height: 6, width: 6 }, file);
    // Inks have no exact colours: the order of the channels, and that they are not inverted.
    expect(out[0]).to.be.above(out[1]! + 30);
    expect(out[1]).to.be.above(out[2]! + 10);
  });

  it('are the same with 1, 2 and 4 threads, in folders of many kinds', async () => {
    for (let i = 0; i < 24; i++) {
      const image = scene(90 + 7 * i, 70 + 5 * (i % 7));
      const bytes =
        i % 6 === 0
          ? await image.png().toBuffer()
          : await image.jpeg({ progressive: i % 5 === 0 }).toBuffer();
      const damaged = i === 10 ? bytes.subarray(0, bytes.length / 2) : bytes;
      put(`${folder.path}/kinds/${i % 2}/${i}.jpg`, damaged);
    }
    const data = await imageFolder(`${folder.path}/kinds`, { size: 48, maxSkippedFraction: 0.1 });
    const runs: Uint8Array[][] = [];
    for (const workers of [1, 2, 4]) {
      const images: Uint8Array[] = [];
      const options = {
        batchSize: 6,
        shuffle: true,
        dropLast: true,
        seed: 9,
        epoch: 1,
        color: true,
      } as const;
      for await (const batch of data.batches({ ...options, augment: 'inception', workers })) {
        images.push(batch.images as Uint8Array);
      }
      expect(images).to.have.length(4);
      runs.push(images);
    }
    expect(runs[1]).to.deep.equal(runs[0]);
    expect(runs[2]).to.deep.equal(runs[0]);
  });

  it('that are damaged, or none, are told with the reason', async () => {
    const file = await scene(200, 150).jpeg().toBuffer();
    expect(await reason(file)).to.equal('made');
    expect(await reason(file.subarray(0, 2000))).to.match(/^unreadable: Premature end of JPEG file/);
    const middle = Buffer.from(file);
    middle.fill(0xff, 3000, 3400);
    expect(await reason(middle)).to.match(/^unreadable: /);
    expect(await reason(new Uint8Array(0))).to.equal('unreadable: the file is empty');
    expect(await reason(Buffer.from('a text'))).to.match(/^unreadable: not a JPEG, PNG/);
    expect(await reason(await plain(4, 4, [1, 2, 3]).png().toBuffer())).to.equal('other: not a JPEG');
    expect(await reason(`${folder.path}/absent.jpg`)).to.equal('unreadable: no such file');
    expect(await reason(folder.path)).to.equal('unreadable: is a folder, not an image');
    // Behind the start of the frame: precision, height and width.
    const frame = file.indexOf(Buffer.of(0xff, 0xc0)) + 4;
    const bomb = Buffer.from(file);
    bomb.writeUInt16BE(30_000, frame + 1);
    bomb.writeUInt16BE(30_000, frame + 3);
    expect(await reason(bomb)).to.equal('unreadable: more than 268402689 pixels');
    bomb.writeUInt16BE(0, frame + 3);
    expect(await reason(bomb)).to.match(/^unreadable: Empty JPEG image/);
    const deep = Buffer.from(file);
    deep[frame] = 12;
    expect(await reason(deep)).to.match(/^other: Unsupported JPEG data precision 12/);
  });

  it('that are bombs are refused without memory for them: less than 64 MB more', async function () {
    this.timeout(60_000);
    const file = await scene(400, 300).jpeg().toBuffer();
    const frame = file.indexOf(Buffer.of(0xff, 0xc0)) + 4;
    const progressive = await scene(400, 300).jpeg({ progressive: true }).toBuffer();
    const sized = (height: number, width: number, from = file) => {
      const bytes = Buffer.from(from);
      const at = from === file ? frame : from.indexOf(Buffer.of(0xff, 0xc2)) + 4;
      bytes.writeUInt16BE(height, at + 1);
      bytes.writeUInt16BE(width, at + 3);
      return bytes;
    };
    const header = Buffer.alloc(13);
    header.writeUInt32BE(0x7fffffff, 0);
    header.writeUInt32BE(0x7fffffff, 4);
    header.set([8, 2], 8);
    const files = {
      'a/bomb.png': await bombPng(30_000),
      'a/bomb.jpg': sized(30_000, 30_000),
      'a/widest.jpg': sized(65_500, 65_500),
      // Within the limit, and cut off: its rows are decoded one by one until they end.
      'a/tall.jpg': sized(16_000, 16_000),
      'b/progressive.jpg': sized(16_000, 16_000, progressive),
      'b/absurd.png': pngFile([
        ['IHDR', header],
        ['IDAT', Buffer.alloc(10)],
        ['IEND', Buffer.alloc(0)],
      ]),
      'b/cut.jpg': file.subarray(0, file.length / 2),
      'b/empty.jpg': Buffer.alloc(0),
      'b/text.jpg': Buffer.from('not an image'),
    };
    for (const [name, bytes] of Object.entries(files)) put(`${folder.path}/bombs/${name}`, bytes);
    for (const name of ['a/1.jpg', 'a/2.jpg', 'b/3.jpg', 'b/4.jpg']) put(`${folder.path}/good/${name}`, file);
    put(`${folder.path}/good/b/5.png`, await scene(400, 300).png().toBuffer());
    expect(files['a/bomb.png'].length).to.be.below(200_000);
    const run = join(import.meta.dirname, 'bombRun.ts');
    const [bombs, good] = [`${folder.path}/bombs`, `${folder.path}/good`];
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', run, bombs, good]);
    const { skipped, grownBytes } = JSON.parse(stdout) as {
      skipped: [string, string][][];
      grownBytes: number;
    };
    for (const each of skipped) {
      const reasons = new Map(each.map(([path, reason]) => [path.slice(bombs.length + 1), reason]));
      expect([...reasons.keys()].sort()).to.deep.equal(Object.keys(files).sort());
      for (const name of ['a/bomb.png', 'a/bomb.jpg', 'a/widest.jpg']) {
        expect(reasons.get(name), name).to.match(/pixels|dimension|too large/i);
      }
    }
    expect(grownBytes).to.be.below(64e6);
  });

  it('that were asked for are not begun once that is cancelled', async () => {
    const other = new ImagePool(1);
    const file = await gradient(500, 400, 9).jpeg().toBuffer();
    const out = new Uint8Array(400 * 8 * 8 * 3);
    const jobs = Array.from({ length: 400 }, (_, place) => ({ input: file, place }));
    const promise = other.make({ height: 8, width: 8 }, jobs, out);
    other.cancel();
    const left = await promise;
    expect(left).to.have.length.above(0);
    expect(new Set(left.map(({ status }) => status))).to.deep.equal(new Set(['cancelled']));
    other.close();
    expect(() => other.cancel()).to.throw(/pool/);
  });
});
