// Worker threads and the end of a process: nothing crashes, hangs or is lost.

import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { addonPath, fakePath, runProcess } from './support.ts';

/** A `scale` by 3, a `square` of so many milliseconds and a buffer, for scripts in JavaScript. */
const prelude = `
  const codes = addon.opTable();
  const device = addon.openDevice(fakePath, {});
  const single = (op, attribute) => addon.prepare(device, Float64Array.of(
    2, 2, 1, 1, 1, 0, 0, 0, 1, 1, -1, 0, 1, 1, -1, 0, 1, codes[op], 1, 1, 1, 0, 1, attribute));
  const x = addon.allocate(device, 4);
  addon.write(device, x, new Uint8Array(Float32Array.of(1).buffer));
`;

function worker(code: string): Worker {
  const head = `const addon = require(${JSON.stringify(addonPath)});
    const fakePath = ${JSON.stringify(fakePath)};
    const { parentPort } = require('node:worker_threads');`;
  return new Worker(`${head}${prelude}${code}`, { eval: true, execArgv: [] });
}

const exitOf = (w: Worker): Promise<number> =>
  new Promise((resolve, reject) => {
    w.once('exit', resolve);
    w.once('error', reject);
  });

const messageOf = (w: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => {
    w.once('message', resolve);
    w.once('error', reject);
  });

describe('native threads', () => {
  it('serves two workers at once, each with devices of its own', async () => {
    const code = `
      const triple = single('scale', 3), root = single('scale', 1 / 3), nap = single('square', 1);
      (async () => {
        for (let i = 0; i < 200; i += 1) {
          addon.run(device, triple, [x], [x]);
          addon.run(device, root, [x], [x]);
          if (i % 10 === 0) { addon.run(device, nap, [x], [x]); await addon.sync(device); }
        }
        const value = new Float32Array((await addon.read(device, x, 4)).buffer)[0];
        addon.closeDevice(device);
        parentPort.postMessage(value);
      })();`;
    const workers = [worker(code), worker(code)];
    const values = (await Promise.all(workers.map(messageOf))) as number[];
    for (const value of values) expect(value).to.be.closeTo(1, 1e-3);
    await Promise.all(workers.map((w) => w.terminate()));
  });

  it('ends with its worker in the middle of a run, with work queued and promises pending', async () => {
    const code = `
      const slow = single('square', 200);
      for (let i = 0; i < 50; i += 1) addon.run(device, slow, [x], [x]);
      for (let i = 0; i < 5; i += 1) addon.read(device, x, 4);
      addon.sync(device);
      parentPort.postMessage('busy');`;
    for (let i = 0; i < 5; i += 1) {
      const w = worker(code);
      await messageOf(w);
      const started = performance.now();
      await w.terminate();
      expect(performance.now() - started, 'only the launch in progress is waited for').to.be.below(3000);
    }
  });

  it('ends with its worker right after a promise was settled', async () => {
    for (let i = 0; i < 10; i += 1) {
      const w = worker(`addon.sync(device); addon.read(device, x, 4); parentPort.postMessage('go');`);
      await messageOf(w);
      await w.terminate();
    }
  });

  it('ends with its worker in the middle of calls, of failing ones too', async () => {
    const code = `
      const triple = single('scale', 3);
      parentPort.postMessage('go');
      for (;;) {
        addon.run(device, triple, [x], [x]);
        addon.read(device, x, 4);
        try { addon.readSync(device, x + 1, 4); } catch {}
        addon.forget(device, single('scale', 2));
        addon.release(device, addon.allocate(device, 100));
        addon.describe(device);
      }`;
    for (let i = 0; i < 20; i += 1) {
      const w = worker(code);
      await messageOf(w);
      await new Promise((resolve) => setTimeout(resolve, i % 7));
      await w.terminate();
    }
  });

  it('starts and ends 200 workers without growing', async function () {
    this.timeout(180000);
    const round = () => exitOf(worker(`addon.run(device, single('scale', 2), [x], [x]);`));
    const resident = async (workers: number): Promise<number> => {
      for (let i = 0; i < workers; i += 2) await Promise.all([round(), round()]);
      return process.memoryUsage.rss();
    };
    const before = await resident(60);
    const after = await resident(140);
    expect((after - before) / (1 << 20), 'MiB').to.be.below(60);
  });

  it('keeps a process alive while a promise is pending', async () => {
    const { status, output } = await runProcess(`${prelude}
      addon.run(device, single('square', 300), [x], [x]);
      addon.read(device, x, 4).then((bytes) => console.log('read', new Float32Array(bytes.buffer)[0]));`);
    expect({ status, output }).to.deep.equal({ status: 0, output: 'read 1\n' });
  });

  it('lets an idle process end, with devices open and work queued', async () => {
    const idle = await runProcess(prelude);
    expect(idle).to.include({ status: 0, output: '' });
    const busy = await runProcess(`${prelude}
      const slow = single('square', 100);
      for (let i = 0; i < 1000; i += 1) addon.run(device, slow, [x], [x]);`);
    expect(busy).to.include({ status: 0, output: '' });
    expect(busy.seconds).to.be.below(10);
  });

  it('lets process.exit end at once, with promises pending', async () => {
    const { status, output, seconds } = await runProcess(`${prelude}
      const slow = single('square', 100);
      for (let i = 0; i < 1000; i += 1) addon.run(device, slow, [x], [x]);
      addon.read(device, x, 4).then(() => console.log('never'), () => console.log('never'));
      setTimeout(() => process.exit(7), 20);`);
    expect({ status, output }).to.deep.equal({ status: 7, output: '' });
    expect(seconds).to.be.below(10);
  });

  it('survives an exception thrown while work is pending', async () => {
    const { status, output } = await runProcess(`${prelude}
      addon.run(device, single('square', 100), [x], [x]);
      addon.sync(device);
      throw new Error('on purpose');`);
    expect(status).to.equal(1);
    expect(output).to.contain('on purpose');
  });
});
