// Tar archives: where the files in one lie (ustar, GNU and pax headers, read strictly), and headers that hold nothing of the
// machine that wrote them. Knows no images.
//
// An archive is blocks of 512 bytes: for each file a header and its bytes, filled up to a block; two blocks of zeros at the
// end. Long names stand in entries of their own, before the one that they name: GNU tar's of type L, and POSIX's pax
// records of type x (POSIX.1-2001, "pax Interchange Format").

import { DataError } from '../core/errors.ts';
import { printable, printableLine } from '../core/printable.ts';

/** Codes of the errors of this format; stable. */
export type TarCode =
  | 'TAR_FORMAT'
  | 'TAR_CHECKSUM'
  | 'TAR_NUMBER'
  | 'TAR_NAME'
  | 'TAR_PAX'
  | 'TAR_TYPE'
  | 'TAR_LINK'
  | 'TAR_SPARSE'
  | 'TAR_TRUNCATED'
  | 'TAR_TRAILING';

/** A regular file in an archive. */
export interface TarEntry {
  /** Its path, `/` between folders. */
  readonly name: string;
  /** Where its bytes begin in the archive. */
  readonly offset: number;
  /** Number of its bytes. */
  readonly length: number;
}

/** An archive that can be read from any place. */
export interface TarBytes {
  readonly size: number;
  /**
   * The bytes from `position` on, `length` of them, fewer only where the archive ends. They stay as they are until the next
   * call.
   */
  read(position: number, length: number): Uint8Array | Promise<Uint8Array>;
}

/** Headers and contents begin at multiples of this many bytes. */
export const tarBlock = 512;
/** Longest name that is read, in bytes; no file system takes longer paths. */
const longestName = 65_536;
/** Longest list of pax records that is read. */
const longestRecords = 2 ** 20;

type Fail = (code: TarCode, message: string) => never;

/** The bytes of a file up to the next header. */
export const paddedLength = (length: number): number => Math.ceil(length / tarBlock) * tarBlock;

/** What is read of a header. */
interface Header {
  readonly name: string;
  readonly size: number;
  /** One character; the empty string is that of the oldest archives, a regular file. */
  readonly type: string;
}

/** Bytes up to the first zero, as text: UTF-8, or where it is not, Latin-1, so that no two names become one. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = end < 0 ? bytes : bytes.subarray(0, end);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text);
  } catch {
    return new TextDecoder('latin1').decode(text);
  }
}

/** A number of a header: octal digits, or, where the first bit is set, GNU's big-endian bytes. */
function numberOf(bytes: Uint8Array, fail: Fail): number {
  const first = bytes[0] as number;
  if (first & 0x80) {
    let value = first & 0x7f; // with the sign bit, which no size has
    for (const byte of bytes.subarray(1)) value = value * 256 + byte;
    if (!Number.isSafeInteger(value)) fail('TAR_NUMBER', 'has a size that cannot be');
    return value;
  }
  const text = Buffer.from(bytes).toString('latin1');
  const digits = /^ *([0-7]*)[ \0]*$/.exec(text)?.[1];
  if (digits === undefined) fail('TAR_NUMBER', `has the size '${printable(text)}', expected octal digits`);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

const isZero = (block: Uint8Array): boolean => block.every((byte) => byte === 0);

const [sumAt, sumLength] = [148, 8];

/** Whether a header's checksum is that of its bytes; some old programs summed them with signs. */
function sumIsRight(block: Uint8Array): boolean {
  const stored = /^ *([0-7]+)[ \0]*$/.exec(
    Buffer.from(block.subarray(sumAt, sumAt + sumLength)).toString('latin1'),
  )?.[1];
  if (stored === undefined) return false;
  let [unsigned, signed] = [0, 0];
  for (let i = 0; i < tarBlock; i++) {
    const byte = i >= sumAt && i < sumAt + sumLength ? 0x20 : (block[i] as number);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const sum = Number.parseInt(stored, 8);
  return sum === unsigned || sum === signed;
}

/** Only POSIX's own archives have the front of a long name there; GNU's have times. */
const posixMagic = 'ustar\0';

function parseHeader(block: Uint8Array, fail: Fail): Header {
  const latin1 = (begin: number, end: number) => Buffer.from(block.subarray(begin, end)).toString('latin1');
  const type = latin1(156, 157).replace('\0', '');
  const name = textOf(block.subarray(0, 100));
  const prefix = latin1(257, 263) === posixMagic ? textOf(block.subarray(345, 500)) : '';
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    size: numberOf(block.subarray(124, 136), fail),
    type,
  };
}

/** The records of a pax header: `length key=value\n`, the length in bytes and of the whole record. */
function parseRecords(bytes: Uint8Array, fail: Fail): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits =
      space < 0 ? '' : Buffer.from(bytes.subarray(at, Math.min(space, at + 16))).toString('latin1');
    const end = /^[1-9]\d{0,8}$/.test(digits) ? at + Number(digits) : 0;
    const equals = bytes.indexOf(0x3d, space);
    if (end <= space || end > bytes.length || bytes[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      fail('TAR_PAX', `has pax records that cannot be read, from byte ${at} of them on`);
    }
    const value = bytes.subarray(equals + 1, end - 1);
    if (value.includes(0)) fail('TAR_PAX', 'has a pax record with a zero byte in it');
    records.set(textOf(bytes.subarray(space + 1, equals)), textOf(value));
    at = end;
  }
  return records;
}

/** What pax records say of the next entry. */
interface Override {
  readonly name?: string;
  readonly size?: number;
}

function overrideOf(records: ReadonlyMap<string, string>, fail: Fail): Override {
  for (const key of records.keys()) {
    if (key.startsWith('GNU.sparse.') || key.startsWith('SCHILY.realsize')) {
      fail(
        'TAR_SPARSE',
        'is a sparse file, which has no bytes of its own in places; pack it without --sparse',
      );
    }
  }
  const name = records.get('path');
  const size = records.get('size');
  if (size !== undefined && !(/^\d{1,16}$/.test(size) && Number.isSafeInteger(Number(size)))) {
    fail('TAR_PAX', `has the pax size '${printable(size)}', expected a number of bytes`);
  }
  return { ...(name === undefined ? {} : { name }), ...(size === undefined ? {} : { size: Number(size) }) };
}

const links = new Map([
  ['1', 'a hard link'],
  ['2', 'a symbolic link'],
]);
const others = new Map([
  ['3', 'a character device'],
  ['4', 'a block device'],
  ['6', 'a pipe'],
  ['D', 'the list of a folder of an incremental archive'],
  ['M', 'a part of a file that began in another archive'],
]);

/** Refuses what is no regular file, folder or label; gives whether it is a regular file. */
function isRegular({ type, name }: Header, fail: Fail): boolean {
  const link = links.get(type);
  if (link !== undefined) {
    fail('TAR_LINK', `is ${link}, expected the file itself; pack it with --dereference --hard-dereference`);
  }
  if (type === 'S') fail('TAR_SPARSE', 'is a sparse file; pack it without --sparse');
  if (type === '5' || type === 'V') return false;
  // Before POSIX there was no type of a folder: its name ended so. `7` is a file in one piece, `0` any.
  if (type === '' || type === '0' || type === '7') return !(name.endsWith('/') && type !== '7');
  return fail('TAR_TYPE', `is ${others.get(type) ?? `of type '${printable(type)}'`}, expected files`);
}

const gzip = [0x1f, 0x8b] as const;
const zstd = [0x28, 0xb5, 0x2f, 0xfd] as const;
const startsWith = (bytes: Uint8Array, magic: readonly number[]) =>
  magic.every((byte, i) => bytes[i] === byte);

/**
 * The regular files of an archive, in its order, from their headers alone. Folders are passed over.
 *
 * @param file the archive's name, for errors
 * @throws DataError with a {@link TarCode}: `TAR_FORMAT` where it is no tar archive or is compressed, `TAR_CHECKSUM` for a
 *   damaged header, `TAR_TRUNCATED` where the file ends before the archive does (the entries given before that are whole),
 *   `TAR_LINK`, `TAR_SPARSE` and `TAR_TYPE` for what is no regular file, `TAR_NUMBER`, `TAR_NAME` and `TAR_PAX` for headers
 *   that cannot be, `TAR_TRAILING` where something stands behind its end
 */
export async function* readTar(bytes: TarBytes, file: string): AsyncGenerator<TarEntry, void, undefined> {
  const raise: Fail = (code, message) => {
    throw new DataError(`${file}: ${message}`, { file, code });
  };
  let next: Override = {};
  for (let at = 0; ; ) {
    const reading = bytes.read(at, tarBlock);
    const block = reading instanceof Promise ? await reading : reading;
    if (block.length < tarBlock)
      raise('TAR_TRUNCATED', `truncated at byte ${bytes.size}: the archive has no end`);
    if (isZero(block)) {
      await checkEnd(bytes, at, raise);
      return;
    }
    if (!sumIsRight(block)) {
      if (at > 0) raise('TAR_CHECKSUM', `damaged: the checksum of the header at byte ${at} is wrong`);
      const packed = startsWith(block, gzip) || startsWith(block, zstd);
      const what = packed
        ? 'a compressed file; expected it unpacked, as its parts are read by place'
        : 'no tar archive';
      raise('TAR_FORMAT', what);
    }
    const place = at;
    const begin = place + tarBlock;
    const header = parseHeader(block, (code, message) =>
      raise(code, `the header at byte ${place} ${message}`),
    );
    const { type } = header;
    const meta = type === 'L' || type === 'K' || type === 'x' || type === 'g';
    const name = meta ? header.name : (next.name ?? header.name);
    const size = meta ? header.size : (next.size ?? header.size);
    const fail: Fail = (code, message) =>
      raise(code, `the entry at byte ${place} (${printable(name)}) ${message}`);
    const end = begin + paddedLength(size);
    if (!Number.isSafeInteger(end)) fail('TAR_NUMBER', `has ${size} bytes, which cannot be`);
    if (begin + size > bytes.size) {
      fail(
        'TAR_TRUNCATED',
        `needs the bytes up to ${begin + size}, truncated: the file ends at ${bytes.size}`,
      );
    }
    at = end;
    if (meta) {
      next = await extended(bytes, header, begin, next, fail);
      continue;
    }
    next = {};
    if (!isRegular({ ...header, name }, fail)) continue;
    if (name === '' || name.includes('\0')) fail('TAR_NAME', 'has no name');
    yield { name, offset: begin, length: size };
  }
}

/** What an entry that describes the next one says of it. */
async function extended(
  bytes: TarBytes,
  { type, size }: Header,
  begin: number,
  next: Override,
  fail: Fail,
): Promise<Override> {
  const named = type === 'L' || type === 'K';
  const most = named ? longestName : longestRecords;
  if (size > most)
    fail(named ? 'TAR_NAME' : 'TAR_PAX', `has ${size} bytes of names or records, expected at most ${most}`);
  const contents = await bytes.read(begin, size);
  if (type === 'L') return { ...next, name: textOf(contents) };
  if (type === 'K') return next; // where a link points to; links are refused
  const override = overrideOf(parseRecords(contents, fail), fail);
  if (type === 'x') return { ...next, ...override };
  // Records for all entries that follow: git writes its commit there, and no program a name or a size.
  if (override.name !== undefined || override.size !== undefined) {
    fail('TAR_PAX', 'gives one name or size to all files that follow');
  }
  return next;
}

/** How much is looked at behind the end: GNU tar fills archives up to 10 KiB with zeros. */
const beyondEnd = 16_384;

/** A block of zeros ends an archive; what follows must be zeros too. */
async function checkEnd(bytes: TarBytes, at: number, raise: Fail): Promise<void> {
  const rest = await bytes.read(at, beyondEnd);
  const found = rest.findIndex((byte) => byte !== 0);
  if (found >= 0) {
    raise(
      'TAR_TRAILING',
      `the archive ends at byte ${at}, and something follows at byte ${at + found}; expected one archive a file`,
    );
  }
}

/**
 * The header of a regular file (ustar): readable by all, of user 0, of 1970, so that the same files give the same archive.
 * @param name at most 100 printable characters of ASCII
 * @param length below 8 GiB
 */
export function tarHeader(name: string, length: number): Uint8Array {
  if (
    !/^[\x21-\x7e]{1,100}$/.test(name) ||
    !Number.isSafeInteger(length) ||
    length < 0 ||
    length >= 8 ** 11
  ) {
    throw new DataError(`tar: ${printableLine(name)} of ${length} bytes cannot be written`, {
      code: 'TAR_NAME',
    });
  }
  const block = Buffer.alloc(tarBlock);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0');
  block.write(name, 0, 'latin1');
  block.write(`${octal(0o644, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0`, 100, 'latin1'); // mode, user, group
  block.write(`${octal(length, 11)}\0${octal(0, 11)}\0`, 124, 'latin1'); // size, time
  block.write(' '.repeat(sumLength), sumAt, 'latin1');
  block.write('0', 156, 'latin1');
  block.write(`${posixMagic}00`, 257, 'latin1');
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${octal(sum, 6)}\0 `, sumAt, 'latin1');
  return block;
}

/** What ends an archive. */
export const tarEnd: Uint8Array = new Uint8Array(2 * tarBlock);
