// `npm run bench:growth`: how speed and memory grow with the batch and the size of the images; a table and a
// picture.

import { resolve } from 'node:path';
import { Command } from 'commander';
import { checkSize, integer, listOf, real } from '../lib/cli/flags.ts';
import { print, say } from '../lib/cli/output.ts';
import { ours } from './support/contenders.ts';
import { integers } from './support/flags.ts';
import { measureGrowth } from './support/growth.ts';
import { drawGrowth, growthMarkdown, growthText } from './support/growthReport.ts';
import { availableBytes, circumstances } from './support/machine.ts';
import { runMain } from './support/main.ts';
import { type Mode, modes } from './support/protocol.ts';
import { resultsFolder, writeResults } from './support/results.ts';

const flags = new Command('bench:growth')
  .description('images per second and peak memory of Xception by batch and size, each in a fresh process')
  .option('--mode <modes>', `${modes.join(', ')}; separated by commas`, listOf(modes), [...modes])
  .option('--batch <numbers>', 'images per step, separated by commas', integers(1), [1, 2, 4, 8, 16, 32, 64])
  .option('--size <numbers>', 'edges in pixels, separated by commas', integers(1), [71, 150, 299, 512])
  .option('--rounds <n>', 'times that each is measured, in turn with the others', integer(1), 3)
  .option('--seconds <s>', 'least time to measure each, each time', real(0), 3)
  .option('--threads <n>', 'threads that compute', integer(1), 2)
  .option('--limit <gb>', 'what is expected to need more memory is left out', real(0), 20)
  .option('--out <dir>', 'folder for the results', resultsFolder)
  .option('--name <name>', 'of their files', 'growth')
  .parse()
  .opts<{
    mode: Mode[];
    batch: number[];
    size: number[];
    rounds: number;
    seconds: number;
    threads: number;
    limit: number;
    out: string;
    name: string;
  }>();

await runMain('bench:growth', async () => {
  for (const size of flags.size) checkSize('xception', size);
  const at = circumstances('bench:growth');
  const limitBytes = Math.min(flags.limit * 1e9, availableBytes());
  const growth = await measureGrowth(ours, { ...flags, limitBytes }, say);
  print(growthText(growth));
  const out = resolve(flags.out);
  const title = 'Xception by batch and size';
  const picture = `${flags.name}.png`;
  const sections = [`![images per second and peak memory](${picture})`, growthMarkdown(growth)];
  const { rounds, seconds, threads } = flags;
  const files = writeResults(out, flags.name, title, at, { rounds, seconds, threads, ...growth }, sections);
  files.push(await drawGrowth(growth.points, resolve(out, picture)));
  say(`written: ${files.join(', ')}`);
});
