// The native boundary: whatever JavaScript passes, it gets a result or a typed error, and the process lives.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { skip } from '../support/skip.ts';
import {
  addon,
  addonPath,
  codeOf,
  codes,
  download,
  fakePath,
  folder,
  payload,
  single,
  upload,
  withFake,
} from './support.ts';

type AnyFunction = (...values: unknown[]) => unknown;

const functions = new Map<string, AnyFunction>(
  Object.entries(addon).map(([name, value]) => [name, value as AnyFunction]),
);

const imagesPath = join(folder, 'libdepthwise_images.so');
const hasImages = existsSync(imagesPath);
/** Where the library is not built, a handle that is none. */
const pool = hasImages ? addon.openImages(imagesPath, 1) : 0;
/** 8 x 8 pixels of whole images, as lib/data/pool.ts has the numbers. */
const rules = Float64Array.of(8, 8, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 7, 7, 0);

/** Valid arguments of every export, for a device with the buffers x and y and the program p. */
const validArguments = (device: number, x: number, y: number, p: number): Record<string, unknown[]> => ({
  aboutImages: [imagesPath],
  openImages: [imagesPath, 1],
  closeImages: [pool],
  cancelImages: [pool],
  makeImages: [pool, rules, ['/nowhere.jpg'], Float64Array.of(0, 0, 0, 0, -1, 0, 0), new Uint8Array(192)],
  mixImages: [pool, new Uint8Array(24), Float64Array.of(2, 2, 2, 9, 0, 0, 0, 0)],
  drawImages: [pool, rules, Float64Array.of(0, 8, 8)],
  changeImage: [pool, 1, Float64Array.of(0.5), new Uint8Array(12), Float64Array.of(2, 2)],
  opTable: [],
  cudnnOpTable: [],
  openCudnn: [[fakePath]],
  cudnnPlans: [fakePath, new Float64Array(1), new Float64Array(4), ['', '', '']],
  openDevice: [fakePath, {}],
  closeDevice: [device],
  describe: [device],
  supports: [device, single('scale', 1, 1, [2])],
  packedBytes: [device, single('scale', 1, 1, [2])],
  allocate: [device, 16],
  part: [device, x, 0, 4],
  retain: [device, x],
  release: [device, x],
  write: [device, x, new Uint8Array(4)],
  read: [device, x, 4],
  readSync: [device, x, 4],
  prepare: [device, single('scale', 1, 1, [2])],
  run: [device, p, [x], [y]],
  profile: [device, p, [x], [y]],
  forget: [device, p],
  sync: [device],
  syncBlocking: [device],
  memory: [device],
});

const detached = (): Uint8Array => {
  const bytes = new Uint8Array(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};

/** Exports that open a library that they are told of. */
const loaders = ['openCudnn', 'cudnnPlans', 'openDevice', 'aboutImages', 'openImages'];

const typed = ['ARGUMENT', 'DISPOSED', 'UNSUPPORTED', 'OUT_OF_MEMORY', 'LOAD', 'DEVICE'];

describe('native boundary', () => {
  it('exports what the tests below know, and no more', () => {
    expect([...functions.keys()].sort()).to.deep.equal(Object.keys(validArguments(0, 0, 0, 0)).sort());
  });

  it('has every op of the table once', () => {
    expect(codes).to.include({ conv2d: 1, relu: 20, fill: 57, polyakUpdate: 105 });
    expect(new Set(Object.values(codes)).size).to.equal(Object.keys(codes).length);
  });

  const wrong: readonly [string, unknown][] = [
    ['undefined', undefined],
    ['null', null],
    ['a boolean', true],
    ['a string', 'seven'],
    ['a string with NUL', 'a\0b'],
    ['a symbol', Symbol('x')],
    ['a bigint', 5n],
    ['NaN', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
    ['a negative number', -1],
    ['a fraction', 1.5],
    ['a huge number', 2 ** 60],
    ['an object', { valueOf: () => 3 }],
    ['an array of strings', ['a']],
    ['a sparse array', Object.assign([], { length: 4294967295 })],
    ['a function', () => 3],
    ['a proxy', new Proxy({}, {})],
    ['a Float32Array', new Float32Array(8)],
    ['an ArrayBuffer', new ArrayBuffer(8)],
    ['a DataView', new DataView(new ArrayBuffer(8))],
    ['a shared array', new Uint16Array(new SharedArrayBuffer(8))],
    ['a detached array', detached()],
  ];

  for (const name of functions.keys()) {
    it(`${name}: wrong types, counts and handles are refused`, async function () {
      if (/Images?$/.test(name) && !hasImages) skip(this, `${imagesPath} is not built`);
      await withFake(async (device) => {
        const call = functions.get(name) as AnyFunction;
        const fresh = () => {
          const p = addon.prepare(device, single('scale', 1, 1, [2]));
          return validArguments(device, upload(device, [1]), upload(device, [2]), p)[name] as unknown[];
        };
        const valid = fresh();
        expect(await codeOf(() => call(...valid, 0)), 'one more').to.equal('ARGUMENT');
        if (valid.length > 0)
          expect(await codeOf(() => call(...valid.slice(1))), 'one less').to.equal('ARGUMENT');
        for (let at = 0; at < valid.length; at += 1) {
          for (const [what, value] of wrong) {
            // The one slot that takes an object: these are objects without options.
            if (
              name === 'openDevice' &&
              at === 1 &&
              typeof value === 'object' &&
              !Array.isArray(value) &&
              value
            )
              continue;
            // Paths are what it takes.
            if (name === 'makeImages' && what === 'an array of strings') continue;
            const given = fresh();
            given[at] = value;
            expect(await codeOf(() => call(...given)), `${what} as argument ${at}`).to.be.oneOf(
              loaders.includes(name) ? ['ARGUMENT', 'LOAD'] : ['ARGUMENT'],
            );
          }
        }
        if (name !== 'closeDevice') {
          expect(await codeOf(() => addon.sync(device)), 'the device still works').to.equal('none');
        }
      });
    });
  }

  it('refuses numbers of images that are out of range, and makes nothing of them', async function () {
    if (!hasImages) skip(this, `${imagesPath} is not built`);
    const make = (
      table: readonly number[],
      changed: Float64Array = rules,
      out = 192,
      source: unknown = 'x',
    ) =>
      codeOf(() =>
        (functions.get('makeImages') as AnyFunction)(
          ...[pool, changed, [source], Float64Array.from(table), new Uint8Array(out)],
        ),
      );
    const file = [0, 0, 0, 0, -1, 0, 0];
    expect(await make(file)).to.equal('none');
    for (const [at, value] of [
      [0, 3],
      [0, 1],
      [1, 1],
      [1, -1],
      [2, 2 ** 32],
      [3, -1],
      [4, 0.5],
      [5, 2 ** 31],
    ] as const) {
      expect(await make(file.with(at, value)), `table ${at}: ${value}`).to.equal('ARGUMENT');
    }
    expect(await make(file.slice(1))).to.equal('ARGUMENT');
    expect(await make([...file, 0])).to.equal('ARGUMENT');
    expect(await make(file, rules, 191)).to.equal('ARGUMENT');
    expect(await make([2, 0, 0, 0, -1, 4, 4], rules, 192, new Uint8Array(47))).to.equal('ARGUMENT');
    expect(await make([2, 0, 0, 0, -1, 4, 4], rules, 192, new Uint8Array(48))).to.equal('none');
    rules.forEach((_, at) => {
      for (const value of [-1, Number.NaN, 2 ** 33]) {
        expect(() => addon.drawImages(pool, rules.with(at, value), Float64Array.of(0, 8, 8))).to.throw(
          /rules/,
        );
      }
    });
    for (const mix of [
      [2, 2, 2, 65537, 0, 0, 0, 0],
      [2, 2, 2, 9, 0, 0, 3, 2],
      [3, 2, 2, 9, 0, 0, 0, 0],
    ]) {
      expect(() => addon.mixImages(pool, new Uint8Array(24), Float64Array.from(mix))).to.throw(/mix/);
    }
    expect(() =>
      addon.changeImage(pool, 14, Float64Array.of(0), new Uint8Array(12), Float64Array.of(2, 2)),
    ).to.throw(/change/);
    const closed = addon.openImages(imagesPath, 2);
    addon.closeImages(closed);
    expect(await codeOf(() => addon.cancelImages(closed))).to.equal('DISPOSED');
  });

  it('refuses wrong options of a device', async () => {
    const open = functions.get('openDevice') as AnyFunction;
    for (const options of [
      { threads: -1 },
      { threads: 1e9 },
      { threads: 'two' },
      { ordinal: 0.5 },
      { memoryLimit: Number.NaN },
      { memoryLimit: 2 ** 53 },
      { deterministic: 1 },
      { allowTf32: 'yes' },
      { libraryFolder: 3 },
    ]) {
      expect(await codeOf(() => open(fakePath, options)), JSON.stringify(options)).to.equal('ARGUMENT');
    }
    expect(await codeOf(() => open(fakePath, { ordinal: 8 }))).to.equal('DEVICE');
    const getter = Object.defineProperty({}, 'threads', {
      get: () => {
        throw new RangeError('mine');
      },
    });
    expect(() => open(fakePath, getter)).to.throw(RangeError, 'mine');
  });

  it('says why a backend cannot be loaded', () => {
    expect(() => addon.openDevice('/nowhere/libdepthwise_x.so', {})).to.throw(
      /cannot load the backend .*nowhere/,
    );
    expect(() => addon.openDevice(addonPath, {})).to.throw('is not a depthwise backend');
  });

  it('says why cuDNN cannot be opened', () => {
    expect(() => addon.openCudnn(['/nowhere/libcudnn.so.9'])).to.throw(
      /cannot load \/nowhere\/libcudnn\.so\.9: .*nowhere/,
    );
    expect(() => addon.openCudnn([fakePath])).to.throw(/libdepthwise_fake\.so is not cuDNN/);
    expect(() => addon.openCudnn([])).to.throw(/at least one path/);
  });

  it('refuses stale handles and those of another device', () =>
    withFake((device) =>
      withFake(async (other) => {
        const x = upload(device, [1]);
        const p = addon.prepare(device, single('scale', 1, 1, [2]));
        for (const call of [
          () => addon.readSync(other, x, 4),
          () => addon.release(other, x),
          () => addon.run(other, p, [x], [x]),
          () => addon.forget(other, p),
          () => addon.memory(x),
        ]) {
          expect(await codeOf(call)).to.equal('DISPOSED');
        }
        addon.release(device, x);
        addon.forget(device, p);
        const y = upload(device, [2]);
        expect(y).not.to.equal(x);
        for (const call of [
          () => addon.retain(device, x),
          () => addon.release(device, x),
          () => addon.write(device, x, new Uint8Array(4)),
          () => addon.read(device, x, 4),
          () => addon.run(device, p, [y], [y]),
          () => addon.forget(device, p),
        ]) {
          expect(await codeOf(call)).to.equal('DISPOSED');
        }
        // Handles near valid ones.
        for (let bit = 0; bit < 52; bit += 1) {
          const near = Number(BigInt(y) ^ (1n << BigInt(bit)));
          expect(await codeOf(() => addon.readSync(device, near, 4))).to.equal('DISPOSED');
        }
        expect(download(device, y, 1)).to.deep.equal([2]);
      }),
    ));

  it('refuses a closed device in every export', async () => {
    const device = addon.openDevice(fakePath, {});
    const given = validArguments(device, upload(device, [1]), upload(device, [1]), 1);
    addon.closeDevice(device);
    for (const [name, call] of functions) {
      if (name.endsWith('pTable') || loaders.includes(name) || /Images?$/.test(name)) continue;
      expect(await codeOf(() => call(...(given[name] as unknown[]))), name).to.equal('DISPOSED');
    }
  });

  it('settles reads that were pending when the device was closed', async () => {
    const device = addon.openDevice(fakePath, {});
    const x = upload(device, [3]);
    addon.run(device, addon.prepare(device, single('square', 1, 1, [50])), [x], [x]);
    const pending = addon.read(device, x, 4);
    addon.closeDevice(device);
    expect([...new Float32Array((await pending).buffer)]).to.deep.equal([9]);
  });

  it('checks sizes of writes, reads and operands', () =>
    withFake(async (device) => {
      const x = upload(device, [1]);
      const two = addon.prepare(device, single('add', 2, 1));
      const wide = addon.prepare(device, single('scale', 1, 2, [1]));
      const y = upload(device, [1, 2]);
      for (const call of [
        () => addon.write(device, x, new Uint8Array(5)),
        () => addon.read(device, x, 5),
        () => addon.readSync(device, x, 2 ** 40),
        () => addon.run(device, two, [x], [x]),
        () => addon.run(device, two, [x, x], []),
        () => addon.run(device, two, [x, x, x], [x]),
        () => addon.run(device, wide, [x], [y]),
        () => addon.run(device, wide, [y], [x]),
        () => addon.allocate(device, 2 ** 48),
      ]) {
        expect(await codeOf(call)).to.equal('ARGUMENT');
      }
      const twice = payload({
        values: [{ shape: [1] }, { shape: [1] }, { shape: [1] }],
        inputs: [0],
        outputs: [1, 2],
        instructions: [1, 2].map((id) => ({ op: 'scale', inputs: [0], outputs: [id], attributes: [1] })),
      });
      expect(await codeOf(() => addon.run(device, addon.prepare(device, twice), [x], [y, y]))).to.equal(
        'ARGUMENT',
      );
    }));

  describe('payloads', () => {
    const good = () =>
      payload({
        values: [
          { shape: [2, 3] },
          { shape: [2, 3], offset: 0 },
          { shape: [2, 3], offset: 64 },
          { shape: [6] },
          { shape: [2, 3] },
          { shape: [3] },
        ],
        parts: [[5, 1, 0]],
        inputs: [0, 4],
        outputs: [3, 0],
        arenaBytes: 128,
        instructions: [
          { op: 'scale', inputs: [0], outputs: [1], attributes: [2] },
          { op: 'add', inputs: [1, 4], outputs: [2] },
          { op: 'reshape', inputs: [2], outputs: [3], attributes: [6] },
        ],
      });

    const one = { values: [{ shape: [1] }, { shape: [1] }], inputs: [0], outputs: [1] };
    const scale = { op: 'scale', inputs: [0], outputs: [1], attributes: [1] };
    const part = {
      values: [{ shape: [32] }, { shape: [1] }, { shape: [1] }],
      inputs: [0],
      outputs: [2],
      instructions: [{ op: 'scale', inputs: [1], outputs: [2], attributes: [1] }],
    };
    const bad: readonly [string, Float64Array][] = [
      ['nothing', new Float64Array(0)],
      ['another version', Float64Array.of(1, ...good().slice(1))],
      ['a payload cut short', good().slice(0, -1)],
      ['a number too many', Float64Array.of(...good(), 0)],
      ['an absurd number of values', Float64Array.of(2, 1e9, 0, 0, 0, 0, 0)],
      ['an unknown op', payload({ ...one, instructions: [{ ...scale, op: 'nonsense' }] })],
      [
        'an unknown type',
        payload({ ...one, values: [{ shape: [1], dtype: 6 }, { shape: [1] }], instructions: [scale] }),
      ],
      [
        'a negative extent',
        payload({ ...one, values: [{ shape: [-1] }, { shape: [1] }], instructions: [scale] }),
      ],
      [
        'a rank of 7',
        payload({
          ...one,
          values: [{ shape: [1, 1, 1, 1, 1, 1, 1] }, { shape: [1] }],
          instructions: [scale],
        }),
      ],
      [
        'an overflow',
        payload({ ...one, values: [{ shape: [2 ** 40, 2 ** 40] }, { shape: [1] }], instructions: [scale] }),
      ],
      [
        'an offset without arena',
        payload({ ...one, values: [{ shape: [1] }, { shape: [1], offset: 0 }], instructions: [scale] }),
      ],
      ['a value without a place', payload({ ...one, outputs: [], instructions: [scale] })],
      [
        'a value that leaves the arena',
        payload({
          ...one,
          values: [{ shape: [1] }, { shape: [17], offset: 64 }],
          outputs: [],
          arenaBytes: 128,
          instructions: [scale],
        }),
      ],
      [
        'a crooked offset',
        payload({
          ...one,
          values: [{ shape: [1] }, { shape: [1], offset: 4 }],
          outputs: [],
          arenaBytes: 128,
          instructions: [scale],
        }),
      ],
      [
        'an input with a place in the arena',
        payload({
          ...one,
          values: [{ shape: [1], offset: 0 }, { shape: [1] }],
          arenaBytes: 64,
          instructions: [scale],
        }),
      ],
      ['an input twice', payload({ ...one, inputs: [0, 0], instructions: [scale] })],
      ['an output never made', payload({ ...one, instructions: [] })],
      ['a value made twice', payload({ ...one, instructions: [scale, scale] })],
      ['a value that is made after its use', payload({ ...one, instructions: [{ ...scale, inputs: [1] }] })],
      ['a value that overwrites an input', payload({ ...one, instructions: [{ ...scale, outputs: [0] }] })],
      ['a value out of range', payload({ ...one, instructions: [{ ...scale, inputs: [2] }] })],
      ['a part without inputs', payload({ ...part, inputs: [], instructions: [], parts: [[1, 0, 0]] })],
      ['a part of what is no input', payload({ ...part, parts: [[1, 1, 0]] })],
      ['a part that leaves its input', payload({ ...part, parts: [[1, 0, 128]] })],
      ['a crooked part', payload({ ...part, parts: [[1, 0, 4]] })],
      ['a part that is an input', payload({ ...part, parts: [[0, 0, 0]] })],
      ['a part that is an output', payload({ ...part, parts: [[2, 0, 0]] })],
      ['a part twice', payload({ ...part, parts: [1, 1].map((id) => [id, 0, 0] as const) })],
      ['no results', payload({ ...one, instructions: [scale, { ...scale, outputs: [] }] })],
      ['what the backend calls invalid', payload({ ...one, instructions: [{ ...scale, attributes: [] }] })],
    ];

    for (const [what, numbers] of bad) {
      it(`refuses ${what}`, () =>
        withFake(async (device) => {
          expect(await codeOf(() => addon.prepare(device, numbers))).to.equal('ARGUMENT');
          expect(await codeOf(() => addon.supports(device, numbers))).to.equal('ARGUMENT');
          expect(await codeOf(() => addon.packedBytes(device, numbers))).to.equal('ARGUMENT');
        }));
    }

    it('survives 5,000 random changes of a good one', () =>
      withFake(
        async (device) => {
          const original = good();
          const seeds = { state: 12345 };
          const random = (below: number): number => {
            seeds.state = (seeds.state * 48271) % 2147483647;
            return seeds.state % below;
          };
          const odd = [
            0,
            1,
            2,
            3,
            5,
            6,
            7,
            64,
            128,
            -1,
            0.5,
            1e6,
            2 ** 31,
            2 ** 32,
            2 ** 47,
            2 ** 53,
            1e300,
            Number.NaN,
          ];
          const counts: Record<string, number> = {};
          const x = addon.allocate(device, 24);
          const y = addon.allocate(device, 24);
          const z = addon.allocate(device, 24);
          for (let i = 0; i < 5000; i += 1) {
            let numbers = original.slice();
            for (let change = random(3); change >= 0; change -= 1) {
              const at = random(numbers.length);
              numbers[at] =
                random(2) === 0
                  ? (odd[random(odd.length)] as number)
                  : (numbers[at] as number) + random(5) - 2;
            }
            if (random(10) === 0) numbers = numbers.slice(0, random(numbers.length));
            const code = await codeOf(() => {
              const program = addon.prepare(device, numbers);
              try {
                addon.run(device, program, [x, y], [z, y]);
                addon.syncBlocking(device);
              } finally {
                addon.forget(device, program);
              }
            });
            counts[code] = (counts[code] ?? 0) + 1;
          }
          expect(Object.keys(counts)).to.include('none').and.to.include('ARGUMENT');
          for (const code of Object.keys(counts)) expect(code).to.be.oneOf([...typed, 'none']);
          const program = addon.prepare(device, original);
          addon.write(device, x, new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer));
          addon.write(device, y, new Uint8Array(24));
          addon.run(device, program, [x, y], [z, y]);
          expect(download(device, z, 6)).to.deep.equal([2, 4, 6, 8, 10, 12]);
        },
        { memoryLimit: 1 << 28 },
      ));
  });
});
