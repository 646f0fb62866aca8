// NumPy's .npy files: header versions 1 to 3, plain numbers only, C or Fortran order. No pickles.

import { DataError } from '../core/errors.ts';
import { writeFileAtomic } from './atomic.ts';
import { readFileBytes } from './fileBytes.ts';
import {
  bytesOf,
  elementCount,
  type StoredDType,
  type StoredTensor,
  storedBytes,
  viewStored,
} from './storedTensor.ts';

/** Codes of the errors of this format; stable. */
export type NpyCode =
  | 'NPY_MAGIC'
  | 'NPY_VERSION'
  | 'NPY_HEADER'
  | 'NPY_DTYPE'
  | 'NPY_PICKLE'
  | 'NPY_SHAPE'
  | 'NPY_TRUNCATED'
  | 'NPY_TRAILING';

const magic = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]);
/** NumPy's own limit is 10,000; plain arrays need about 100. */
const maximumHeaderBytes = 65_536;
const alignment = 64;

/** NumPy's kind and size, without the byte order. */
const descriptions = {
  f64: 'f8',
  f32: 'f4',
  f16: 'f2',
  i64: 'i8',
  i32: 'i4',
  i16: 'i2',
  i8: 'i1',
  u64: 'u8',
  u32: 'u4',
  u16: 'u2',
  u8: 'u1',
  bool: 'b1',
} as const satisfies Partial<Record<StoredDType, string>>;

/** Types that a .npy file can hold: all but bfloat16. */
export type NpyDType = keyof typeof descriptions;

/** An array of a .npy file: elements in C order. */
export interface NpyArray extends StoredTensor {
  readonly dtype: NpyDType;
}

const dtypeByDescription = new Map<string, NpyDType>(
  Object.entries(descriptions).map(([dtype, text]) => [text, dtype as NpyDType]),
);

interface Header {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

function fail(file: string, code: NpyCode, message: string): never {
  throw new DataError(`${file}: ${message}`, { file, code });
}

/** The text of a header and where the elements begin. */
function headerText(bytes: Uint8Array, file: string): { text: string; begin: number } {
  if (!magic.every((byte, i) => bytes[i] === byte)) fail(file, 'NPY_MAGIC', 'not a .npy file');
  if (bytes.byteLength < 10)
    fail(file, 'NPY_TRUNCATED', `truncated: ${bytes.byteLength} bytes, no whole header`);
  const [major, minor] = [bytes[6] as number, bytes[7] as number];
  if (major < 1 || major > 3 || minor !== 0) {
    fail(file, 'NPY_VERSION', `.npy version ${major}.${minor}, expected 1.0, 2.0 or 3.0`);
  }
  const begin = major === 1 ? 10 : 12;
  if (bytes.byteLength < begin)
    fail(file, 'NPY_TRUNCATED', `truncated: ${bytes.byteLength} bytes, no whole header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maximumHeaderBytes) {
    fail(file, 'NPY_HEADER', `a header of ${length} bytes, expected at most ${maximumHeaderBytes}`);
  }
  if (bytes.byteLength < begin + length) {
    const there = bytes.byteLength - begin;
    fail(file, 'NPY_TRUNCATED', `truncated: the header has ${length} bytes, ${there} are there`);
  }
  const raw = bytes.subarray(begin, begin + length);
  return { text: new TextDecoder(major === 3 ? 'utf-8' : 'latin1').decode(raw), begin: begin + length };
}

const entryPattern =
  /\s*(['"])(descr|fortran_order|shape)\1\s*:\s*(?:(['"])([^'"\\]*)\3|(True|False)|\(([\d\s,]*)\))\s*/y;

/**
 * The three entries of a header, which is a Python dict literal; nothing is evaluated, and whatever is not
 * exactly such a literal is refused.
 */
function parseHeader(text: string, file: string): Header {
  const body = /^\s*\{(.*?),?\s*\}\s*$/s.exec(text)?.[1];
  const shown = JSON.stringify(text.trim().slice(0, 80));
  if (body === undefined) fail(file, 'NPY_HEADER', `the header is ${shown}, expected a dict`);
  if (/['"]descr['"]\s*:\s*\[/.test(body))
    fail(file, 'NPY_DTYPE', 'a structured array, expected plain numbers');
  let descr: string | undefined;
  let fortranOrder: boolean | undefined;
  let shape: readonly number[] | undefined;
  for (let at = 0, entries = 0; at < body.length; entries += 1) {
    entryPattern.lastIndex = at;
    const match = entryPattern.exec(body);
    const twice = { descr, fortran_order: fortranOrder, shape }[match?.[2] ?? 'descr'] !== undefined;
    if (match === null || twice || entries === 3) {
      fail(file, 'NPY_HEADER', `the header is ${shown}, expected descr, fortran_order and shape`);
    }
    const [whole, , key, , string, truth, dimensions] = match;
    if (key === 'descr' && string !== undefined) descr = string;
    else if (key === 'fortran_order' && truth !== undefined) fortranOrder = truth === 'True';
    else if (key === 'shape' && dimensions !== undefined) shape = parseShape(dimensions, file);
    else fail(file, 'NPY_HEADER', `the header's ${key} is not understood: ${shown}`);
    at += whole.length;
    if (body[at] === ',') at += 1;
    else if (at < body.length)
      fail(file, 'NPY_HEADER', `the header is ${shown}, expected a comma between entries`);
  }
  if (descr === undefined || fortranOrder === undefined || shape === undefined) {
    fail(file, 'NPY_HEADER', `the header is ${shown}, expected descr, fortran_order and shape`);
  }
  return { descr, fortranOrder, shape };
}

/** The inside of a Python tuple of numbers: nothing, `3,` or `3, 4`. */
function parseShape(text: string, file: string): readonly number[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.at(-1) === '') parts.pop();
  const shape = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : Number.NaN));
  if (!shape.every(Number.isSafeInteger)) fail(file, 'NPY_SHAPE', `shape (${text.trim()}) is not understood`);
  return shape;
}

/** The type named by `descr`, and whether its bytes are swapped. */
function parseDescription(descr: string, file: string): { dtype: NpyDType; bigEndian: boolean } {
  const [order, description] = [descr.slice(0, 1), descr.slice(1)];
  if (description.startsWith('O')) {
    fail(file, 'NPY_PICKLE', 'an array of Python objects (a pickle) is never read, expected plain numbers');
  }
  const dtype = dtypeByDescription.get(description);
  if (dtype === undefined || !'<>|='.includes(order) || (order === '|' && storedBytes(dtype) > 1)) {
    const accepted = Object.values(descriptions).join(', ');
    fail(
      file,
      'NPY_DTYPE',
      `elements of type ${JSON.stringify(descr.slice(0, 40))}, expected one of ${accepted}`,
    );
  }
  return { dtype, bigEndian: order === '>' };
}

/** The elements of `data` (the first axis contiguous) in C order (the last axis contiguous), a new array. */
function toCOrder<Data extends StoredTensor['data']>(data: Data, shape: readonly number[]): Data {
  const result = data.slice() as Data;
  const strides: number[] = [];
  let stride = 1;
  for (const size of shape) {
    strides.push(stride);
    stride *= size;
  }
  const index = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let to = 0; to < result.length; to++) {
    result[to] = data[from] as (typeof data)[number];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      from -= (strides[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
  }
  return result;
}

function swapped(bytes: Uint8Array, size: number): Uint8Array {
  const copy = Buffer.from(bytes);
  if (size === 2) copy.swap16();
  else if (size === 4) copy.swap32();
  else if (size === 8) copy.swap64();
  return copy;
}

/**
 * The array in `bytes`. Fortran order is brought into C order, big-endian elements into little-endian;
 * otherwise the result views `bytes` where its alignment allows that. `file` is the name for errors.
 * @throws DataError with an {@link NpyCode}.
 */
export function parseNpy(bytes: Uint8Array, file = 'npy'): NpyArray {
  const { text, begin } = headerText(bytes, file);
  const { descr, fortranOrder, shape } = parseHeader(text, file);
  const { dtype, bigEndian } = parseDescription(descr, file);
  const size = elementCount(shape) * storedBytes(dtype);
  const there = bytes.byteLength - begin;
  const needs = `${dtype} [${shape}] needs ${size} bytes, ${there} are there`;
  if (!Number.isSafeInteger(size))
    fail(file, 'NPY_SHAPE', `shape [${shape}] has more elements than can be counted`);
  if (there < size) fail(file, 'NPY_TRUNCATED', `truncated: ${needs}`);
  if (there > size) fail(file, 'NPY_TRAILING', `bytes follow after the array: ${needs}`);
  const raw = bytes.subarray(begin);
  const data = viewStored(dtype, bigEndian ? swapped(raw, storedBytes(dtype)) : raw);
  return { dtype, shape, data: fortranOrder && shape.length > 1 ? toCOrder(data, shape) : data };
}

/**
 * Reads a .npy file.
 * @throws DataError when it is missing or empty, or with an {@link NpyCode}.
 */
export async function readNpy(file: string): Promise<NpyArray> {
  return parseNpy(await readFileBytes(file), file);
}

/**
 * The bytes of a .npy file (version 1.0, C order, little-endian), the same for the same array: its header and
 * its elements, which are not copied.
 * @throws DataError `NPY_SHAPE` when the shape and the number of elements differ.
 */
export function serializeNpy(array: NpyArray): Uint8Array[] {
  const { dtype, shape, data } = array;
  if (elementCount(shape) !== data.length) {
    throw new DataError(`npy: shape [${shape}] does not fit ${data.length} elements`, { code: 'NPY_SHAPE' });
  }
  const order = storedBytes(dtype) === 1 ? '|' : '<';
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const dict = `{'descr': '${order}${descriptions[dtype]}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const total = Math.ceil((10 + dict.length + 1) / alignment) * alignment;
  const head = new Uint8Array(total).fill(0x20);
  head.set(magic);
  head.set([1, 0], 6);
  new DataView(head.buffer).setUint16(8, total - 10, true);
  head.set(new TextEncoder().encode(dict), 10);
  head[total - 1] = 0x0a;
  return [head, bytesOf(data)];
}

/**
 * Writes a .npy file, atomically.
 * @throws DataError `NPY_SHAPE` when the shape and the number of elements differ; CheckpointError when it cannot be written
 */
export async function writeNpy(file: string, array: NpyArray): Promise<void> {
  await writeFileAtomic(file, serializeNpy(array));
}
