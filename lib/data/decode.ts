// Decoding: an image file or pixels to uint8 red green blue of a given size, off the JavaScript thread.
import { open } from 'node:fs/promises';
import sharp, { type Sharp, type SharpOptions } from 'sharp';
import { DataError } from '../core/errors.ts';
import { type ColorMap, centerCrop, type ImageSize, type Rectangle } from './augment.ts';
import { checkInteger } from './batch.ts';
import { checkJpegMemory } from './jpegHeader.ts';
import type { FileRange, Pixels } from './source.ts';

/**
 * Images with more pixels are refused from their header, before anything is allocated for them (0x3fff
 * squared).
 */
export const MAX_PIXELS = 268_402_689;

/** Files with more bytes are not read. */
export const MAX_FILE_BYTES = 256 * 2 ** 20;

// One thread per image: parallelism is across images, where it costs no waiting. No cache: no image is
// decoded twice.
sharp.concurrency(1);
sharp.cache(false);

/**
 * How a whole image becomes a square one, where no random crop does.
 *
 * - `'stretch'`: all of the image, its aspect not kept. What Keras does (`image_dataset_from_directory`,
 *   `load_img`), whose weights are read here; it loses nothing of the image, and the random crops of training
 *   vary the aspect anyway.
 * - `{ crop: fraction }`: the centred square with this fraction of the shorter edge, aspect kept; what timm
 *   (0.897) and torchvision (0.875) do. Cropping comes first, so that there is one interpolation; positions
 *   differ from theirs by about a pixel.
 */
export type ResizeRule = 'stretch' | { readonly crop: number };

/**
 * `bilinear` and `bicubic`, both widened when shrinking (antialiased), as Pillow has them. JPEGs that shrink
 * to less than half are shrunk in part while decoding. On photographs of 400 pixels the mean difference from
 * Pillow's bilinear is 0.2 of 255 at 299 and 224 pixels, and 1.1 at 96.
 */
export type Interpolation = 'bilinear' | 'bicubic';

/** Where an encoded image is: a path, a range of a file, or bytes. */
export type ImageInput = string | FileRange | Uint8Array;

/** What to make of an image. */
export interface DecodeOptions {
  /** Height of the result in pixels. */
  readonly height: number;
  /** Width of the result in pixels. */
  readonly width: number;
  /** What becomes of the whole image where there is no `crop`. Default 'stretch'. */
  readonly resize?: ResizeRule;
  /**
   * The part to take, as a function of the image's size (after the camera's rotation). Default: by `resize`.
   */
  readonly crop?: ((image: ImageSize) => Rectangle) | undefined;
  /** Whether to mirror left and right. Default false. */
  readonly flip?: boolean;
  /** Change of colour, applied last; results are cut to 0 to 255. Default: none. */
  readonly color?: ColorMap | undefined;
  /** Default 'bilinear'. */
  readonly interpolation?: Interpolation;
}

/** What an image's header says. */
export interface ImageInfo extends ImageSize {
  /** 'jpeg', 'png', 'webp', 'gif', 'tiff' or 'avif' */
  readonly format: string;
  /** Channels as stored: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha or CMYK. */
  readonly channels: number;
  /** Bits of a stored channel. */
  readonly depth: string;
}

const SHARP_OPTIONS: SharpOptions = {
  failOn: 'warning', // a JPEG damaged in its middle is only a warning to libjpeg, and grey noise in the image
  limitInputPixels: MAX_PIXELS,
  autoOrient: true, // the camera's rotation (EXIF)
  ignoreIcc: true, // as TensorFlow and Pillow do: published weights see what they were trained on
};

/**
 * Decodes an image file and resizes it, off the JavaScript thread.
 *
 * The camera's rotation (EXIF) is applied. Grey, CMYK, palette and 16-bit images become 8-bit red green blue;
 * transparency is laid over white, the background of most pictures that have it; of an animation the first
 * frame is taken; colour profiles are ignored. JPEG, PNG, WebP, GIF, TIFF and AVIF are told by content,
 * whatever the file's name.
 *
 * @param input a path, a range of a file, or the bytes of a file
 * @returns [height, width, 3], red green blue
 * @throws DataError naming the file, when it cannot be read, is not such an image, is damaged (lines below a
 *   crop are not read, so not found damaged), is larger than 256 MiB or has more than 268,402,689 pixels
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions): Promise<Uint8Array> {
  checkInteger('height', options.height, 1);
  checkInteger('width', options.width, 1);
  return await withReason(input, async () => {
    const bytes = await readImageFile(input);
    checkJpegMemory(bytes);
    const crop = options.crop ?? resizeCrop(options.resize ?? 'stretch');
    const rectangle = crop?.(await orientedSize(sharp(bytes, SHARP_OPTIONS)));
    return await render(sharp(bytes, SHARP_OPTIONS), rectangle, options);
  });
}

/**
 * Reads the size (after the camera's rotation) and kind of an image from its header.
 *
 * @throws DataError as `decodeImage`, except for damage behind the header
 */
export async function imageInfo(input: ImageInput): Promise<ImageInfo> {
  return await withReason(input, async () => {
    const image = sharp(await readImageFile(input), SHARP_OPTIONS);
    const { format, channels, depth, autoOrient } = await image.metadata();
    return {
      width: autoOrient.width,
      height: autoOrient.height,
      format: format === 'heif' ? 'avif' : format,
      channels,
      depth,
    };
  });
}

/**
 * Crops, resizes, mirrors and recolours one image that is in memory, off the JavaScript thread.
 *
 * @param pixels [height, width, 3] of `size`, red green blue; must not change until the promise settles
 * @returns [options.height, options.width, 3]
 */
export async function transformPixels(
  pixels: Uint8Array,
  size: ImageSize,
  options: DecodeOptions,
): Promise<Uint8Array> {
  const rectangle = (options.crop ?? resizeCrop(options.resize ?? 'stretch'))?.(size);
  const same = size.width === options.width && size.height === options.height;
  if (same && !rectangle && !options.flip && !options.color) return pixels.slice();
  const raw = { width: size.width, height: size.height, channels: 3 } as const;
  return await render(sharp(pixels, { raw, limitInputPixels: MAX_PIXELS }), rectangle, options);
}

/**
 * Resizes an array of images, off the JavaScript thread, one after the other.
 *
 * @param pixels [n, height, width, 3], red green blue
 * @returns [n, options.height, options.width, 3]
 * @throws DataError when the array does not have the size that the shape says
 */
export async function resizePixels(
  pixels: Uint8Array,
  shape: readonly [n: number, height: number, width: number, channels: 3],
  options: DecodeOptions,
): Promise<Uint8Array> {
  const [n, height, width] = shape;
  const stride = height * width * 3;
  if (pixels.length !== n * stride) {
    throw new DataError(`images: expected ${n * stride} bytes for uint8[${shape}], got ${pixels.length}`);
  }
  const outStride = options.height * options.width * 3;
  const out = new Uint8Array(n * outStride);
  for (let i = 0; i < n; i++) {
    out.set(
      await transformPixels(pixels.subarray(i * stride, (i + 1) * stride), { width, height }, options),
      i * outStride,
    );
  }
  return out;
}

/** The one chain of operations, for files and for pixels alike. libvips applies them in this order. */
async function render(
  image: Sharp,
  rectangle: Rectangle | undefined,
  options: DecodeOptions,
): Promise<Uint8Array> {
  let chain = rectangle ? image.extract(rectangle) : image;
  const kernel = options.interpolation === 'bicubic' ? 'cubic' : 'linear';
  chain = chain.resize(options.width, options.height, { fit: 'fill', kernel });
  chain = chain.flatten({ background: '#ffffff' });
  if (options.flip) chain = chain.flop();
  if (options.color) {
    const [red, green, blue] = options.color.matrix.map((row): [number, number, number] => [...row]);
    chain = chain.recomb([red!, green!, blue!]).linear(options.color.scale, options.color.offset);
  }
  return await chain.toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer();
}

function resizeCrop(rule: ResizeRule): ((image: ImageSize) => Rectangle) | undefined {
  return rule === 'stretch' ? undefined : (image) => centerCrop(image, rule.crop);
}

async function orientedSize(image: Sharp): Promise<ImageSize> {
  return (await image.metadata()).autoOrient;
}

/**
 * The bytes of an image file, read once for header and pixels, if they look like an image and are not too
 * many.
 */
async function readImageFile(input: ImageInput): Promise<Uint8Array> {
  let bytes: Uint8Array;
  if (input instanceof Uint8Array) {
    checkFileSize(input.length);
    bytes = input;
  } else {
    bytes = await readRange(typeof input === 'string' ? { path: input } : input);
  }
  if (bytes.length === 0) throw new Error('the file is empty');
  if (!looksLikeImage(bytes)) throw new Error('not a JPEG, PNG, WebP, GIF, TIFF or AVIF image');
  return bytes;
}

async function readRange({ path, offset = 0, length }: FileRange): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const size = length ?? (await file.stat()).size - offset;
    checkFileSize(size);
    if (offset === 0 && length === undefined) return await file.readFile();
    const bytes = new Uint8Array(size);
    const { bytesRead } = await file.read(bytes, 0, size, offset);
    if (bytesRead < size) throw new Error(`the file ends ${size - bytesRead} bytes too early`);
    return bytes;
  } finally {
    await file.close();
  }
}

function checkFileSize(size: number): void {
  if (size > MAX_FILE_BYTES) throw new Error(`${size} bytes are more than the limit of ${MAX_FILE_BYTES}`);
}

/**
 * Whether the first bytes are those of a photograph's format. libvips reads many more (SVG, PDF, …), some of
 * which can name other files; none of those gets that far.
 */
function looksLikeImage(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 16)).toString('latin1');
  return (
    head.startsWith('\xff\xd8\xff') ||
    head.startsWith('\x89PNG\r\n\x1a\n') ||
    (head.startsWith('RIFF') && head.slice(8, 12) === 'WEBP') ||
    head.startsWith('GIF8') ||
    head.startsWith('II*\0') ||
    head.startsWith('MM\0*') ||
    head.slice(4, 12) === 'ftypavif'
  );
}

/** Runs `read` and turns what it throws into one line about the file. */
async function withReason<T>(input: ImageInput, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw unreadable(input, reasonOf(cause), cause);
  }
}

/** The error of an image that cannot be decoded, in one line that names its file where it has one. */
export function unreadable(
  input: ImageInput | Pixels,
  reason: string,
  cause?: unknown,
): UnreadableImageError {
  const file = typeof input === 'string' ? input : 'path' in input ? input.path : undefined;
  const options = file === undefined ? { cause } : { cause, file };
  return new UnreadableImageError(`${file ?? 'image'}: ${reason}`, reason, options);
}

/** An image that cannot be decoded; `reason` is the message without the file's name. */
export class UnreadableImageError extends DataError {
  readonly reason: string;

  constructor(message: string, reason: string, options: { file?: string; cause?: unknown }) {
    super(message, { ...options, code: 'UNREADABLE_IMAGE' });
    this.reason = reason;
  }
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = 'code' in cause ? cause.code : undefined;
  if (code === 'ENOENT') return 'no such file';
  if (code === 'EISDIR') return 'is a folder, not an image';
  if (code === 'EACCES') return 'permission denied';
  if (/pixel limit/i.test(cause.message)) return `more than ${MAX_PIXELS} pixels`;
  // libvips says the same thing once per attempt; its first line is the cause.
  return cause.message
    .split('\n')[0]!
    .replace(/^Input (buffer|file) (has )?/i, '')
    .trim();
}
