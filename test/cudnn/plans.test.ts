// What cuDNN plans for the networks' graphs on described GPUs, through the code that plans on a real one: every unfused graph
// has a plan; fused ones have those that were recorded. `npm run plan:all` plans the rest, and records.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { cudnnLibrary, type DescribedDevice, describedDevices, plans } from '../../lib/cudnn/index.ts';
import { DeviceError, UnsupportedError } from '../../lib/index.ts';
import { reasonAgainstPlans } from '../support/cudnn.ts';
import {
  allCases,
  batches,
  dtypes,
  isConvolution,
  isFused,
  isRepresentative,
  planCase,
  type SweepCase,
  type SweepRow,
} from '../support/cudnnSweep.ts';
import {
  type FusedCounts,
  type FusedOutcomes,
  fusedCounts,
  outcomeOf,
  titleOf,
} from '../support/cudnnTable.ts';
import { skip } from '../support/skip.ts';

const devices = Object.keys(describedDevices) as DescribedDevice[];

/** What scripts/plan-all.ts has recorded. */
interface Recorded {
  readonly cudnn: string;
  readonly fused: FusedOutcomes;
  readonly counts: FusedCounts;
}
const recorded = JSON.parse(
  readFileSync(new URL('../fixtures/cudnnFusions.json', import.meta.url), 'utf8'),
) as Recorded;

/** Skips the test where cuDNN is another than the one that was recorded. */
function needRecordedVersion(test: Mocha.Context): void {
  const { version } = cudnnLibrary();
  if (version !== recorded.cudnn) skip(test, `recorded with cuDNN ${recorded.cudnn}, here is ${version}`);
}

async function planAll(
  cases: readonly SweepCase[],
  device: DescribedDevice,
  build: (candidate: SweepCase) => boolean,
): Promise<SweepRow[]> {
  const rows: SweepRow[] = [];
  for (const candidate of cases) rows.push(await planCase(candidate, device, build(candidate)));
  return rows;
}

const show = (row: SweepRow): string =>
  `${row.device} ${row.dtype} ${row.family} ${titleOf(row)}: ${row.reason}`;

describe('cudnn: plans without a GPU', function () {
  this.timeout(300_000);

  before(function () {
    const reason = reasonAgainstPlans();
    if (reason !== undefined) skip(this, reason);
  });

  /** sm_75 has no bf16. */
  const typesOf = (device: DescribedDevice) => dtypes.filter((dtype) => device !== 't4' || dtype !== 'bf16');
  /** Depthwise engines are compiled: one layer stands for all. */
  const builds = ({ batch, depthwise, layer }: SweepCase) =>
    batch > 1 && (!depthwise || layer === 'depthwise 3x3 728 @19');

  for (const device of devices) {
    it(`has a plan for every unfused convolution of both networks on ${device}`, async () => {
      const types = typesOf(device);
      const cases = batches.flatMap((batch) =>
        types.flatMap((dtype) => allCases(dtype, batch).filter((c) => isConvolution(c) && !isFused(c))),
      );
      const rows = await planAll(cases, device, builds);
      expect(rows.filter(({ reason }) => reason !== undefined).map(show)).to.deep.equal([]);
      expect(rows).to.have.lengthOf(2 * 213 * types.length);
    });

    it(`has an engine for normalization and pooling on ${device}`, async () => {
      const cases = typesOf(device).flatMap((dtype) => allCases(dtype).filter((c) => !isConvolution(c)));
      const rows = await planAll(cases, device, () => false);
      const without = rows.filter(({ reason }) => reason !== undefined);
      // sm_75 normalizes in inference only.
      const expected = device === 't4' ? rows.filter(({ family }) => /training|n backward/.test(family)) : [];
      expect(without.map(show)).to.deep.equal(expected.map(show));
      expect(rows).to.have.lengthOf(210 * typesOf(device).length);
    });
  }

  it('has no depthwise convolution in bf16 on sm_75, and says so', async () => {
    const cases = allCases('bf16').filter((c) => c.depthwise && !isFused(c) && c.family !== 'weightGrad');
    const rows = await planAll(cases, 't4', () => false);
    expect(new Set(rows.map(({ reason }) => reason))).to.deep.equal(new Set(['no engine for this graph']));
  });

  it('has a plan for normalization and pooling', async () => {
    const cases = allCases('bf16').filter((c) => !isConvolution(c) && isRepresentative(c));
    const rows = await planAll(cases, 'h200', () => true);
    expect(rows.filter(({ reason }) => reason !== undefined).map(show)).to.deep.equal([]);
  });

  const fusedCases = dtypes.flatMap((dtype) => allCases(dtype).filter(isFused));
  const listings = new Map<DescribedDevice, Promise<SweepRow[]>>();
  /** Begun when it is first asked for: every device is planned for by a process of its own. */
  const listed = (device: DescribedDevice): Promise<SweepRow[]> => {
    const rows = listings.get(device) ?? planAll(fusedCases, device, () => false);
    listings.set(device, rows);
    return rows;
  };

  // Devices of one generation have the same engines, which `plan:all` records and this holds: one of each is asked here.
  const twins = { rtx4090: 'a100', h100: 'h200' } as const;
  it('has recorded the same engines for devices of one generation', () => {
    const of = (device: DescribedDevice) =>
      Object.values(recorded.counts).map((byDevice) => byDevice[device]);
    for (const [device, twin] of Object.entries(twins)) {
      expect(of(device as DescribedDevice), device).to.deep.equal(of(twin));
    }
  });

  const asked = devices.filter((device) => !(device in twins));
  for (const [at, device] of asked.entries()) {
    it(`lists engines of every fused graph on ${device}, for as many as were recorded`, async function () {
      needRecordedVersion(this);
      // Two at a time. Where the next one fails, its own test says so.
      const next = asked[at + 1];
      if (next !== undefined) listed(next).catch(() => undefined);
      const counts = fusedCounts(await listed(device));
      const expected = Object.entries(recorded.counts).map(([family, byDevice]) => [
        family,
        { [device]: byDevice[device] },
      ]);
      expect(counts).to.deep.equal(Object.fromEntries(expected));
      expect(fusedCases).to.have.lengthOf(620 * dtypes.length);
    });
  }

  for (const device of devices) {
    it(`builds a plan of each family that fuses on ${device}`, async function () {
      needRecordedVersion(this);
      const expectedOf = (graph: SweepCase | SweepRow) =>
        recorded.fused[graph.family]?.[titleOf(graph)]?.[device]?.[graph.dtype];
      const cases = dtypes.flatMap((dtype) =>
        batches.flatMap((batch) =>
          allCases(dtype, batch).filter((candidate) => isFused(candidate) && isRepresentative(candidate)),
        ),
      );
      // Seconds of compilation each: one layer stands for all.
      const rows = await planAll(
        cases,
        device,
        (candidate) =>
          candidate.layer === 'conv 1x1 728-728 @19' &&
          candidate.batch > 1 &&
          expectedOf(candidate) === 'built',
      );
      const wrong = rows.filter((row) => {
        const [got, expected] = [outcomeOf(row), expectedOf(row)];
        return row.tried ? got !== expected : (got === undefined) !== (expected === undefined);
      });
      expect(wrong.map((row) => `${show(row)}: expected ${expectedOf(row)}`)).to.deep.equal([]);
      const built = rows.filter(({ engine }) => engine !== undefined).length;
      expect(built, 'plans').to.be.at.least(device === 't4' ? 6 : 18);
    });
  }

  it('compares the plans of one depthwise layer, as the example does', async () => {
    const root = resolve(import.meta.dirname, '../..');
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', 'examples/cudnn-plans/plans.ts', 'a100'],
      { cwd: root },
    );
    expect(stdout.match(/^(bf16|f32) \w+: \d+ engines, \d+ may be used on NVIDIA A100/gm)).to.have.length(6);
    expect(stdout.match(/ {2}<$/gm), 'the best of each').to.have.length(6);
  });

  const pointwise = {
    kind: 'convolution',
    direction: 'forward',
    x: [256, 19, 19, 728],
    w: [728, 1, 1, 728],
  } as const;

  it('says why engines are refused: true f32 uses no tensor cores, deterministic plans no atomics', async () => {
    const names = (rows: readonly { notes: readonly string[] }[], note: string) =>
      rows.filter(({ notes }) => notes.includes(note)).length;
    const usable = async (options: object) => {
      const report = await plans({ ...pointwise, ...options }, { description: 'h200', build: 0 });
      return report.plans.filter(({ refused }) => refused === undefined);
    };
    expect(names(await usable({ tf32: true }), 'tensor cores')).to.be.greaterThan(0);
    expect(names(await usable({}), 'tensor cores')).to.equal(0);
    const weightGrad = { direction: 'weightGrad', w: [728, 3, 3, 1], padding: 'same', dtype: 'f32' };
    expect(names(await usable(weightGrad), 'nondeterministic')).to.be.greaterThan(0);
    expect(names(await usable({ ...weightGrad, deterministic: true }), 'nondeterministic')).to.equal(0);
  });

  it('refuses plans that want more workspace than allowed, and takes the next', async () => {
    const problem = {
      ...pointwise,
      direction: 'weightGrad',
      w: [728, 3, 3, 1],
      padding: 'same',
      dtype: 'bf16',
    } as const;
    const free = await plans(problem, { description: 'h200', build: 1 });
    const tight = await plans(problem, { description: 'h200', build: 1, workspaceLimit: 2 ** 20 });
    expect(free.best?.workspace).to.be.greaterThan(2 ** 20);
    expect(tight.best?.workspace).to.be.at.most(2 ** 20);
    expect(tight.plans.map(({ refused }) => refused)).to.include('workspace beyond the limit');
  });

  it('refuses grouped convolutions of 2^31 elements, which cuDNN computes wrongly', async () => {
    const report = await plans(
      {
        kind: 'convolution',
        direction: 'forward',
        x: [1024, 147, 147, 128],
        w: [128, 3, 3, 1],
        padding: 'same',
      },
      { description: 'h200' },
    );
    expect(report.reason).to.match(/2\^31/);
    expect(report.plans).to.deep.equal([]);
  });

  it('hands on what cuDNN says of a description that it cannot read', async () => {
    const { deviceName, deviceVer, multiProcessorCount } = describedDevices.h200;
    const error: unknown = await plans(pointwise, {
      description: { deviceName, deviceVer, multiProcessorCount },
      build: 0,
    }).catch((thrown: unknown) => thrown);
    expect(error).to.satisfy(
      (thrown: unknown) => thrown instanceof DeviceError || thrown instanceof UnsupportedError,
    );
    expect((error as Error).message).to.match(/\w+(Device|Grid|Block|SM|KHz)/);
  });
});
