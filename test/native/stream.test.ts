// The stream: order, failures and where they come out, and a JavaScript thread that is never held up.

import { readdirSync, readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { addon, codeOf, download, payload, single, upload, withFake } from './support.ts';

describe('native stream', () => {
  it('runs work in the order in which it was queued, writes and reads included', () =>
    withFake(async (device) => {
      const x = upload(device, [1, 2, 3]);
      const y = addon.allocate(device, 12);
      const slowSquare = addon.prepare(device, single('square', 1, 3, [30]));
      const triple = addon.prepare(device, single('scale', 1, 3, [3]));
      addon.run(device, slowSquare, [x], [y]);
      const squares = addon.read(device, y, 12);
      addon.run(device, triple, [y], [x]);
      addon.write(device, y, new Uint8Array(12));
      expect([...new Float32Array((await squares).buffer)]).to.deep.equal([1, 4, 9]);
      expect(download(device, x, 3)).to.deep.equal([3, 12, 27]);
      expect(download(device, y, 3)).to.deep.equal([0, 0, 0]);
    }));

  it('runs a program of several instructions through its arena, again and again', () =>
    withFake((device) => {
      // y = (2x + x) * 5, with both temporaries in the arena; x is passed through as a second output.
      const program = addon.prepare(
        device,
        payload({
          values: [{ shape: [4] }, { shape: [4], offset: 0 }, { shape: [4], offset: 64 }, { shape: [4] }],
          inputs: [0],
          outputs: [3, 0],
          arenaBytes: 128,
          instructions: [
            { op: 'scale', inputs: [0], outputs: [1], attributes: [2] },
            { op: 'add', inputs: [1, 0], outputs: [2] },
            { op: 'scale', inputs: [2], outputs: [3], attributes: [5] },
          ],
        }),
      );
      for (let i = 1; i <= 20; i += 1) {
        const x = upload(device, [i, 2, 3, 4]);
        const y = addon.allocate(device, 16);
        const copy = addon.allocate(device, 16);
        addon.run(device, program, [x], [y, copy]);
        expect(download(device, y, 4)).to.deep.equal([i * 15, 30, 45, 60]);
        expect(download(device, copy, 4)).to.deep.equal([i, 2, 3, 4]);
        for (const buffer of [x, y, copy]) addon.release(device, buffer);
      }
      addon.forget(device, program);
    }));

  it('takes the bytes of a write at once: the array may change after', () =>
    withFake((device) => {
      const slow = addon.prepare(device, single('square', 1, 1, [20]));
      const x = upload(device, [3]);
      const y = addon.allocate(device, 4);
      addon.run(device, slow, [x], [y]);
      const bytes = new Uint8Array(Float32Array.of(7).buffer);
      addon.write(device, x, bytes);
      bytes.fill(0);
      expect(download(device, x, 1)).to.deep.equal([7]);
    }));

  it('computes nothing for an instruction whose results have no elements', () =>
    withFake((device) => {
      const program = addon.prepare(device, single('relu', 1, 0));
      addon.run(device, program, [addon.allocate(device, 0)], [addon.allocate(device, 0)]);
      addon.syncBlocking(device);
    }));

  describe('failures', () => {
    const failing = (device: number) => addon.prepare(device, single('relu', 1, 1));
    const triple = (device: number) => addon.prepare(device, single('scale', 1, 1, [3]));

    it('come out at the next read, once, with the words of the backend', () =>
      withFake(async (device) => {
        const x = upload(device, [1]);
        addon.run(device, failing(device), [x], [addon.allocate(device, 4)]);
        expect(() => addon.readSync(device, x, 4)).to.throw('relu: the fake device is on fire');
        expect(download(device, x, 1)).to.deep.equal([1]);
        addon.run(device, failing(device), [x], [addon.allocate(device, 4)]);
        expect(await codeOf(() => addon.read(device, x, 4))).to.equal('DEVICE');
        expect(await codeOf(() => addon.sync(device))).to.equal('none');
      }));

    it('come out of sync and syncBlocking too, and are kept while nobody asks', () =>
      withFake(async (device) => {
        const x = upload(device, [1]);
        for (const wait of [() => addon.sync(device), () => addon.syncBlocking(device)]) {
          addon.run(device, failing(device), [x], [addon.allocate(device, 4)]);
          addon.release(device, addon.allocate(device, 4));
          expect(await codeOf(wait)).to.equal('DEVICE');
          expect(await codeOf(wait)).to.equal('none');
        }
      }));

    it('skip the runs that follow until they are taken, but not writes', () =>
      withFake(async (device) => {
        const x = upload(device, [1]);
        const y = upload(device, [5]);
        addon.run(device, failing(device), [x], [addon.allocate(device, 4)]);
        addon.run(device, triple(device), [y], [y]);
        addon.write(device, x, new Uint8Array(Float32Array.of(8).buffer));
        expect(await codeOf(() => addon.sync(device))).to.equal('DEVICE');
        expect(download(device, y, 1), 'updated in place: keeps what it had').to.deep.equal([5]);
        expect(download(device, x, 1)).to.deep.equal([8]);
        addon.run(device, triple(device), [y], [y]);
        expect(download(device, y, 1)).to.deep.equal([15]);
      }));

    it('stay with the buffers that should have been filled: nothing is ever read that is not a result', () =>
      withFake(async (device) => {
        const x = upload(device, [1]);
        const [failed, skipped, later] = [0, 0, 0].map(() => addon.allocate(device, 4)) as [
          number,
          number,
          number,
        ];
        addon.run(device, failing(device), [x], [failed]);
        addon.run(device, triple(device), [x], [skipped]);
        const reads = [failed, skipped, failed].map((buffer) => codeOf(() => addon.read(device, buffer, 4)));
        expect(await Promise.all(reads)).to.deep.equal(['DEVICE', 'DEVICE', 'DEVICE']);
        addon.run(device, triple(device), [skipped], [later]);
        expect(await codeOf(() => addon.sync(device))).to.equal('DEVICE');
        expect(await codeOf(() => addon.read(device, later, 4))).to.equal('DEVICE');
        addon.run(device, triple(device), [x], [skipped]);
        expect(download(device, skipped, 1), 'a later run makes it good').to.deep.equal([3]);
        addon.write(device, failed, new Uint8Array(4));
        expect(download(device, failed, 1), 'so does a write').to.deep.equal([0]);
      }));

    it('in the middle of a program spare the outputs made before', () =>
      withFake(async (device) => {
        const program = addon.prepare(
          device,
          payload({
            values: [{ shape: [1] }, { shape: [1] }, { shape: [1] }, { shape: [1] }],
            inputs: [0],
            outputs: [1, 2, 3],
            instructions: [
              { op: 'scale', inputs: [0], outputs: [1], attributes: [2] },
              { op: 'relu', inputs: [0], outputs: [2] },
              { op: 'scale', inputs: [0], outputs: [3], attributes: [4] },
            ],
          }),
        );
        const x = upload(device, [1]);
        const outputs = [0, 0, 0].map(() => addon.allocate(device, 4));
        addon.run(device, program, [x], outputs);
        expect(await codeOf(() => addon.sync(device))).to.equal('DEVICE');
        const read = outputs.map((buffer) => codeOf(() => addon.read(device, buffer, 4)));
        expect(await Promise.all(read)).to.deep.equal(['none', 'DEVICE', 'DEVICE']);
      }));

    it('of preparing a kernel come with the first run that needs it, and again with the next', () =>
      withFake(async (device) => {
        const program = addon.prepare(device, single('sigmoid', 1, 1));
        const x = upload(device, [1]);
        for (let i = 0; i < 2; i += 1) {
          addon.run(device, program, [x], [addon.allocate(device, 4)]);
          expect(await codeOf(() => addon.sync(device))).to.equal('UNSUPPORTED');
        }
      }));

    it('for want of support come at once', () =>
      withFake(async (device) => {
        expect(() => addon.prepare(device, single('softmax', 1, 4))).to.throw(
          'softmax on fake: the fake backend knows few ops',
        );
        expect(await codeOf(() => addon.prepare(device, single('softmax', 1, 4)))).to.equal('UNSUPPORTED');
        expect(addon.supports(device, single('softmax', 1, 4))).to.contain('few ops');
        expect(addon.supports(device, single('scale', 1, 4, [1]))).to.equal(null);
      }));
  });

  it('prepares equal nodes once, for all programs', () =>
    withFake((device) => {
      const kernels = () => JSON.parse(addon.describe(device)).kernels as number;
      const x = upload(device, [1]);
      const programs = Array.from({ length: 10 }, (_, i) =>
        addon.prepare(device, single('scale', 1, 1, [i % 2])),
      );
      expect(kernels(), 'nothing is prepared before it runs').to.equal(0);
      for (const program of programs) addon.run(device, program, [x], [x]);
      addon.syncBlocking(device);
      expect(kernels()).to.equal(2);
      for (const program of programs) addon.forget(device, program);
    }));

  it('keeps at most 4096 kernels that no program uses', () =>
    withFake((device) => {
      const x = upload(device, [1]);
      for (let i = 0; i < 5000; i += 1) {
        const program = addon.prepare(device, single('scale', 1, 1, [i]));
        addon.run(device, program, [x], [x]);
        addon.forget(device, program);
      }
      addon.syncBlocking(device);
      expect(JSON.parse(addon.describe(device)).kernels).to.equal(4096);
    }));

  it('leaves the event loop free while it works', () =>
    withFake(async (device) => {
      const slow = addon.prepare(device, single('square', 1, 1, [100]));
      const x = upload(device, [1]);
      for (let i = 0; i < 5; i += 1) addon.run(device, slow, [x], [x]);
      const delay = monitorEventLoopDelay({ resolution: 5 });
      delay.enable();
      let ticks = 0;
      const timer = setInterval(() => {
        ticks += 1;
      }, 5);
      await addon.sync(device);
      clearInterval(timer);
      delay.disable();
      expect(ticks).to.be.above(20);
      expect(delay.percentile(99) / 1e6).to.be.below(50);
    }));

  it('holds a loop that queues far ahead instead of queueing without bound', () =>
    withFake((device) => {
      const slow = addon.prepare(device, single('square', 1, 1, [200]));
      const x = upload(device, [1]);
      addon.run(device, slow, [x], [x]);
      const started = performance.now();
      const chunk = new Uint8Array(64 << 20);
      const y = addon.allocate(device, chunk.length);
      // 256 MiB of bytes may wait; the fifth write has to.
      for (let i = 0; i < 5; i += 1) addon.write(device, y, chunk);
      expect(performance.now() - started).to.be.above(150);
    }));

  it('holds a loop that queues more runs than may wait, and loses none', () =>
    withFake((device) => {
      const slow = addon.prepare(device, single('square', 1, 1, [50]));
      const add = addon.prepare(device, single('add', 2, 1));
      const [x, y, one] = [upload(device, [1]), upload(device, [0]), upload(device, [1])];
      addon.run(device, slow, [x], [x]);
      const started = performance.now();
      for (let i = 0; i < 10_000; i += 1) addon.run(device, add, [y, one], [y]);
      expect(performance.now() - started).to.be.above(40);
      expect(download(device, y, 1)).to.deep.equal([10_000]);
    }));

  it('takes no processor time while nothing is queued', () =>
    withFake(async (device) => {
      const x = upload(device, [1]);
      addon.syncBlocking(device);
      await pause(20); // the thread looks out for more work, and falls asleep
      const before = processorTime('dw-fake');
      expect(before).to.be.above(0);
      await pause(200);
      expect(processorTime('dw-fake') - before).to.equal(0);
      expect(download(device, x, 1)).to.deep.equal([1]);
    }));
});

/** Nanoseconds on a processor of this process' threads of that name, as far as the kernel has counted them. */
function processorTime(name: string): number {
  let sum = 0;
  for (const thread of readdirSync('/proc/self/task')) {
    const folder = `/proc/self/task/${thread}`;
    if (readFileSync(`${folder}/comm`, 'utf8').trim() !== name) continue;
    sum += Number(readFileSync(`${folder}/schedstat`, 'utf8').split(' ')[0]);
  }
  return sum;
}
