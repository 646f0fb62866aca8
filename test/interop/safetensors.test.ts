// Safetensors: round trip, determinism, each refusal by its own code, damage at random places.

import { expect } from 'chai';
import {
  maximumHeaderBytes,
  parseSafetensors,
  type SafetensorsCode,
  serializeSafetensors,
} from '../../lib/interop/safetensors.ts';
import { bytesOf, type StoredTensor, type StoredTensors, toFloat32 } from '../../lib/interop/storedTensor.ts';
import { damages, typedError } from './corruption.ts';

const join = (chunks: Uint8Array[]): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.concat(chunks));

/** A file with `header` as it stands (text, or what becomes JSON) and `data`. */
function fileOf(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return join([length, text, data]);
}

const sample = (): StoredTensors =>
  new Map<string, StoredTensor>([
    ['b.weight', { dtype: 'f32', shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, Number.NaN, -0) }],
    ['a"quoted"\\', { dtype: 'u8', shape: [3], data: Uint8Array.of(1, 2, 3) }],
    ['scalar', { dtype: 'i64', shape: [], data: BigInt64Array.of(-5n) }],
    ['empty', { dtype: 'f64', shape: [0, 4], data: new Float64Array(0) }],
    ['half', { dtype: 'f16', shape: [2], data: Uint16Array.of(0x3c00, 0xfc00) }],
    ['__proto__', { dtype: 'bf16', shape: [1], data: Uint16Array.of(0xbf80) }],
  ]);
const metadata = new Map([
  ['format', 'test'],
  ['config', '{"sha256":"not this one","classes":10}'],
]);

const f32 = (shape: unknown, offsets: unknown) => ({ dtype: 'F32', shape, data_offsets: offsets });
const bytes8 = new Uint8Array(8);

describe('safetensors', () => {
  it('gives back what was stored, of every type', () => {
    const file = parseSafetensors(join(serializeSafetensors(sample(), metadata)));
    expect(file.checked).to.equal(true);
    expect([...file.metadata].sort()).to.deep.equal([...metadata].sort());
    expect([...file.tensors.keys()].sort()).to.deep.equal([...sample().keys()].sort());
    for (const [name, tensor] of sample()) {
      const read = file.tensors.get(name);
      expect(read?.dtype, name).to.equal(tensor.dtype);
      expect(read?.shape, name).to.deep.equal(tensor.shape);
      expect(Buffer.from(bytesOf(read?.data ?? tensor.data)).equals(bytesOf(tensor.data)), name).to.equal(
        true,
      );
    }
  });

  it('gives the same bytes whatever the order of the maps', () => {
    const reversed = new Map([...sample()].reverse());
    const again = serializeSafetensors(reversed, new Map([...metadata].reverse()));
    expect(Buffer.compare(join(again), join(serializeSafetensors(sample(), metadata)))).to.equal(0);
  });

  it('aligns every tensor, so that reading copies nothing', () => {
    const whole = join(serializeSafetensors(sample(), metadata));
    for (const { data } of parseSafetensors(whole).tensors.values())
      expect(data.buffer).to.equal(whole.buffer);
  });

  it('reads unaligned tensors and files without checksum', () => {
    const data = join([Uint8Array.of(7), new Uint8Array(Float32Array.of(1.5).buffer)]);
    const header = { a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] }, b: f32([1], [1, 5]) };
    const file = parseSafetensors(fileOf(header, data));
    expect(file.checked).to.equal(false);
    expect([...(file.tensors.get('b')?.data ?? [])]).to.deep.equal([1.5]);
  });

  it('reads out of a Buffer, wherever in memory it lies', () => {
    const whole = join(serializeSafetensors(sample(), metadata));
    for (let offset = 0; offset < 8; offset++) {
      const buffer = Buffer.from(new ArrayBuffer(offset + whole.length), offset);
      buffer.set(whole);
      const { tensors } = parseSafetensors(buffer);
      for (const [name, { data }] of sample()) {
        expect(
          Buffer.compare(bytesOf(tensors.get(name)!.data), bytesOf(data)),
          `${name} at ${offset}`,
        ).to.equal(0);
      }
    }
  });

  const refused: [SafetensorsCode, string, Uint8Array][] = [
    ['SAFETENSORS_TRUNCATED', 'an empty file', new Uint8Array(0)],
    ['SAFETENSORS_TRUNCATED', 'seven bytes', new Uint8Array(7)],
    ['SAFETENSORS_TRUNCATED', 'a header that is cut', fileOf({ a: f32([2], [0, 8]) }, bytes8).slice(0, 20)],
    ['SAFETENSORS_TRUNCATED', 'data that are cut', fileOf({ a: f32([4], [0, 16]) }, bytes8)],
    [
      'SAFETENSORS_TRUNCATED',
      'an offset far beyond the file',
      fileOf({ a: f32([2 ** 50], [0, 2 ** 52]) }, bytes8),
    ],
    ['SAFETENSORS_HEADER_SIZE', 'a header above the limit', fileOf('{}').fill(0xff, 0, 8)],
    ['SAFETENSORS_HEADER_SIZE', 'no header', new Uint8Array(8)],
    ['SAFETENSORS_HEADER_JSON', 'text that is not JSON', fileOf('{"a":')],
    ['SAFETENSORS_HEADER_JSON', 'bytes that are not UTF-8', fileOf('{"a":1}').fill(0xff, 10, 11)],
    ['SAFETENSORS_HEADER_JSON', 'brackets nested deeply', fileOf(`{"a":${'['.repeat(1_000_000)}`)],
    [
      'SAFETENSORS_HEADER_JSON',
      'lists within lists, all closed',
      fileOf(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    ],
    ['SAFETENSORS_HEADER_OBJECT', 'a list', fileOf([1, 2])],
    ['SAFETENSORS_HEADER_OBJECT', 'null', fileOf('null')],
    ['SAFETENSORS_HEADER_OBJECT', 'a space before the object', fileOf(' {}')],
    ['SAFETENSORS_DUPLICATE', 'a name twice', fileOf('{"a":{},"a":{}}')],
    ['SAFETENSORS_DUPLICATE', 'a name in two spellings', fileOf('{"ab":{}, "\\u0061b" : {}}')],
    ['SAFETENSORS_DUPLICATE', 'a field twice', fileOf('{"a":{"dtype":"F32","dtype":"F64"}}')],
    ['SAFETENSORS_METADATA', 'metadata that are a list', fileOf({ __metadata__: ['x'] })],
    ['SAFETENSORS_METADATA', 'a number in metadata', fileOf({ __metadata__: { epochs: 3 } })],
    ['SAFETENSORS_ENTRY', 'an entry that is a number', fileOf({ a: 3 })],
    ['SAFETENSORS_ENTRY', 'an entry without shape', fileOf({ a: { dtype: 'F32', data_offsets: [0, 0] } })],
    ['SAFETENSORS_ENTRY', 'an unknown field', fileOf({ a: { ...f32([], [0, 4]), stride: 1 } })],
    ['SAFETENSORS_DTYPE', 'an unknown type', fileOf({ a: { ...f32([1], [0, 4]), dtype: 'F33' } }, bytes8)],
    [
      'SAFETENSORS_DTYPE',
      'a type that is a number',
      fileOf({ a: { ...f32([1], [0, 4]), dtype: 32 } }, bytes8),
    ],
    ['SAFETENSORS_SHAPE', 'a negative size', fileOf({ a: f32([-2], [0, 8]) }, bytes8)],
    ['SAFETENSORS_SHAPE', 'a size that is not whole', fileOf({ a: f32([0.5, 4], [0, 8]) }, bytes8)],
    ['SAFETENSORS_SHAPE', 'a size that is a string', fileOf({ a: f32(['2'], [0, 8]) }, bytes8)],
    ['SAFETENSORS_SHAPE', 'a shape that overflows', fileOf({ a: f32([2 ** 40, 2 ** 40], [0, 8]) }, bytes8)],
    [
      'SAFETENSORS_SHAPE',
      'an overflow times 0',
      fileOf({
        a: f32(
          Array(40)
            .fill(2 ** 50)
            .concat(0),
          [0, 0],
        ),
      }),
    ],
    ['SAFETENSORS_OFFSETS', 'offsets in descending order', fileOf({ a: f32([2], [8, 0]) }, bytes8)],
    ['SAFETENSORS_OFFSETS', 'a negative offset', fileOf({ a: f32([2], [-8, 0]) }, bytes8)],
    ['SAFETENSORS_OFFSETS', 'three offsets', fileOf({ a: f32([2], [0, 4, 8]) }, bytes8)],
    [
      'SAFETENSORS_OFFSETS',
      'an offset above 2^53',
      fileOf(`{"a":${JSON.stringify(f32([2], [0, 1])).replace('1]', '18446744073709551615]')}}`),
    ],
    ['SAFETENSORS_SIZE', 'fewer bytes than the shape needs', fileOf({ a: f32([3], [0, 8]) }, bytes8)],
    [
      'SAFETENSORS_OVERLAP',
      'two tensors in one place',
      fileOf({ a: f32([2], [0, 8]), b: f32([1], [4, 8]) }, bytes8),
    ],
    [
      'SAFETENSORS_HOLE',
      'a gap between tensors',
      fileOf({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, new Uint8Array(12)),
    ],
    ['SAFETENSORS_HOLE', 'a gap before the first tensor', fileOf({ a: f32([1], [4, 8]) }, bytes8)],
    ['SAFETENSORS_TRAILING', 'bytes after the last tensor', fileOf({ a: f32([1], [0, 4]) }, bytes8)],
    ['SAFETENSORS_CHECKSUM', 'a wrong checksum', fileOf({ __metadata__: { sha256: 'f'.repeat(64) } })],
    ['SAFETENSORS_CHECKSUM', 'a checksum that is none', fileOf({ __metadata__: { sha256: 'yes' } })],
  ];
  for (const [code, what, bytes] of refused) {
    it(`refuses ${what} as ${code}`, () => {
      const error = typedError(() => parseSafetensors(bytes, 'weights/a.safetensors'));
      expect(error?.code).to.equal(code);
      expect(error?.message).to.match(/^weights\/a\.safetensors: [^\n]{10,200}$/);
    });
  }

  it('says a header is too long before it looks for it', () => {
    const file = fileOf('{}');
    new DataView(file.buffer).setBigUint64(0, BigInt(maximumHeaderBytes) + 1n, true);
    expect(typedError(() => parseSafetensors(file))?.code).to.equal('SAFETENSORS_HEADER_SIZE');
  });

  it('refuses 100,000 tensors with one fault in under a second', () => {
    const count = 100_000;
    const entry = (i: number, at: number) =>
      `"layer.${i}":{"dtype":"F32","shape":[1],"data_offsets":[${at},${at + 4}]}`;
    const entries = Array.from({ length: count }, (_, i) => entry(i, i * 4));
    const faults: [SafetensorsCode, string][] = [
      ['SAFETENSORS_DUPLICATE', entry(0, count * 4)],
      ['SAFETENSORS_OVERLAP', entry(count, count * 4 - 4)],
      ['SAFETENSORS_HOLE', entry(count, count * 4 + 4)],
      ['SAFETENSORS_TRUNCATED', entry(count, count * 4)],
    ];
    for (const [code, fault] of faults) {
      const file = fileOf(`{${entries.join(',')},${fault}}`, new Uint8Array(count * 4));
      const start = process.cpuUsage();
      expect(typedError(() => parseSafetensors(file))?.code).to.equal(code);
      const { user, system } = process.cpuUsage(start);
      expect((user + system) / 1e6, code).to.be.below(1);
    }
  });

  it('finds every flipped bit and every cut by the checksum', () => {
    const whole = join(serializeSafetensors(sample(), metadata));
    for (const { what, bytes } of damages(whole, 3000, 1)) {
      if (Buffer.compare(bytes, whole) === 0) continue;
      const error = typedError(() => {
        // What is left when the very key of the checksum is hit: a file that no longer claims to have one.
        const file = parseSafetensors(bytes);
        if (file.checked) throw new Error(`${what}: not found`);
        expect([...file.metadata.keys()], what).to.not.deep.equal([...metadata.keys()].sort());
      });
      if (error !== undefined) expect(error.code, what).to.match(/^SAFETENSORS_/);
    }
  });

  it('refuses what cannot be stored', () => {
    const short = new Map([['a', { dtype: 'f32', shape: [3], data: new Float32Array(2) } as const]]);
    expect(typedError(() => serializeSafetensors(short))?.code).to.equal('SAFETENSORS_SIZE');
    const reserved = new Map([
      ['__metadata__', { dtype: 'f32', shape: [0], data: new Float32Array(0) } as const],
    ]);
    expect(typedError(() => serializeSafetensors(reserved))?.code).to.equal('SAFETENSORS_ENTRY');
    const own = new Map([['sha256', 'x']]);
    expect(typedError(() => serializeSafetensors(new Map(), own))?.code).to.equal('SAFETENSORS_METADATA');
  });
});

describe('stored types as float32', () => {
  const patterns: [number, number][] = [
    [0x0000, 0],
    [0x8000, -0],
    [0x3c00, 1],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x0400, 2 ** -14],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xfc00, Number.NEGATIVE_INFINITY],
    [0x7e00, Number.NaN],
  ];
  for (const [bits, value] of patterns) {
    it(`f16 0x${bits.toString(16)} is ${Object.is(value, -0) ? '-0' : value}`, () => {
      const [read] = toFloat32({ dtype: 'f16', shape: [1], data: Uint16Array.of(bits) });
      expect(Object.is(read, value)).to.equal(true);
    });
  }

  it('bf16, f64 and integers', () => {
    const bf16 = Uint16Array.of(0x3f80, 0xc040, 0x7f80, 0x0001);
    expect([...toFloat32({ dtype: 'bf16', shape: [4], data: bf16 })]).to.deep.equal([
      1,
      -3,
      Number.POSITIVE_INFINITY,
      2 ** -133,
    ]);
    expect([...toFloat32({ dtype: 'f64', shape: [1], data: Float64Array.of(0.1) })]).to.deep.equal([
      Math.fround(0.1),
    ]);
    expect([...toFloat32({ dtype: 'i64', shape: [1], data: BigInt64Array.of(-3n) })]).to.deep.equal([-3]);
    expect([...toFloat32({ dtype: 'u8', shape: [1], data: Uint8Array.of(255) })]).to.deep.equal([255]);
  });
});
