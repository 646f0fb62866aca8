// What cuDNN plans for every graph of Xception and Inception V3 on the described GPUs: `npm run plan:all`.
//
// Engines are listed for every graph, at the batch of training and at batch 1. Plans are built of every unfused convolution,
// and of graphs whose engines are compiled, which takes seconds each (fused convolutions, normalization, pooling), for
// layers that stand for their family; `--build all` builds everything (hours). Needs no GPU. What is done is kept in
// build/plans, line by line: run again, it goes on where it stopped. At the end the table is printed; --write keeps
// it in bench/results/cudnn-plans, and what fuses where in test/fixtures, which the tests hold cuDNN to.
//
//   npm run plan:all -- [--devices h200,t4] [--batches 256,1] [--build representative|unfused|none|all] [--minutes 30] [--write]

import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { cudnnLibrary, type DescribedDevice, describedDevices } from '../lib/cudnn/index.ts';
import { useFetchedCudnn } from '../test/support/cudnn.ts';
import {
  allCases,
  batches,
  dtypes,
  isConvolution,
  isFused,
  isRepresentative,
  planCase,
  type SweepCase,
} from '../test/support/cudnnSweep.ts';
import {
  fusedCounts,
  fusedOutcomes,
  readRows,
  type SweepRow,
  showTable,
} from '../test/support/cudnnTable.ts';

const { values } = parseArgs({
  options: {
    devices: { type: 'string' },
    batches: { type: 'string' },
    build: { type: 'string', default: 'representative' },
    minutes: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});

const root = resolve(import.meta.dirname, '..');
const known = Object.keys(describedDevices) as DescribedDevice[];
const devices = known.filter((name) => values.devices?.split(',').includes(name) ?? true);

const chosenBatches = batches.filter((batch) => values.batches?.split(',').includes(`${batch}`) ?? true);

const builds = (candidate: SweepCase): boolean => {
  if (values.build === 'none' || values.build === 'all') return values.build === 'all';
  const unfused = isConvolution(candidate) && !isFused(candidate);
  return unfused || (values.build === 'representative' && isRepresentative(candidate));
};

useFetchedCudnn();
const { version, folder } = cudnnLibrary();
const kept = resolve(root, 'build/plans', `cudnn-${version}.jsonl`);
mkdirSync(resolve(kept, '..'), { recursive: true });
const done = new Map<string, SweepRow>();
const keyOf = ({ family, layer, batch, dtype }: SweepCase | SweepRow, device: DescribedDevice): string =>
  [device, dtype, family, layer, batch].join('|');
const note = (row: SweepRow): void => {
  const key = keyOf(row, row.device);
  if (done.get(key)?.tried !== true) done.set(key, row);
};
if (existsSync(kept)) for (const row of readRows(readFileSync(kept, 'utf8'))) note(row);

const started = performance.now();
const limit = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes) * 60_000;
process.stderr.write(`cuDNN ${version} in ${folder}; ${done.size} graphs done before, in ${kept}\n`);
let complete = true;
sweep: for (const batch of chosenBatches) {
  for (const device of devices) {
    for (const dtype of dtypes) {
      for (const candidate of allCases(dtype, batch)) {
        const before = done.get(keyOf(candidate, device));
        const build = builds(candidate);
        if (before !== undefined && (before.tried || !build)) continue;
        if (performance.now() - started > limit) {
          process.stderr.write('out of time: run again to go on\n');
          complete = false;
          break sweep;
        }
        const row = await planCase(candidate, device, build);
        appendFileSync(kept, `${JSON.stringify(row)}\n`);
        note(row);
      }
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      process.stderr.write(`batch ${batch} ${device} ${dtype}: ${seconds} s\n`);
    }
  }
}

const rows = [...done.values()].filter(
  ({ batch, device }) => chosenBatches.includes(batch) && devices.includes(device),
);
const table = showTable(rows, version);
process.stdout.write(table);
if (values.write && !complete) process.stderr.write('not written: it is not complete\n');
if (values.write && complete) {
  const results = resolve(root, 'bench/results/cudnn-plans');
  mkdirSync(results, { recursive: true });
  writeFileSync(resolve(results, 'README.md'), table);
  const counts = fusedCounts(rows.filter(({ batch }) => batch === batches[0]));
  writeFileSync(
    resolve(root, 'test/fixtures/cudnnFusions.json'),
    `${JSON.stringify({ cudnn: version, fused: fusedOutcomes(rows), counts }, null, 1)}
`,
  );
}
