// .npy files: round trip, header versions, orders, refusals, damage at random places.

import { expect } from 'chai';
import { type NpyArray, type NpyCode, parseNpy, serializeNpy } from '../../lib/interop/npy.ts';
import { elementCount } from '../../lib/interop/storedTensor.ts';
import { damages, typedError } from './corruption.ts';

const join = (chunks: Uint8Array[]): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.concat(chunks));

/** A file as NumPy writes it, with `dict` as its header. */
function fileOf(dict: string, data: Uint8Array, version = 1): Uint8Array {
  const head = Buffer.alloc(version === 1 ? 10 : 12);
  head.write('\x93NUMPY', 'latin1');
  head[6] = version;
  const text = Buffer.from(`${dict}\n`, version === 3 ? 'utf8' : 'latin1');
  if (version === 1) head.writeUInt16LE(text.length, 8);
  else head.writeUInt32LE(text.length, 8);
  return join([head, text, data]);
}

const dictOf = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;
const raw = (data: Float32Array | Int32Array | Float64Array | BigInt64Array | Uint16Array) =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

describe('npy', () => {
  const arrays: NpyArray[] = [
    { dtype: 'f32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, Number.NaN) },
    { dtype: 'f64', shape: [], data: Float64Array.of(Math.PI) },
    { dtype: 'i32', shape: [3], data: Int32Array.of(-1, 0, 1) },
    { dtype: 'i64', shape: [1, 1], data: BigInt64Array.of(-(2n ** 62n)) },
    { dtype: 'u8', shape: [0, 3], data: new Uint8Array(0) },
    { dtype: 'f16', shape: [2], data: Uint16Array.of(0x3c00, 0) },
    { dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) },
  ];
  for (const array of arrays) {
    it(`gives back ${array.dtype} [${array.shape}]`, () => {
      const bytes = join(serializeNpy(array));
      expect(parseNpy(bytes)).to.deep.equal(array);
      expect((bytes.length - array.data.byteLength) % 64).to.equal(0);
    });
  }

  it('writes the header that NumPy writes', () => {
    const head = Buffer.from(serializeNpy(arrays[0] as NpyArray)[0] as Uint8Array).toString('latin1');
    const dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    expect(head).to.equal(`\x93NUMPY\x01\x00\x76\x00${dict.padEnd(117)}\n`);
  });

  it('reads versions 1, 2 and 3', () => {
    for (const version of [1, 2, 3]) {
      const file = fileOf(dictOf('<f4', '(1, 2)'), raw(Float32Array.of(1, 2)), version);
      expect(parseNpy(file)).to.deep.equal({ dtype: 'f32', shape: [1, 2], data: Float32Array.of(1, 2) });
    }
  });

  it('reads headers in other spellings', () => {
    const dict = '{"shape":(2,),"fortran_order":False,"descr":"|u1"}';
    expect(parseNpy(fileOf(dict, Uint8Array.of(8, 9)))).to.deep.equal({
      dtype: 'u8',
      shape: [2],
      data: Uint8Array.of(8, 9),
    });
  });

  it('brings Fortran order into C order', () => {
    const shape = [2, 3, 4];
    const data = new Int32Array(elementCount(shape));
    // Element [i, j, k] has the value 100 i + 10 j + k; in Fortran order i runs fastest.
    for (let i = 0; i < 2; i++) {
      for (let j = 0; j < 3; j++)
        for (let k = 0; k < 4; k++) data[i + 2 * (j + 3 * k)] = 100 * i + 10 * j + k;
    }
    const read = parseNpy(fileOf(dictOf('<i4', '(2, 3, 4)', 'True'), raw(data)));
    const expected = [0, 1].flatMap((i) =>
      [0, 1, 2].flatMap((j) => [0, 1, 2, 3].map((k) => 100 * i + 10 * j + k)),
    );
    expect([...read.data]).to.deep.equal(expected);
  });

  it('swaps big-endian elements', () => {
    const big = Buffer.alloc(8);
    big.writeFloatBE(1.5, 0);
    big.writeFloatBE(-2, 4);
    expect([...parseNpy(fileOf(dictOf('>f4', '(2,)'), big)).data]).to.deep.equal([1.5, -2]);
  });

  const one = raw(Float32Array.of(1));
  const refused: [NpyCode, string, Uint8Array][] = [
    ['NPY_MAGIC', 'another kind of file', new Uint8Array(100)],
    ['NPY_TRUNCATED', 'eight bytes', fileOf(dictOf('<f4', '(1,)'), one).slice(0, 8)],
    ['NPY_TRUNCATED', 'a header that is cut', fileOf(dictOf('<f4', '(1,)'), one).slice(0, 30)],
    ['NPY_TRUNCATED', 'data that are cut', fileOf(dictOf('<f4', '(2,)'), one)],
    ['NPY_TRAILING', 'bytes after the array', fileOf(dictOf('<f4', '()'), new Uint8Array(5))],
    ['NPY_VERSION', 'version 4', fileOf(dictOf('<f4', '(1,)'), one, 4)],
    ['NPY_HEADER', 'a header that is no dict', fileOf('[1, 2]', one)],
    ['NPY_HEADER', 'a header without shape', fileOf("{'descr': '<f4', 'fortran_order': False}", one)],
    ['NPY_HEADER', 'an expression in the header', fileOf(dictOf('<f4', '(__import__("os").getpid(),)'), one)],
    ['NPY_HEADER', 'an entry twice', fileOf("{'shape': (1,), 'shape': (1,), 'descr': '<f4'}", one)],
    [
      'NPY_HEADER',
      'a type given as a shape',
      fileOf("{'descr': (1,), 'fortran_order': False, 'shape': (1,)}", one),
    ],
    ['NPY_SHAPE', 'two commas in the shape', fileOf(dictOf('<f4', '(1,,1)'), one)],
    [
      'NPY_SHAPE',
      'a shape that overflows',
      fileOf(dictOf('<f4', '(4503599627370496, 4503599627370496)'), one),
    ],
    ['NPY_DTYPE', 'complex numbers', fileOf(dictOf('<c8', '(1,)'), new Uint8Array(8))],
    ['NPY_DTYPE', 'strings', fileOf(dictOf('<U4', '(1,)'), new Uint8Array(16))],
    [
      'NPY_DTYPE',
      'a structured array',
      fileOf("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", one),
    ],
    ['NPY_PICKLE', 'a pickle', fileOf(dictOf('|O', '(1,)'), new Uint8Array(40))],
  ];
  for (const [code, what, bytes] of refused) {
    it(`refuses ${what} as ${code}`, () => {
      const error = typedError(() => parseNpy(bytes, 'x.npy'));
      expect(error?.code).to.equal(code);
      expect(error?.message).to.match(/^x\.npy: [^\n]{8,200}$/);
    });
  }

  it('never does worse than a typed error on damaged files', () => {
    const whole = join(serializeNpy({ dtype: 'f32', shape: [3, 5], data: new Float32Array(15).fill(0.5) }));
    let refusals = 0;
    for (const { what, bytes } of damages(whole, 3000, 2)) {
      const error = typedError(() => {
        const { shape, data } = parseNpy(bytes);
        expect(data.length, what).to.equal(elementCount(shape));
      });
      if (error !== undefined) {
        expect(error.code, what).to.match(/^NPY_/);
        refusals += 1;
      }
    }
    expect(refusals).to.be.above(1000);
  });
});
