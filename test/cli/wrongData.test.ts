// The command line on data that are wrong in ways that must be found before anything is computed or written.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { type NpyArray, writeNpy } from '../../lib/interop/npy.ts';
import { runCommand } from './runCommand.ts';

describe('wrong data', function () {
  this.timeout(120_000);
  let folder: string;
  const at = (...names: string[]): string => join(folder, ...names);
  const images = 4;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'depthwise-wrong-'));
    const data = new Float32Array(images * 71 * 71 * 3);
    await writeNpy(at('x.npy'), { dtype: 'f32', shape: [images, 71, 71, 3], data });
    await writeFile(at('file'), 'no folder');
    for (const name of ['a', 'b']) {
      await mkdir(at('two', name), { recursive: true });
      const background = { r: 10, g: 20, b: 30 };
      const image = sharp({ create: { width: 80, height: 80, channels: 3, background } });
      await image.jpeg().toFile(at('two', name, '0.jpg'));
    }
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** Runs a command that must fail with one line, and leave no run. */
  const fails = async (says: RegExp, ...args: string[]) => {
    const { code, stdout, stderr } = await runCommand(...args);
    expect(stderr).to.match(says);
    expect(stderr.trimEnd().split('\n')).to.have.length(1);
    expect(stdout).to.equal('');
    expect(code).to.equal(1);
    expect(existsSync(at('run'))).to.equal(false);
  };
  const out = () => ['--steps', '1', '--batch', '2', '--out', at('run')];
  const onLabels = async (labels: NpyArray, says: RegExp, ...flags: string[]) => {
    await writeNpy(at('y.npy'), labels);
    await fails(says, 'train', '--arrays', at('x.npy'), at('y.npy'), ...out(), ...flags);
  };

  it('a file where a folder is expected', async () => {
    await fails(/file: is a file; expected a folder/, 'train', at('file'), ...out());
  });

  it('labels that int32 cannot hold do not become another class', () =>
    onLabels(
      { dtype: 'i64', shape: [images], data: BigInt64Array.of(0n, 2n ** 33n, 1n, 0n) },
      /y\.npy: label 1 is 8589934592, which is no class/,
    ));

  it('a negative label, with the file', () =>
    onLabels(
      { dtype: 'i32', shape: [images], data: Int32Array.of(0, -1, 1, 0) },
      /y\.npy: labels: label 1 is -1; expected 0 to 1 for 2 classes/,
    ));

  it('labels of one class', () =>
    onLabels(
      { dtype: 'i32', shape: [images], data: new Int32Array(images) },
      /y\.npy: only one class, 0; expected at least two/,
    ));

  it('many labels per image with the softmax loss', () =>
    onLabels(
      { dtype: 'u8', shape: [images, 3], data: new Uint8Array(images * 3) },
      /y\.npy: many labels per image; expected --loss sigmoid/,
    ));

  it('validation data of another number of classes', () =>
    onLabels(
      { dtype: 'i32', shape: [images], data: Int32Array.of(0, 1, 2, 0) },
      /validation data: the model has 3 classes, the data 2/,
      ...['--validation', at('two')],
    ));

  it('a folder for the run that cannot be made', async function () {
    if (!existsSync('/proc/self')) this.skip();
    const args = ['train', at('two'), '--size', '71', '--steps', '1', '--batch', '2'];
    await fails(
      /\/proc\/x: cannot be written: its file system lets nobody make/,
      ...args,
      '--out',
      '/proc/x',
    );
  });

  it('--resume where no run is, and in a folder that is none', async () => {
    await fails(/missing: no run to resume there/, 'train', '--resume', '--out', at('missing'));
    const args = ['train', at('two'), '--size', '71', '--steps', '1', '--batch', '2', '--resume'];
    await fails(/two: no run to resume there/, ...args, '--out', at('two'));
    expect(existsSync(at('two', 'config.json'))).to.equal(false);
  });
});
