// The safetensors format: strict parser and deterministic writer. Knows no model.
//
// A file is: header length (u64, little-endian), header (JSON object: name -> dtype, shape, data_offsets; and
// `__metadata__`, strings by name), data. Weights are data, never code: whatever is not exactly so is
// refused. Our own files carry in `__metadata__.sha256` the SHA-256 of the whole file with that value's
// digits as zeros.

import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CheckpointError } from '../core/errors.ts';
import { duplicateKey, isCount, isObject, maximumNesting, nestsTooDeep } from '../core/jsonText.ts';
import { printableLine, quoted, shown } from '../core/printable.ts';
import { writeFileAtomic } from './atomic.ts';
import { readFileBytes } from './fileBytes.ts';
import {
  bytesOf,
  elementCount,
  type StoredDType,
  type StoredTensor,
  type StoredTensors,
  storedBytes,
  viewStored,
} from './storedTensor.ts';

/** Headers above this many bytes are refused (the limit of the reference implementation). */
export const maximumHeaderBytes = 100_000_000;

/** Codes of the errors of this format; stable. */
export type SafetensorsCode =
  | 'SAFETENSORS_TRUNCATED'
  | 'SAFETENSORS_HEADER_SIZE'
  | 'SAFETENSORS_HEADER_JSON'
  | 'SAFETENSORS_HEADER_OBJECT'
  | 'SAFETENSORS_DUPLICATE'
  | 'SAFETENSORS_METADATA'
  | 'SAFETENSORS_ENTRY'
  | 'SAFETENSORS_DTYPE'
  | 'SAFETENSORS_SHAPE'
  | 'SAFETENSORS_OFFSETS'
  | 'SAFETENSORS_SIZE'
  | 'SAFETENSORS_OVERLAP'
  | 'SAFETENSORS_HOLE'
  | 'SAFETENSORS_TRAILING'
  | 'SAFETENSORS_CHECKSUM';

export interface SafetensorsFile {
  readonly tensors: StoredTensors;
  /** The strings of `__metadata__`, without the checksum. */
  readonly metadata: Map<string, string>;
  /** Whether the file carried a checksum (which then was right). */
  readonly checked: boolean;
}

const dtypeNames: Record<StoredDType, string> = {
  f64: 'F64',
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
  i64: 'I64',
  i32: 'I32',
  i16: 'I16',
  i8: 'I8',
  u64: 'U64',
  u32: 'U32',
  u16: 'U16',
  u8: 'U8',
  bool: 'BOOL',
};
const dtypeByName = new Map(Object.entries(dtypeNames).map(([dtype, name]) => [name, dtype as StoredDType]));

const lengthBytes = 8;
const checksumKey = 'sha256';
const checksumMark = new TextEncoder().encode(`"${checksumKey}":"`);
const checksumDigits = 64;
const zeroDigits = '0'.repeat(checksumDigits);

interface Entry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

class Parser {
  private readonly bytes: Uint8Array;
  private readonly file: string;

  constructor(bytes: Uint8Array, file: string) {
    this.bytes = bytes;
    this.file = file;
  }

  private fail(code: SafetensorsCode, message: string): never {
    throw new CheckpointError(`${this.file}: ${message}`, { file: this.file, code });
  }

  parse(checkDamage: boolean): SafetensorsFile {
    const headerBytes = this.headerBytes();
    const header = this.header(headerBytes);
    const data = this.bytes.subarray(lengthBytes + headerBytes.byteLength);
    const metadata = this.metadata(header);
    delete header.__metadata__;
    const entries = Object.entries(header).map(([name, value]) => this.entry(name, value));
    this.checkLayout(entries, data.byteLength);
    const checked = metadata.has(checksumKey);
    if (checked && checkDamage) this.checkSum(headerBytes, metadata.get(checksumKey) as string);
    metadata.delete(checksumKey);
    const tensors: StoredTensors = new Map();
    for (const { name, dtype, shape, begin, end } of entries) {
      tensors.set(name, { dtype, shape, data: viewStored(dtype, data.subarray(begin, end)) });
    }
    return { tensors, metadata, checked };
  }

  private headerBytes(): Uint8Array {
    const { bytes } = this;
    if (bytes.byteLength < lengthBytes) {
      this.fail(
        'SAFETENSORS_TRUNCATED',
        `truncated: ${bytes.byteLength} bytes, expected at least ${lengthBytes}`,
      );
    }
    const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    if (length > BigInt(maximumHeaderBytes)) {
      const message = `not a safetensors file: a header of ${length} bytes, expected at most ${maximumHeaderBytes}`;
      this.fail('SAFETENSORS_HEADER_SIZE', message);
    }
    if (length < 2n) this.fail('SAFETENSORS_HEADER_SIZE', `a header of ${length} bytes, expected at least 2`);
    const there = bytes.byteLength - lengthBytes;
    if (there < length) {
      this.fail('SAFETENSORS_TRUNCATED', `truncated: the header has ${length} bytes, ${there} are there`);
    }
    return bytes.subarray(lengthBytes, lengthBytes + Number(length));
  }

  private header(bytes: Uint8Array): Record<string, unknown> {
    let text: string;
    let header: unknown;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
      header = JSON.parse(text);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.fail('SAFETENSORS_HEADER_JSON', `the header is not valid JSON: ${printableLine(reason)}`);
    }
    if (nestsTooDeep(text)) {
      this.fail('SAFETENSORS_HEADER_JSON', `the header is nested deeper than ${maximumNesting} levels`);
    }
    if (!isObject(header) || !text.startsWith('{')) {
      this.fail('SAFETENSORS_HEADER_OBJECT', `the header is ${shown(header)}, expected an object`);
    }
    const twice = duplicateKey(text);
    if (twice !== undefined) this.fail('SAFETENSORS_DUPLICATE', `the header has ${quoted(twice)} twice`);
    return header;
  }

  private metadata(header: Record<string, unknown>): Map<string, string> {
    const value = Object.hasOwn(header, '__metadata__') ? header.__metadata__ : {};
    if (!isObject(value)) {
      this.fail('SAFETENSORS_METADATA', `__metadata__ is ${shown(value)}, expected an object of strings`);
    }
    const metadata = new Map<string, string>();
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') {
        this.fail('SAFETENSORS_METADATA', `__metadata__ ${quoted(key)} is ${shown(text)}, expected a string`);
      }
      metadata.set(key, text);
    }
    return metadata;
  }

  private entry(name: string, value: unknown): Entry {
    // Messages are made only when they are needed: there may be 100,000 tensors.
    const at = () => `tensor ${quoted(name)}`;
    const keys = isObject(value) ? Object.keys(value) : [];
    if (
      !isObject(value) ||
      keys.length !== 3 ||
      !('dtype' in value && 'shape' in value && 'data_offsets' in value)
    ) {
      this.fail('SAFETENSORS_ENTRY', `${at()} is ${shown(value)}, expected dtype, shape and data_offsets`);
    }
    const { dtype: dtypeName, shape, data_offsets: offsets } = value;
    const dtype = typeof dtypeName === 'string' ? dtypeByName.get(dtypeName) : undefined;
    if (dtype === undefined) {
      const accepted = Object.values(dtypeNames).join(', ');
      this.fail('SAFETENSORS_DTYPE', `${at()}: dtype is ${shown(dtypeName)}, expected one of ${accepted}`);
    }
    if (!Array.isArray(shape) || !shape.every(isCount)) {
      this.fail(
        'SAFETENSORS_SHAPE',
        `${at()}: shape is ${shown(shape)}, expected a list of whole numbers from 0`,
      );
    }
    const [begin, end]: unknown[] = Array.isArray(offsets) && offsets.length === 2 ? offsets : [];
    if (!isCount(begin) || !isCount(end) || begin > end) {
      const expected = 'expected [begin, end], whole numbers from 0 in ascending order';
      this.fail('SAFETENSORS_OFFSETS', `${at()}: data_offsets are ${shown(offsets)}, ${expected}`);
    }
    const size = elementCount(shape) * storedBytes(dtype);
    if (!Number.isSafeInteger(size)) {
      this.fail('SAFETENSORS_SHAPE', `${at()}: shape ${shown(shape)} has more elements than can be counted`);
    }
    if (size !== end - begin) {
      const expected = `${dtypeNames[dtype]} ${shown(shape)} needs ${size}`;
      this.fail('SAFETENSORS_SIZE', `${at()}: data_offsets hold ${end - begin} bytes, ${expected}`);
    }
    return { name, dtype, shape, begin, end };
  }

  /**
   * The tensors must cover the data exactly: in order of their place, each begins where the last one ended.
   */
  private checkLayout(entries: readonly Entry[], dataBytes: number): void {
    const inOrder = entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end);
    let end = 0;
    for (const entry of inOrder) {
      const at = () => `tensor ${quoted(entry.name)} begins at byte ${entry.begin}`;
      if (entry.begin < end)
        this.fail('SAFETENSORS_OVERLAP', `${at()}, inside another one that ends at ${end}`);
      if (entry.begin > end) this.fail('SAFETENSORS_HOLE', `${at()}, expected ${end}: a hole in the data`);
      end = entry.end;
    }
    if (end > dataBytes) {
      this.fail(
        'SAFETENSORS_TRUNCATED',
        `truncated: the tensors need ${end} bytes of data, ${dataBytes} are there`,
      );
    }
    if (end < dataBytes) {
      this.fail(
        'SAFETENSORS_TRAILING',
        `${dataBytes - end} bytes follow after the last tensor, expected none`,
      );
    }
  }

  private checkSum(headerBytes: Uint8Array, expected: string): void {
    const at = Buffer.from(headerBytes.buffer, headerBytes.byteOffset, headerBytes.byteLength).indexOf(
      checksumMark,
    );
    if (at < 0 || !/^[0-9a-f]{64}$/.test(expected)) {
      this.fail(
        'SAFETENSORS_CHECKSUM',
        `damaged: its checksum is ${shown(expected)}, expected 64 hexadecimal digits`,
      );
    }
    const digits = lengthBytes + at + checksumMark.byteLength;
    const hash = createHash('sha256');
    hash.update(this.bytes.subarray(0, digits)).update(zeroDigits);
    const actual = hash.update(this.bytes.subarray(digits + checksumDigits)).digest('hex');
    if (actual !== expected) {
      const sums = `its contents have sha256 ${actual.slice(0, 12)}…, expected ${expected.slice(0, 12)}…`;
      this.fail('SAFETENSORS_CHECKSUM', `damaged: ${sums}`);
    }
  }
}

export interface ParseOptions {
  /** Whether a checksum in the file is compared with its contents. Default true. */
  readonly checkDamage?: boolean;
}

/**
 * The tensors and metadata in `bytes`. The tensors view `bytes`, except where its alignment does not allow
 * that. `file` is the name for errors.
 * @throws CheckpointError with a {@link SafetensorsCode}.
 */
export function parseSafetensors(
  bytes: Uint8Array,
  file = 'safetensors',
  options: ParseOptions = {},
): SafetensorsFile {
  return new Parser(bytes, file).parse(options.checkDamage ?? true);
}

/**
 * Reads a safetensors file.
 * @throws DataError when it is missing or empty; CheckpointError with a {@link SafetensorsCode}.
 */
export async function readSafetensors(file: string, options: ParseOptions = {}): Promise<SafetensorsFile> {
  return parseSafetensors(await readFileBytes(file), file, options);
}

export interface SerializeOptions {
  /** Whether the file carries a checksum over all of it. Default true. */
  readonly checksum?: boolean;
}

const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * The bytes of a file with these tensors and metadata, in pieces to be written one after the other (the
 * tensors are not copied). The same input gives the same bytes, whatever the order in the maps: wider
 * elements first (so that all are aligned), then by name; no time, no path. Safe-tensors readers of other
 * projects accept it.
 * @throws CheckpointError `SAFETENSORS_SIZE`, `SAFETENSORS_ENTRY` or `SAFETENSORS_METADATA` for what cannot
 *   be stored.
 */
export function serializeSafetensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
  options: SerializeOptions = {},
): Uint8Array[] {
  const checksum = options.checksum ?? true;
  const chunks = layOut(tensors, metadata, checksum);
  if (checksum) {
    const hash = createHash('sha256');
    for (const chunk of chunks) hash.update(chunk);
    setChecksum(chunks, hash.digest('hex'));
  }
  return chunks;
}

/** Header and tensors; with `checksum`, there is room for it in the header. */
function layOut(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: ReadonlyMap<string, string>,
  checksum: boolean,
): Uint8Array[] {
  const strings = [...metadata].sort(([a], [b]) => byName(a, b));
  if (metadata.has(checksumKey)) {
    throw new CheckpointError(`safetensors: metadata "${checksumKey}" is the writer's own`, {
      code: 'SAFETENSORS_METADATA',
    });
  }
  if (checksum) strings.push([checksumKey, zeroDigits]);
  const inOrder = [...tensors].sort(
    ([a, x], [b, y]) => storedBytes(y.dtype) - storedBytes(x.dtype) || byName(a, b),
  );
  const header: string[] = [];
  if (strings.length > 0) header.push(`"__metadata__":${objectText(strings)}`);
  let end = 0;
  for (const [name, tensor] of inOrder) {
    header.push(`${JSON.stringify(name)}:${entryText(name, tensor, end)}`);
    end += tensor.data.byteLength;
  }
  const text = new TextEncoder().encode(`{${header.join(',')}}`);
  const padded = Math.ceil(text.byteLength / lengthBytes) * lengthBytes;
  const head = new Uint8Array(lengthBytes + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(text, lengthBytes);
  return [head, ...inOrder.map(([, { data }]) => bytesOf(data))];
}

/** An object of strings as JSON, in the order given. */
const objectText = (strings: readonly (readonly [string, string])[]): string =>
  `{${strings.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;

function entryText(name: string, { dtype, shape, data }: StoredTensor, begin: number): string {
  if (name === '__metadata__') {
    throw new CheckpointError('safetensors: a tensor cannot be named __metadata__', {
      code: 'SAFETENSORS_ENTRY',
    });
  }
  const size = elementCount(shape) * storedBytes(dtype);
  if (size !== data.byteLength) {
    const needs = `${dtype} [${shape}] needs ${size} bytes, its data have ${data.byteLength}`;
    throw new CheckpointError(`safetensors: tensor ${quoted(name)}: ${needs}`, { code: 'SAFETENSORS_SIZE' });
  }
  const offsets = `[${begin},${begin + size}]`;
  return `{"dtype":"${dtypeNames[dtype]}","shape":[${shape.join(',')}],"data_offsets":${offsets}}`;
}

function setChecksum(chunks: readonly Uint8Array[], digits: string): void {
  const head = chunks[0] as Uint8Array;
  const at = Buffer.from(head.buffer, head.byteOffset, head.byteLength).indexOf(checksumMark);
  head.set(new TextEncoder().encode(digits), at + checksumMark.byteLength);
}

/** Hashing gives way to other work after so many bytes, about 10 ms. */
const hashStepBytes = 4 * 2 ** 20;

/**
 * Writes a safetensors file, atomically, in short turns of the JavaScript thread. The tensors must stay as
 * they are until it is done.
 * @throws CheckpointError as {@link serializeSafetensors} and {@link writeFileAtomic}.
 */
export async function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
  options: SerializeOptions = {},
): Promise<void> {
  const checksum = options.checksum ?? true;
  const chunks = layOut(tensors, metadata, checksum);
  if (checksum) {
    const hash = createHash('sha256');
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.byteLength; at += hashStepBytes) {
        hash.update(chunk.subarray(at, at + hashStepBytes));
        await nextTurn();
      }
    }
    setChecksum(chunks, hash.digest('hex'));
  }
  await writeFileAtomic(file, chunks);
}
