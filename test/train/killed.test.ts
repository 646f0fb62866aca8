// SIGKILL at random moments: every restart finds a whole checkpoint, the newest that was due or the one before it, which was
// while the newest was being written; and the end is as if nothing had happened. KILLS sets how often (default 6).

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { uniform } from '../../lib/core/philox.ts';
import { newestCheckpoint } from '../../lib/train/checkpoint.ts';
import { modes } from '../support/modes.ts';

const kills = Number(process.env.KILLS ?? 6);
const interval = 5;
type Mode = (typeof modes)[number];
const script = join(import.meta.dirname, 'killedRun.ts');

/** A training in a process of its own, and the last step that it printed. */
function start(
  out: string,
  steps: number,
  mode: Mode,
): { child: ChildProcess; last: () => number; errors: () => string } {
  const child = spawn(process.execPath, ['--import', 'tsx', script, out, String(steps), mode], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  let errors = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    printed += chunk;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  return { child, last: () => Number(printed.trim().split('\n').at(-1) ?? 0), errors: () => errors };
}

async function finish(out: string, steps: number, mode: Mode): Promise<void> {
  const { child, errors } = start(out, steps, mode);
  const [code] = (await once(child, 'exit')) as [number | null];
  expect(code, errors()).to.equal(0);
}

describe('a killed training', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'depthwise-killed-'));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  for (const mode of modes) {
    it(`is taken up again after ${kills} kills, ${mode}`, async function () {
      this.timeout(60_000 + kills * 20_000);
      const run = join(folder, mode, 'run');
      let reached = 0;
      const lost: number[] = [];
      for (let kill = 0; kill < kills; kill++) {
        const { child, last, errors } = start(run, 1_000_000, mode);
        while (last() <= reached && child.exitCode === null) await wait(10);
        await wait(uniform(9, kill) * 300);
        expect(child.exitCode, errors()).to.equal(null);
        child.kill('SIGKILL');
        await once(child, 'exit');
        const { checkpoint, damaged } = await newestCheckpoint(run);
        expect(damaged).to.deep.equal([]);
        const newest = checkpoint?.state.step ?? 0;
        const due = Math.floor(last() / interval) * interval;
        expect(newest).to.be.at.least(due - interval);
        lost.push(Math.max(0, last() - newest));
        reached = last();
      }
      console.log(`      steps lost: ${lost.sort((a, b) => a - b).join(' ')}`);
      const steps = (Math.floor(reached / interval) + 2) * interval + 1;
      await finish(run, steps, mode);
      await finish(join(folder, mode, 'whole'), steps, mode);
      const final = `step-${String(steps).padStart(8, '0')}`;
      for (const name of ['model.safetensors', 'average.safetensors', 'optimizer.safetensors']) {
        const [killed, whole] = await Promise.all(
          ['run', 'whole'].map((which) => readFile(join(folder, mode, which, 'checkpoints', final, name))),
        );
        expect(killed?.equals(whole as Buffer), name).to.equal(true);
      }
      expect(await readdir(join(run, 'checkpoints'))).to.have.length(2); // and nothing half written
      const lines = (await readFile(join(run, 'metrics.jsonl'), 'utf8')).trim().split('\n');
      const printed = lines.map((line) => (JSON.parse(line) as { step?: number }).step);
      const expected = Array.from({ length: steps }, (_, i) => i + 1);
      expect(printed.filter((step) => step !== undefined)).to.deep.equal(expected);
    });
  }
});
