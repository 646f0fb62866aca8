// `npm run bench:overhead`: what TypeScript costs around the native code, against the bars that it has to
// stay under.

import { resolve } from 'node:path';
import { Command } from 'commander';
import { checkSize, integer } from '../lib/cli/flags.ts';
import { print, say } from '../lib/cli/output.ts';
import { closeDevices, openDevice, setDefaultBackend } from '../lib/index.ts';
import { circumstances } from './support/machine.ts';
import { runMain } from './support/main.ts';
import { measureEager, measureStep } from './support/overhead.ts';
import { overheadMarkdown, overheadText } from './support/overheadReport.ts';
import { resultsFolder, writeResults } from './support/results.ts';

const flags = new Command('bench:overhead')
  .description('JavaScript time per compiled training step and per eager op; time to compile')
  .option('--size <pixels>', 'edge of the images', integer(1), 299)
  .option('--batch <n>', 'images per step', integer(1), 1)
  .option('--steps <n>', 'steps that are counted', integer(1), 100)
  .option('--threads <n>', 'threads that compute', integer(1), 2)
  .option('--out <dir>', 'folder for the results', resultsFolder)
  .option('--name <name>', 'of their files', 'overhead')
  .parse()
  .opts<{ size: number; batch: number; steps: number; threads: number; out: string; name: string }>();

await runMain('bench:overhead', async () => {
  checkSize('xception', flags.size);
  const at = circumstances('bench:overhead');
  const backend = openDevice('cpu', { threads: flags.threads });
  setDefaultBackend(backend);
  try {
    const eager = {
      package: await measureEager('package', flags.threads),
      sources: await measureEager('sources', flags.threads),
    };
    const { size, batch, steps, threads } = flags;
    const found = { size, batch, steps, threads, eager, ...(await measureStep(backend, flags)) };
    print(overheadText(found));
    const title = `What TypeScript costs: Xception, ${size} pixels, batch ${batch}`;
    const sections = [overheadMarkdown(found)];
    const files = writeResults(resolve(flags.out), flags.name, title, at, found, sections);
    say(`written: ${files.join(', ')}`);
  } finally {
    closeDevices();
  }
});
