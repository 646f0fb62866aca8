// `npm run bench:peers`: this project and its peers in turn, in one run on one machine; one table with
// ratios.

import { resolve } from 'node:path';
import { Command } from 'commander';
import { checkSize, integer, listOf } from '../lib/cli/flags.ts';
import { print, say } from '../lib/cli/output.ts';
import { ArgumentError } from '../lib/index.ts';
import { alternate, type Comparison } from './support/alternate.ts';
import { ours, peers, takes } from './support/contenders.ts';
import { integers } from './support/flags.ts';
import { circumstances } from './support/machine.ts';
import { runMain } from './support/main.ts';
import { comparisonMarkdown, comparisonText } from './support/peersReport.ts';
import { type Arch, archs, type BenchPrecision, precisions, type Work, works } from './support/protocol.ts';
import { resultsFolder, writeJson, writeResults } from './support/results.ts';

interface Flags {
  readonly arch: Arch[];
  readonly mode: Work[];
  readonly batch: number[];
  readonly size: number;
  readonly rounds: number;
  readonly steps: number;
  readonly settle: number;
  readonly warmup: number;
  readonly threads: number;
  readonly device: string;
  readonly precision: BenchPrecision[];
  readonly peers: string[];
  readonly out: string;
  readonly name?: string;
  readonly json?: string;
  readonly data?: string;
}

const names = peers.map(({ name }) => name);
const flags = new Command('bench:peers')
  .description(
    'networks here and in other libraries, which take turns; DEPTHWISE_PYTHON names the interpreter that has them',
  )
  .option('--arch <names>', `${archs.join(', ')}; separated by commas`, listOf(archs), ['xception'])
  .option('--mode <modes>', `${works.join(', ')}; separated by commas`, listOf(works), ['train', 'infer'])
  .option('--batch <numbers>', 'images per step, separated by commas', integers(1), [8, 32])
  .option('--size <pixels>', 'edge of the images', integer(1), 299)
  .option('--rounds <n>', 'turns of each', integer(1), 5)
  .option('--steps <n>', 'steps counted in a turn', integer(1), 2)
  .option('--settle <n>', 'steps before them in each turn, not counted', integer(0), 1)
  .option('--warmup <n>', 'steps before the first turn, not counted', integer(0), 2)
  .option('--threads <n>', 'threads that compute', integer(1), 2)
  .option('--device <name>', 'cpu or cuda, of all of them', 'cpu')
  .option('--precision <types>', `${precisions.join(', ')}; separated by commas`, listOf(precisions), [
    'fp32',
  ])
  .option('--peers <names>', `among ${names.join(', ')}; separated by commas`, listOf(names), names)
  .option('--data <folder>', 'a folder per class, which load needs')
  .option('--out <dir>', 'folder for the results', resultsFolder)
  .option('--name <name>', 'of their files (default: peers-<size>px)')
  .option('--json <file>', 'the results as JSON in this file too')
  .parse()
  .opts<Flags>();

await runMain('bench:peers', async () => {
  for (const arch of flags.arch) checkSize(arch, flags.size);
  if (flags.mode.includes('load') && flags.data === undefined) {
    throw new ArgumentError('--mode load needs --data FOLDER, a folder per class');
  }
  const at = circumstances('bench:peers');
  const comparisons: Comparison[] = [];
  for (const arch of flags.arch) {
    for (const mode of flags.mode) {
      for (const precision of flags.precision) {
        for (const batch of flags.batch) {
          const { size, threads, warmup, device } = flags;
          const data = mode === 'load' && flags.data !== undefined ? resolve(flags.data) : undefined;
          const setting = { arch, mode, batch, size, threads, warmup, device, precision, data };
          const chosen = peers.filter((peer) => flags.peers.includes(peer.name) && takes(peer, setting));
          say(`${arch}, ${mode}, batch ${batch}, ${size} pixels, ${precision} on ${device}`);
          comparisons.push(await alternate([ours, ...chosen], setting, flags, say));
        }
      }
    }
  }
  print(comparisonText(comparisons));
  const { rounds, steps, settle } = flags;
  const found = { rounds, steps, settle, comparisons };
  const name = flags.name ?? `peers-${flags.size}px`;
  const title = `${flags.arch.join(', ')} at ${flags.size} pixels beside their peers`;
  const files = writeResults(resolve(flags.out), name, title, at, found, [comparisonMarkdown(comparisons)]);
  if (flags.json !== undefined) files.push(writeJson(resolve(flags.json), at, found));
  say(`written: ${files.join(', ')}`);
});
