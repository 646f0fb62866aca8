// The phases of `npm run bench:gpu`, as far as they can be tried without a GPU: what a report keeps, that tests which fail or
// end their process are counted, and that a device that is not there is said.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { judge, overview } from '../../bench/gpu/goals.ts';
import { HopelessError, Report } from '../../bench/gpu/report.ts';
import { runAll, runTests, type TestJob } from '../../bench/gpu/tests.ts';
import { copySpeed, productSpeed } from '../../bench/gpu/yardsticks.ts';
import { circumstances } from '../../bench/support/machine.ts';
import { openDevice } from '../../lib/backend/devices.ts';

const root = resolve(import.meta.dirname, '../..');
const fine = { summary: 'all is well', markdown: '| a |', data: { figure: 7 } };

describe('bench: gpu', function () {
  this.timeout(120_000);
  let folder: string;
  const report = (minutes = 9) =>
    new Report(folder, 'ops', circumstances('bench:gpu'), minutes, () => undefined);
  const read = (ending: string) => readFileSync(join(folder, `ops.${ending}`), 'utf8');

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-gpu-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('keeps each part as it ends, and goes on after one that fails', async () => {
    const phase = report();
    await phase.part('first', 5, async () => fine);
    expect(JSON.parse(read('json')).parts).to.have.length(1);
    await phase.part('second', 5, async () => {
      throw new Error('out of\nmemory');
    });
    await phase.part('third', 5, async () => ({ ...fine, wrong: true }));
    expect(phase.finish()).to.equal(1);
    const { parts, summary } = JSON.parse(read('json'));
    expect(
      parts.map(({ name, failed, figure }: Record<string, unknown>) => [name, failed, figure]),
    ).to.deep.equal([
      ['first', false, 7],
      ['second', true, undefined],
      ['third', true, 7],
    ]);
    expect(summary).to.equal('ops: 3 parts, 2 failed: second; third');
    expect(read('md')).to.contain('## second\n\nfailed: out of | memory.');
    expect(read('log')).to.contain('out of | memory').and.to.contain(summary);
  });

  it('leaves out what there is no time for', async () => {
    const phase = report(1);
    await phase.part('long', 61, async () => expect.fail('it was run'));
    await phase.part('short', 5, async () => fine);
    expect(phase.finish()).to.equal(0);
    expect(read('md')).to.match(/## long\n\nleft out: it takes about 61 s, (59|60) s are left/);
  });

  it('ends where there is no such device', async () => {
    const phase = report();
    await phase.part('doctor', 5, async () => {
      throw new HopelessError('there is no GPU');
    });
    await phase.part('ops', 5, async () => expect.fail('it was run'));
    expect(phase.finish()).to.equal(3);
    expect(read('log')).to.contain('ops: nothing was run: there is no GPU');
  });

  it('says that a machine has no GPU, and how to mend it', () => {
    const env = { ...process.env, CUDA_VISIBLE_DEVICES: '' };
    const words = ['--import', 'tsx', 'bench/gpu.ts', 'train', '--out', folder];
    const { status, stderr } = spawnSync(process.execPath, words, { cwd: root, env, encoding: 'utf8' });
    expect(status, stderr).to.equal(3);
    expect(stderr).to.match(/train: nothing was run: .*cuda: not used: .*; mend it with/);
  });

  it('counts tests that pass, fail and are skipped, and those that end their process', async () => {
    const said: string[] = [];
    const run = (job: TestJob, seconds: number) =>
      runTests(
        job,
        'cpu',
        seconds,
        (line) => said.push(line),
        () => undefined,
      );
    const file = 'test/bench/gpuFakes';
    const jobs = ['fine', 'wrong', 'deadly', 'endless'].map((grep) => ({
      name: grep,
      file,
      grep: `^${grep} `,
    }));
    const results = await runAll(jobs, 2, () => 6, run);
    const found = new Map(results.map((result) => [result.name, result]));
    const counts = (name: string) => {
      const result = found.get(name);
      return [result?.passed, result?.failed.length, result?.skipped];
    };
    expect(counts('fine')).to.deep.equal([1, 0, 1]);
    expect(found.get('fine')?.broken).to.equal(undefined);
    expect(counts('wrong')).to.deep.equal([0, 1, 0]);
    expect(found.get('wrong')?.failed[0]).to.deep.equal({
      title: 'wrong fails',
      error: 'on purpose, on cpu',
    });
    expect(said).to.deep.equal(['failed on cpu: wrong fails: on purpose, on cpu']);
    expect(found.get('deadly')?.broken).to.match(/^ended with exit code 9/);
    expect(found.get('endless')?.broken).to.match(/^stopped after 6 s/);
    const late = await runAll(jobs, 2, () => 1, run);
    expect(late.map(({ broken }) => broken)).to.deep.equal(Array(4).fill('not started: out of time'));
  });

  it('says which goals were reached, beside the faster PyTorch', () => {
    const who = (name: string, ratio: number, peakBytes: number) => ({
      ...{ name, ratio, peakBytes, description: '', rounds: [], idleShare: 0 },
      imagesPerSecond: { median: 1, min: 1, max: 1 },
    });
    const size = { arch: 'xception', mode: 'train', batch: 256, size: 299 } as const;
    const setting = { ...size, threads: 8, warmup: 3, device: 'cuda', precision: 'bf16' } as const;
    const measured = [
      who('depthwise', 1, 50e9),
      who('torch-eager', 2, 60e9),
      who('torch-compiled', 1.6, 70e9),
    ];
    const goal = { arch: 'xception', mode: 'train', speed: 1.5, memory: 0.7 } as const;
    const verdicts = judge(goal, { setting, measured, leftOut: [] });
    expect(verdicts.map((it) => [it.measured, it.reached])).to.deep.equal([
      ['1.60 times torch-compiled', true],
      ['0.71 times torch-compiled', false],
    ]);
    expect(overview(verdicts).summary).to.equal('1 of 2 goals reached');
    const late = judge(goal, { setting, measured: measured.slice(1), leftOut: [] }, 'out of memory');
    expect(late.map((it) => [it.measured, it.reached])).to.deep.equal([
      ['not measured: out of memory', undefined],
      ['not measured: out of memory', undefined],
    ]);
    const alone = judge(goal, { setting, measured: measured.slice(0, 1), leftOut: [] });
    expect(alone[0]?.measured).to.equal('not measured: no PyTorch here');
  });

  it('measures how fast memory and products are', async () => {
    const backend = openDevice('cpu');
    expect(await copySpeed(backend, 2 ** 20)).to.be.within(0.1, 1e4);
    expect(await productSpeed(backend, 64, 'f32')).to.be.within(1e-4, 1e3);
  });
});
