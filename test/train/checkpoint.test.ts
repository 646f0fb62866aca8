// Checkpoints: whole or not there, damage found, the one before it used.

import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { CheckpointError } from '../../lib/core/errors.ts';
import { uniform } from '../../lib/core/philox.ts';
import {
  checkpointFolder,
  newestCheckpoint,
  openCheckpoint,
  type RunState,
  tidyCheckpoints,
  writeCheckpoint,
} from '../../lib/train/checkpoint.ts';

/** Bits flipped and files cut. The figure of docs/reliability.md is 1,000: CORRUPTIONS=1000. */
const corruptions = Number(process.env.CORRUPTIONS ?? 150);

const stateAt = (step: number): RunState => ({
  step,
  epoch: 1,
  batch: 2,
  samples: step * 8,
  sums: { loss: 1.25, correct: 3, images: 16 },
  metricsBytes: 100,
  config: { seed: 7, optimizer: { name: 'sgd', momentum: 0.9 } },
});

/** A file writer that writes numbered bytes. */
const bytes =
  (length: number, first: number) =>
  (file: string): Promise<void> =>
    writeFile(
      file,
      Uint8Array.from({ length }, (_, i) => first + i),
    );

const contents = (step: number) =>
  new Map([
    ['model.safetensors', bytes(300, step)],
    ['optimizer.safetensors', bytes(200, step + 1)],
  ]);

async function failure(promise: Promise<unknown>): Promise<CheckpointError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(CheckpointError);
  return error as CheckpointError;
}

describe('checkpoints', () => {
  let run: string;

  beforeEach(async () => {
    run = await mkdtemp(join(tmpdir(), 'depthwise-checkpoint-'));
  });
  afterEach(async () => {
    await rm(run, { recursive: true, force: true });
  });

  it('gives back what was written', async () => {
    const folder = await writeCheckpoint(run, contents(5), stateAt(5), 3);
    expect(folder).to.equal(join(run, 'checkpoints', 'step-00000005'));
    const { checkpoint, damaged } = await newestCheckpoint(run);
    expect(checkpoint?.state).to.deep.equal(stateAt(5));
    expect(checkpoint?.files).to.have.members(['model.safetensors', 'optimizer.safetensors']);
    expect(damaged).to.deep.equal([]);
    expect(await readdir(join(run, 'checkpoints'))).to.deep.equal(['step-00000005']);
  });

  it('keeps the newest', async () => {
    for (const step of [5, 10, 15, 20]) await writeCheckpoint(run, contents(step), stateAt(step), 2);
    expect(await readdir(join(run, 'checkpoints'))).to.deep.equal(['step-00000015', 'step-00000020']);
  });

  it('has none in a folder without checkpoints', async () => {
    expect(await newestCheckpoint(run)).to.deep.equal({ checkpoint: undefined, damaged: [] });
    expect(await newestCheckpoint(join(run, 'missing'))).to.deep.equal({
      checkpoint: undefined,
      damaged: [],
    });
  });

  it(`finds a flipped bit and a cut in any file, ${corruptions} times, and uses the checkpoint before`, async () => {
    await writeCheckpoint(run, contents(5), stateAt(5), 3);
    const folder = await writeCheckpoint(run, contents(10), stateAt(10), 3);
    for (let trial = 0; trial < corruptions; trial++) {
      const names = ['model.safetensors', 'optimizer.safetensors', 'state.json'];
      const file = join(folder, names[trial % 3]!);
      const whole = await readFile(file);
      const at = Math.floor(uniform(1, trial, 0) * whole.length);
      if (trial % 2 === 0) {
        const flipped = Uint8Array.from(whole);
        flipped[at]! ^= 1 << (trial % 8);
        await writeFile(file, flipped);
      } else {
        await writeFile(file, whole.subarray(0, at));
      }
      const { checkpoint, damaged } = await newestCheckpoint(run);
      expect(checkpoint?.state).to.deep.equal(stateAt(5), `trial ${trial}, byte ${at} of ${file}`);
      expect(damaged[0]?.folder).to.equal(folder);
      expect(damaged[0]?.reason).to.include(folder);
      await writeFile(file, whole);
    }
    expect((await openCheckpoint(folder)).state.step).to.equal(10);
  });

  it('finds a file that is missing', async () => {
    const folder = await writeCheckpoint(run, contents(5), stateAt(5), 3);
    await rm(join(folder, 'optimizer.safetensors'));
    expect((await failure(openCheckpoint(folder))).message).to.include('optimizer.safetensors is missing');
  });

  it('puts damaged ones aside and removes what a killed process left', async () => {
    await writeCheckpoint(run, contents(5), stateAt(5), 3);
    const folder = await writeCheckpoint(run, contents(10), stateAt(10), 3);
    await writeFile(join(folder, 'state.json'), 'x');
    await mkdir(join(run, 'checkpoints', '.step-12.4711.tmp'));
    await copyFile(join(folder, 'model.safetensors'), join(run, 'checkpoints', '.step-12.4711.tmp', 'a'));
    await tidyCheckpoints(run, (await newestCheckpoint(run)).damaged);
    expect(await readdir(join(run, 'checkpoints'))).to.have.members([
      'step-00000005',
      'step-00000010.damaged',
    ]);
    expect((await newestCheckpoint(run)).checkpoint?.state.step).to.equal(5);
  });

  it('leaves the checkpoint before intact when the disk is full', async () => {
    await writeCheckpoint(run, contents(5), stateAt(5), 1);
    const full = new Map([
      ['model.safetensors', bytes(300, 0)],
      [
        'optimizer.safetensors',
        (file: string) => writeFile(file, 'x').then(() => writeFile('/dev/full', 'x')),
      ],
    ]);
    const error = await failure(writeCheckpoint(run, full, stateAt(10), 1));
    expect(error.code).to.equal('DISK_FULL');
    expect(error.message).to.equal(
      `${checkpointFolder(run, 10)}: cannot be written: no space left on the disk; what was there before is unchanged`,
    );
    expect(await readdir(join(run, 'checkpoints'))).to.deep.equal(['step-00000005']);
    expect((await newestCheckpoint(run)).checkpoint?.state.step).to.equal(5);
  });

  it('says when the folder is a file', async () => {
    const file = join(run, 'file');
    await writeFile(file, '');
    const error = await failure(writeCheckpoint(file, contents(5), stateAt(5), 1));
    expect(error.message).to.include('a part of its path is a file');
    expect((await stat(file)).size).to.equal(0);
  });

  it('refuses a format of the future', async () => {
    const folder = await writeCheckpoint(run, contents(5), stateAt(5), 3);
    const file = join(folder, 'state.json');
    const { createHash } = await import('node:crypto');
    const { checksum: _, ...state } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    const later = { ...state, format: 2 };
    const checksum = createHash('sha256').update(JSON.stringify(later)).digest('hex');
    await writeFile(file, JSON.stringify({ ...later, checksum }));
    const error = await failure(openCheckpoint(folder));
    expect(error.code).to.equal('CHECKPOINT_VERSION');
    expect(await failure(newestCheckpoint(run))).to.have.property('code', 'CHECKPOINT_VERSION');
  });
});
