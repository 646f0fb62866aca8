// Tests of lib/data/decode.ts: each kind of image becomes red green blue, or is refused with its reason.
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { ArgumentError, DataError } from '../../lib/core/errors.ts';
import { colorMap } from '../../lib/data/augment.ts';
import { type DecodeOptions, decodeImage, imageInfo, resizePixels } from '../../lib/data/decode.ts';
import { bombPng, gradient, plain, pngFile, put, temporaryFolder } from './makeImages.ts';

const SMALL = { height: 8, width: 8 };
const ORANGE = [200, 100, 50] as const;

/** Mean of each channel. */
function means(pixels: Uint8Array): number[] {
  const sums = [0, 0, 0];
  pixels.forEach((value, i) => {
    sums[i % 3]! += value;
  });
  return sums.map((sum) => sum / (pixels.length / 3));
}

async function failure(input: string | Uint8Array, options: DecodeOptions = SMALL): Promise<DataError> {
  try {
    await decodeImage(input, options);
  } catch (error) {
    expect(error).to.be.instanceOf(DataError);
    if (error instanceof DataError) return error;
  }
  throw new Error('the image was decoded');
}

describe('decodeImage', () => {
  const folder = temporaryFolder();
  after(() => folder.remove());

  const orange = () => plain(40, 30, ORANGE);
  const kinds: readonly (readonly [string, () => Promise<Buffer>, readonly number[], number])[] = [
    ['JPEG', () => orange().jpeg({ quality: 95 }).toBuffer(), ORANGE, 1],
    ['progressive JPEG', () => orange().jpeg({ quality: 95, progressive: true }).toBuffer(), ORANGE, 1],
    ['PNG', () => orange().png().toBuffer(), ORANGE, 0],
    ['WebP', () => orange().webp({ lossless: true }).toBuffer(), ORANGE, 0],
    ['GIF', () => orange().gif().toBuffer(), ORANGE, 3],
    ['TIFF', () => orange().tiff({ compression: 'lzw' }).toBuffer(), ORANGE, 0],
    ['AVIF', () => orange().avif({ quality: 90 }).toBuffer(), ORANGE, 3],
    ['grey JPEG', () => plain(40, 30, [90, 90, 90]).toColourspace('b-w').jpeg().toBuffer(), [90, 90, 90], 1],
    ['grey PNG', () => plain(40, 30, [90, 90, 90]).toColourspace('b-w').png().toBuffer(), [90, 90, 90], 0],
    ['16-bit PNG', () => orange().toColourspace('rgb16').png().toBuffer(), ORANGE, 1],
    [
      '16-bit grey PNG',
      () => plain(40, 30, [90, 90, 90]).toColourspace('grey16').png().toBuffer(),
      [90, 90, 90],
      1,
    ],
    ['palette PNG', () => orange().png({ palette: true }).toBuffer(), ORANGE, 1],
    // through the printing inks of a general profile and back: near, not equal
    ['CMYK JPEG', () => orange().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer(), ORANGE, 35],
    [
      'half transparent PNG, over white',
      () => orange().ensureAlpha(0.5).png().toBuffer(),
      [227, 177, 152],
      2,
    ],
    ['transparent PNG, all white', () => orange().ensureAlpha(0).png().toBuffer(), [255, 255, 255], 0],
  ];
  for (const [name, make, expected, tolerance] of kinds) {
    it(`reads a ${name}`, async () => {
      const pixels = await decodeImage(await make(), SMALL);
      expect(pixels.length).to.equal(8 * 8 * 3);
      means(pixels).forEach((mean, channel) => {
        expect(mean).to.be.closeTo(expected[channel]!, tolerance);
      });
    });
  }

  it('keeps every pixel of a PNG at its own size', async () => {
    const image = gradient(31, 17, 99);
    const raw = await image.clone().raw().toBuffer();
    const decoded = await decodeImage(await image.png().toBuffer(), { width: 31, height: 17 });
    expect(Buffer.compare(decoded, raw)).to.equal(0);
  });

  it('ignores colour profiles, as Pillow and TensorFlow do', async () => {
    const profiled = await orange().withIccProfile('p3').png().toBuffer();
    const stored = await sharp(profiled, { ignoreIcc: true }).raw().toBuffer();
    expect(means(await decodeImage(profiled, SMALL))).to.deep.equal(means(stored));
    expect(means(stored)).not.to.deep.equal([...ORANGE]);
  });

  it('applies the rotation of the camera, to crops as well', async () => {
    // stored: red grows to the right; orientation 6 turns it clockwise, so red grows downwards
    const bytes = await gradient(60, 40, 0).withMetadata({ orientation: 6 }).jpeg({ quality: 95 }).toBuffer();
    expect(await imageInfo(bytes)).to.include({ width: 40, height: 60, format: 'jpeg', channels: 3 });
    const pixels = await decodeImage(bytes, { width: 4, height: 6 });
    expect(pixels[5 * 4 * 3]! - pixels[0]!).to.be.above(180); // red, bottom against top
    expect(Math.abs(pixels[3 * 3]! - pixels[0]!)).to.be.below(8); // red, right against left
    let seen = { width: 0, height: 0 };
    const crop = (size: { width: number; height: number }) => {
      seen = size;
      return { left: 0, top: 30, width: 40, height: 30 };
    };
    const lower = await decodeImage(bytes, { width: 4, height: 3, crop });
    expect(seen).to.include({ width: 40, height: 60 });
    expect(means(lower)[0]!).to.be.closeTo(191, 6);
  });

  it('takes the first frame of an animation', async () => {
    const frames = await Promise.all(
      [ORANGE, [0, 0, 255] as const].map((color) => plain(20, 20, color).png().toBuffer()),
    );
    for (const format of ['gif', 'webp'] as const) {
      const animated = await sharp(frames, { join: { animated: true } })
        .toFormat(format)
        .toBuffer();
      expect((await sharp(animated).metadata()).pages).to.equal(2);
      means(await decodeImage(animated, SMALL)).forEach((mean, channel) => {
        expect(mean).to.be.closeTo(ORANGE[channel]!, 8);
      });
    }
  });

  it('reads one pixel, and by content whatever the name', async () => {
    expect([
      ...(await decodeImage(await plain(1, 1, ORANGE).png().toBuffer(), { width: 2, height: 1 })),
    ]).to.deep.equal([...ORANGE, ...ORANGE]);
    const misnamed = put(join(folder.path, 'png.jpg'), await orange().png().toBuffer());
    expect(means(await decodeImage(misnamed, SMALL))).to.deep.equal([...ORANGE]);
  });

  it('reads a range of a file, and refuses one that goes beyond its end', async () => {
    const bytes = await orange().png().toBuffer();
    const path = put(
      join(folder.path, 'range.bin'),
      Buffer.concat([Buffer.alloc(512), bytes, Buffer.alloc(77)]),
    );
    const range = { path, offset: 512, length: bytes.length };
    expect(means(await decodeImage(range, SMALL))).to.deep.equal([...ORANGE]);
    let thrown: unknown;
    await decodeImage({ ...range, length: bytes.length + 100 }, SMALL).catch((error: unknown) => {
      thrown = error;
    });
    expect(thrown)
      .to.be.instanceOf(DataError)
      .with.property('message', `${path}: the file ends 23 bytes too early`);
  });

  it('stretches the whole image, or crops its centre', async () => {
    // left half black, right half white, twice as wide as high
    const halves = Buffer.alloc(80 * 40 * 3).map((_, i) => ((i / 3) % 80 >= 40 ? 255 : 0));
    const bytes = await sharp(halves, { raw: { width: 80, height: 40, channels: 3 } })
      .png()
      .toBuffer();
    const row = async (options: Partial<DecodeOptions>) =>
      [...(await decodeImage(bytes, { width: 8, height: 8, ...options }))]
        .filter((_, i) => i % 3 === 0)
        .slice(0, 8);
    expect((await row({}))[0]).to.equal(0);
    expect((await row({}))[7]).to.equal(255);
    const edge = gradient(80, 40, 0);
    const red = async (resize: DecodeOptions['resize'] & object) =>
      (await decodeImage(await edge.clone().png().toBuffer(), { width: 8, height: 8, resize }))[0]!;
    // the centred square of 40 starts at x = 20, that of 20 at x = 30
    expect(await red({ crop: 1 })).to.be.closeTo((255 * 22) / 79, 3);
    expect(await red({ crop: 0.5 })).to.be.closeTo((255 * 31) / 79, 3);
  });

  it('shrinks with every pixel counted, as antialiased bilinear does', async () => {
    const stripes = Buffer.alloc(64 * 64 * 3).map((_, i) => (Math.floor(i / 3) % 2 ? 255 : 0));
    const bytes = await sharp(stripes, { raw: { width: 64, height: 64, channels: 3 } })
      .png()
      .toBuffer();
    for (const interpolation of ['bilinear', 'bicubic'] as const) {
      for (const value of await decodeImage(bytes, { ...SMALL, interpolation }))
        expect(value).to.be.within(118, 137);
    }
  });

  it('mirrors left and right', async () => {
    const bytes = await gradient(20, 10, 7).png().toBuffer();
    const options = { width: 20, height: 10 };
    const [whole, mirrored] = [
      await decodeImage(bytes, options),
      await decodeImage(bytes, { ...options, flip: true }),
    ];
    for (let x = 0; x < 20; x++) expect(mirrored[x * 3]).to.equal(whole[(19 - x) * 3]);
  });

  it('changes colour by the given map and cuts to 0 to 255', async () => {
    const color = colorMap({ brightness: 20, contrast: 1.4, saturation: 0.7, hue: 0.1 });
    const out = await decodeImage(await orange().png().toBuffer(), { ...SMALL, color });
    color.matrix.forEach((row, channel) => {
      const mixed = row[0] * ORANGE[0] + row[1] * ORANGE[1] + row[2] * ORANGE[2];
      const expected = Math.min(255, Math.max(0, mixed * color.scale + color.offset));
      expect(out[channel]).to.be.closeTo(expected, 1.5);
    });
    const grey = await plain(9, 9, [80, 80, 80]).toColourspace('b-w').png().toBuffer();
    const dark = colorMap({ brightness: -200, contrast: 1, saturation: 1, hue: 0 });
    expect(means(await decodeImage(grey, { ...SMALL, color: dark }))).to.deep.equal([0, 0, 0]);
  });

  it('refuses what is no image, with the file and the reason', async () => {
    const text = put(join(folder.path, 'text.jpg'), 'not an image at all');
    expect((await failure(text)).message).to.equal(`${text}: not a JPEG, PNG, WebP, GIF, TIFF or AVIF image`);
    expect((await failure(text)).file).to.equal(text);
    const empty = put(join(folder.path, 'empty.jpg'), '');
    expect((await failure(empty)).message).to.equal(`${empty}: the file is empty`);
    expect((await failure(join(folder.path, 'none.jpg'))).message).to.match(/none\.jpg: no such file$/);
    expect((await failure(folder.path)).message).to.match(/is a folder/);
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>';
    expect((await failure(put(join(folder.path, 'drawing.png'), svg))).message).to.match(/not a JPEG/);
  });

  it('refuses damaged and cut files of every format', async () => {
    const noise = Buffer.alloc(64 * 64 * 3).map((_, i) => (i * 7919 + (i >> 3) * 104729) % 256);
    const image = sharp(noise, { raw: { width: 64, height: 64, channels: 3 } });
    const jpeg = await image.clone().jpeg().toBuffer();
    const damaged = Buffer.from(jpeg);
    damaged.fill(0xff, jpeg.length >> 1, (jpeg.length >> 1) + 40);
    const files = {
      'damaged.jpg': damaged,
      'cut.jpg': jpeg.subarray(0, jpeg.length >> 1),
      'cut.png': (await image.clone().png().toBuffer()).subarray(0, -30),
      'cut.webp': (await image.clone().webp({ quality: 90 }).toBuffer()).subarray(0, -1000),
      'headerOnly.jpg': jpeg.subarray(0, 4),
    };
    for (const [name, bytes] of Object.entries(files)) {
      const error = await failure(put(join(folder.path, name), bytes));
      expect(error.message, name)
        .to.match(new RegExp(`/${name}: .+`))
        .and.not.match(/\n/);
    }
  });

  it('refuses bombs and absurd sizes before allocating for them', async function () {
    this.timeout(60_000);
    const bomb = put(join(folder.path, 'bomb.png'), await bombPng(30_000));
    const header = Buffer.alloc(13);
    header.writeUInt32BE(0x7fffffff, 0);
    header.writeUInt32BE(0x7fffffff, 4);
    header.set([8, 2], 8);
    const absurd = pngFile([
      ['IHDR', header],
      ['IDAT', Buffer.alloc(10)],
      ['IEND', Buffer.alloc(0)],
    ]);
    const jpeg = await plain(8, 8, ORANGE).jpeg().toBuffer();
    const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    jpeg.fill(0xff, frame + 5, frame + 9); // 65,535 x 65,535
    const before = process.resourceUsage().maxRSS;
    expect((await failure(bomb)).message).to.match(/more than 268402689 pixels$/);
    expect(
      (await failure(bomb, { ...SMALL, crop: () => ({ left: 0, top: 0, width: 9, height: 9 }) })).message,
    ).to.match(/more than 268402689 pixels$/);
    await failure(absurd);
    await failure(jpeg);
    expect(process.resourceUsage().maxRSS - before).to.be.below(64 * 1024); // KiB
  });

  it('refuses sizes that are none', async () => {
    const bytes = await orange().png().toBuffer();
    for (const width of [0, -1, 1.5, Number.NaN]) {
      let thrown: unknown;
      await decodeImage(bytes, { width, height: 8 }).catch((error: unknown) => {
        thrown = error;
      });
      expect(thrown).to.be.instanceOf(ArgumentError);
    }
  });
});

describe('resizePixels', () => {
  it('gives what decoding a lossless file of each image gives', async () => {
    const images = [gradient(30, 20, 10), gradient(30, 20, 200)];
    const raw = await Promise.all(images.map((image) => image.clone().raw().toBuffer()));
    const out = await resizePixels(Buffer.concat(raw), [2, 20, 30, 3], { width: 12, height: 9 });
    const expected = await Promise.all(
      images.map(async (image) => decodeImage(await image.png().toBuffer(), { width: 12, height: 9 })),
    );
    expect(Buffer.compare(out, Buffer.concat(expected))).to.equal(0);
  });

  it('copies where nothing changes, and refuses a wrong length', async () => {
    const raw = await gradient(8, 8, 1).raw().toBuffer();
    const out = await resizePixels(raw, [1, 8, 8, 3], SMALL);
    expect(Buffer.compare(out, raw)).to.equal(0);
    expect(out.buffer).not.to.equal(raw.buffer);
    let thrown: unknown;
    await resizePixels(raw, [2, 8, 8, 3], SMALL).catch((error: unknown) => {
      thrown = error;
    });
    expect(thrown)
      .to.be.instanceOf(DataError)
      .with.property('message')
      .match(/expected 384 bytes/);
  });
});
