// The allocator: reuse, splitting and coalescing, limits, and what is left at the end.

import { expect } from 'chai';
import { addon, bytesOf, codeOf, download, payload, single, upload, withFake } from './support.ts';

const MiB = 1 << 20;

describe('native memory', () => {
  it('hands out a block again as soon as it is given back, in stream order', () =>
    withFake((device) => {
      const slow = addon.prepare(device, single('square', 1, 2, [20]));
      const x = upload(device, [2, 3]);
      const y = addon.allocate(device, 8);
      addon.run(device, slow, [x], [y]);
      addon.release(device, x);
      // Very likely the memory of x, while the square that reads x has not run.
      const z = upload(device, [9, 9]);
      expect(download(device, y, 2)).to.deep.equal([4, 9]);
      expect(download(device, z, 2)).to.deep.equal([9, 9]);
      const peak = addon.memory(device).peak;
      for (let i = 0; i < 10000; i += 1) addon.release(device, addon.allocate(device, 4096));
      expect(addon.memory(device).peak).to.equal(peak);
    }));

  it('counts references', () =>
    withFake(async (device) => {
      const x = upload(device, [1]);
      addon.retain(device, x);
      addon.release(device, x);
      expect(download(device, x, 1)).to.deep.equal([1]);
      addon.release(device, x);
      expect(await codeOf(() => addon.retain(device, x))).to.equal('DISPOSED');
    }));

  it('keeps a block as long as a part of it', () =>
    withFake(async (device) => {
      const numbers = Array.from({ length: 40 }, (_, i) => i);
      const x = upload(device, numbers);
      const { live } = addon.memory(device);
      const part = addon.part(device, x, 64, 32);
      const inner = addon.part(device, addon.part(device, x, 64, 96), 64, 4);
      expect(addon.memory(device).live, 'no memory of its own').to.equal(live);
      expect(download(device, part, 8)).to.deep.equal(numbers.slice(16, 24));
      addon.write(device, part, bytesOf([-1]));
      expect(download(device, x, 40)).to.deep.equal(numbers.with(16, -1));
      addon.release(device, x);
      addon.release(device, part);
      expect(download(device, inner, 1)).to.deep.equal([32]);
      expect(addon.memory(device).live).to.equal(live);
      for (const [offset, bytes] of [
        [32, 4],
        [64, 97],
        [192, 1],
        [2 ** 50, 4],
      ] as const) {
        expect(await codeOf(() => addon.part(device, x, offset, bytes))).to.equal('ARGUMENT');
      }
    }));

  it('gives back a block with its last part', () =>
    withFake(async (device) => {
      const x = addon.allocate(device, 256);
      const parts = [0, 64, 128].map((offset) => addon.part(device, x, offset, 64));
      addon.release(device, x);
      for (const part of parts) addon.release(device, part);
      expect(addon.memory(device)).to.include({ buffers: 0, live: 0 });
      expect(await codeOf(() => addon.retain(device, x))).to.equal('DISPOSED');
    }));

  it('spoils a block with a part of it, and its other parts with that', () =>
    withFake(async (device) => {
      const failing = addon.prepare(device, single('relu', 1, 16));
      const whole = upload(device, new Array(32).fill(1));
      const [first, second] = [0, 64].map((offset) => addon.part(device, whole, offset, 64)) as [
        number,
        number,
      ];
      addon.run(device, failing, [upload(device, new Array(16).fill(1))], [first]);
      expect(await codeOf(() => addon.sync(device))).to.equal('DEVICE');
      for (const buffer of [first, second, whole]) {
        expect(await codeOf(() => addon.readSync(device, buffer, 4))).to.equal('DEVICE');
      }
      addon.write(device, first, new Uint8Array(64));
      expect(await codeOf(() => addon.readSync(device, first, 4)), 'a part heals nothing').to.equal('DEVICE');
      addon.write(device, whole, new Uint8Array(128));
      expect(download(device, second, 16)).to.deep.equal(new Array(16).fill(0));
    }));

  it('returns to where it was after any order of taking and giving back', () =>
    withFake((device) => {
      const start = addon.memory(device);
      expect(start).to.deep.equal({ buffers: 0, live: 0, cached: 0, arena: 0, peak: 0 });
      let seed = 1;
      const random = (below: number): number => {
        seed = (seed * 48271) % 2147483647;
        return seed % below;
      };
      const held: number[] = [];
      for (let i = 0; i < 3000; i += 1) {
        if (held.length > 40 || (held.length > 0 && random(2) === 0)) {
          const [buffer] = held.splice(random(held.length), 1) as [number];
          addon.release(device, buffer);
        } else {
          held.push(addon.allocate(device, random(10) === 0 ? random(30 * MiB) : random(MiB)));
        }
        const { live, cached, arena, peak, buffers } = addon.memory(device);
        expect(buffers).to.equal(held.length);
        expect(live + cached + arena).to.be.at.most(peak);
      }
      for (const buffer of held) addon.release(device, buffer);
      const end = addon.memory(device);
      expect({ ...end, cached: 0, peak: 0 }).to.deep.equal(start);
    }));

  it('coalesces: what was taken in pieces can be taken whole', () =>
    withFake((device) => {
      const pieces = Array.from({ length: 10 }, () => addon.allocate(device, 2 * MiB));
      const { peak } = addon.memory(device);
      for (const at of [1, 3, 5, 7, 9, 0, 8, 2, 6, 4]) addon.release(device, pieces[at] as number);
      addon.release(device, addon.allocate(device, 20 * MiB));
      expect(addon.memory(device).peak).to.equal(peak);
    }));

  it('aligns to 64 bytes and gives every buffer bytes of its own', () =>
    withFake((device) => {
      const buffers = Array.from({ length: 200 }, (_, i) => upload(device, [i, -i]));
      buffers.forEach((buffer, i) => {
        expect(download(device, buffer, 2)).to.deep.equal([i, -i]);
      });
      expect(addon.memory(device).live).to.equal(200 * 64);
    }));

  for (const [name, options, limit] of [
    ['the limit', { memoryLimit: 64 * MiB }, 64 * MiB],
    ["the backend's memory", { threads: 64 }, 64 * MiB],
  ] as const) {
    it(`runs out at ${name} with figures, and goes on with less`, () =>
      withFake(async (device) => {
        const half = addon.allocate(device, 32 * MiB);
        const failure = await Promise.resolve()
          .then(() => addon.allocate(device, 40 * MiB))
          .then(
            () => undefined,
            (error: unknown) => error,
          );
        expect(failure).to.include({
          code: 'OUT_OF_MEMORY',
          requested: 40 * MiB,
          free: 32 * MiB,
          largest: 32 * MiB,
        });
        // What is cached for small blocks goes back first.
        addon.release(device, addon.allocate(device, 100));
        const rest = addon.allocate(device, 32 * MiB);
        expect(addon.memory(device)).to.include({ live: limit, cached: 0 });
        addon.release(device, half);
        addon.release(device, rest);
        addon.release(device, addon.allocate(device, limit));
      }, options));
  }

  it('gives cached memory back only when queued work is done with it', () =>
    withFake(
      (device) => {
        const slow = addon.prepare(device, single('square', 1, MiB, [50]));
        const x = addon.allocate(device, 4 * MiB);
        addon.write(device, x, new Uint8Array(Float32Array.from({ length: MiB }, () => 3).buffer));
        const y = addon.allocate(device, 4 * MiB);
        addon.run(device, slow, [x], [y]);
        addon.release(device, x);
        const large = addon.allocate(device, 40 * MiB);
        expect(download(device, y, 2)).to.deep.equal([9, 9]);
        addon.release(device, large);
      },
      { memoryLimit: 64 * MiB },
    ));

  it('holds a program in one arena and returns it', () =>
    withFake((device) => {
      const program = () =>
        addon.prepare(
          device,
          payload({
            values: [{ shape: [4] }, { shape: [4], offset: 3 * MiB }, { shape: [4] }],
            inputs: [0],
            outputs: [2],
            arenaBytes: 4 * MiB,
            instructions: [
              { op: 'scale', inputs: [0], outputs: [1], attributes: [2] },
              { op: 'scale', inputs: [1], outputs: [2], attributes: [2] },
            ],
          }),
        );
      const x = upload(device, [1, 2, 3, 4]);
      const handle = program();
      const { arena, peak } = addon.memory(device);
      expect(arena).to.equal(4 * MiB);
      addon.run(device, handle, [x], [x]);
      addon.forget(device, handle);
      expect(addon.memory(device).arena).to.equal(0);
      expect(download(device, x, 4)).to.deep.equal([4, 8, 12, 16]);
      for (let i = 0; i < 1000; i += 1) addon.forget(device, program());
      expect(addon.memory(device)).to.include({ arena: 0, peak });
    }));

  it('shares one workspace, as large as the largest need', () =>
    withFake((device) => {
      const x = upload(device, [1]);
      for (const bytes of [MiB, 3 * MiB, 2 * MiB]) {
        const program = addon.prepare(device, single('elu', 1, 1, [bytes]));
        addon.run(device, program, [x], [x]);
        addon.forget(device, program);
      }
      addon.syncBlocking(device);
      expect(addon.memory(device).arena).to.equal(3 * MiB);
      expect(download(device, x, 1)).to.deep.equal([1]);
    }));

  it('survives a workspace that does not fit: a smaller one then works', () =>
    withFake(
      async (device) => {
        const x = upload(device, [1]);
        addon.run(device, addon.prepare(device, single('elu', 1, 1, [100 * MiB])), [x], [x]);
        expect(await codeOf(() => addon.sync(device))).to.equal('OUT_OF_MEMORY');
        // Cached and idle: this may go, for the workspace.
        addon.release(device, addon.allocate(device, 50 * MiB));
        addon.run(device, addon.prepare(device, single('elu', 1, 1, [40 * MiB])), [x], [x]);
        expect(download(device, x, 1)).to.deep.equal([1]);
      },
      { memoryLimit: 64 * MiB },
    ));

  it('says when an arena does not fit', () =>
    withFake(
      async (device) => {
        const huge = payload({ values: [], inputs: [], outputs: [], arenaBytes: 2 ** 46, instructions: [] });
        expect(await codeOf(() => addon.prepare(device, huge))).to.equal('OUT_OF_MEMORY');
      },
      { threads: 64 },
    ));
});
