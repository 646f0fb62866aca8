// Disks that are full, fail or cannot be written: no checkpoint that is there is lost, what is wrong is said in a line, and the
// training goes on as long as it has something to do.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { newestCheckpoint } from '../../lib/train/checkpoint.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { skip } from '../support/skip.ts';
import { brightDataset, tinyClassifier } from './tiny.ts';

const reasons = {
  ENOSPC: 'no space left on the disk',
  EIO: 'the disk reported an error (EIO)',
  EROFS: 'the disk is read-only',
} as const;

const stepsIn = (text: string): number[] =>
  text.split('\n').flatMap((line) => (/^\d+$/.test(line) ? [Number(line)] : []));

describe('a training on a disk that fails', function () {
  this.timeout(120_000);
  let root: string;
  let library: string | undefined;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'depthwise-disk-'));
    const source = join(import.meta.dirname, '../fakes/failingDisk.c');
    const built = join(root, 'failingDisk.so');
    try {
      execFileSync('cc', ['-shared', '-fPIC', '-o', built, source, '-ldl'], { stdio: 'pipe' });
      library = built;
    } catch {
      library = undefined;
    }
  });
  after(async () => {
    await rm(root, { recursive: true, force: true });
  });

  async function run(
    out: string,
    steps: number,
    fault: keyof typeof reasons,
    how: string,
  ): Promise<[number, string]> {
    const mark = `${out}-fails`;
    const script = join(import.meta.dirname, 'diskRun.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script, out, String(steps), mark, how], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, LD_PRELOAD: library, FAIL_PATH: out, FAIL_WITH: fault, FAIL_WHILE: mark },
    });
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk;
    });
    const [code] = (await once(child, 'close')) as [number];
    return [code, text];
  }

  for (const fault of ['ENOSPC', 'EIO', 'EROFS'] as const) {
    it(`goes on while it fails, and writes when it works again: ${fault}`, async function () {
      if (library === undefined) skip(this, 'there is no C compiler');
      const out = join(root, fault);
      const [code, text] = await run(out, 31, fault, 'while');
      expect(code, text).to.equal(0);
      expect(stepsIn(text)).to.deep.equal(Array.from({ length: 31 }, (_, i) => i + 1));
      const said = text.split('\n').filter((line) => line.includes('cannot be written'));
      expect(said.length).to.be.within(2, 3);
      for (const line of said) {
        expect(line).to.include(reasons[fault]);
        expect(line).to.match(/; the training goes on, and the next checkpoint is tried$/);
      }
      const { checkpoint, damaged } = await newestCheckpoint(out);
      expect([checkpoint?.state.step, damaged]).to.deep.equal([31, []]);
      const names = await readdir(join(out, 'checkpoints'));
      expect(names.sort()).to.deep.equal(['step-00000030', 'step-00000031']);
      // Lines that could not be written came later, each once.
      const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trim().split('\n');
      const steps = lines.map((line) => (JSON.parse(line) as { step?: number }).step).filter(Boolean);
      expect(steps).to.deep.equal(Array.from({ length: 31 }, (_, i) => i + 1));
    });
  }

  it('ends with an error where it fails to the end, after attempts, with the checkpoint before it', async function () {
    if (library === undefined) skip(this, 'there is no C compiler');
    const out = join(root, 'stays');
    const [code, text] = await run(out, 18, 'ENOSPC', 'stays');
    expect(code).to.equal(1);
    expect(text.match(/; trying again$/gm)).to.have.length(3);
    expect(text.trim().split('\n').at(-1)).to.match(/^CheckpointError: .*: no space left on the disk; /);
    const { checkpoint, damaged } = await newestCheckpoint(out);
    // That of step 10 may have been on its way when the disk began to fail.
    const newest = checkpoint?.state.step as number;
    expect(newest).to.be.oneOf([5, 10]);
    expect(damaged).to.deep.equal([]);
    const kept = newest === 10 ? ['step-00000005', 'step-00000010'] : ['step-00000005'];
    expect(await readdir(join(out, 'checkpoints'))).to.deep.equal(kept);
  });

  it('keeps what it has on a disk that is really full', async function () {
    const mount = join(root, 'full');
    try {
      execFileSync('mkdir', [mount]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', mount], { stdio: 'pipe' });
    } catch {
      skip(this, 'nothing can be mounted here');
    }
    try {
      const out = join(mount, 'run');
      const notices: string[] = [];
      using model = tinyClassifier();
      using trainer = new Trainer(model, { device: 'reference', batchSize: 8, logEvery: 1 });
      await trainer.fit(brightDataset(80), {
        ...{ steps: 21, out, checkpointEvery: 5, keep: 2 },
        onNotice: (message) => notices.push(message),
        onStep: async ({ step }) => {
          if (step === 11)
            await writeFile(join(mount, 'filler'), new Uint8Array(600_000)).catch(() => undefined);
          if (step === 17) await rm(join(mount, 'filler'));
        },
      });
      expect(notices.join('\n')).to.include('no space left on the disk');
      const { checkpoint, damaged } = await newestCheckpoint(out);
      expect([checkpoint?.state.step, damaged]).to.deep.equal([21, []]);
      expect((await readdir(join(out, 'checkpoints'))).filter((name) => name.startsWith('.'))).to.deep.equal(
        [],
      );
    } finally {
      execFileSync('umount', [mount]);
    }
  });
});
