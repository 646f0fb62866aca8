// The process in which this project is measured: a network kept warm, running as many steps as it is told.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { Command, Option } from 'commander';
import { integer } from '../../lib/cli/flags.ts';
import { openDevice, setDefaultBackend } from '../../lib/index.ts';
import { openBenchmark } from '../../lib/train/index.ts';
import { runMain } from './main.ts';
import { type Mode, modes, type Reply, type Request } from './protocol.ts';

const { mode, batch, size, threads, warmup } = new Command('ours')
  .addOption(new Option('--mode <mode>').choices(modes).makeOptionMandatory())
  .requiredOption('--batch <n>', 'images per step', integer(1))
  .requiredOption('--size <pixels>', 'edge of the images', integer(1))
  .requiredOption('--threads <n>', 'threads that compute', integer(1))
  .requiredOption('--warmup <n>', 'steps before it is ready', integer(0))
  .parse()
  .opts<{ mode: Mode; batch: number; size: number; threads: number; warmup: number }>();

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

const say = (reply: Reply) => process.stdout.write(`${JSON.stringify(reply)}\n`);

await runMain('depthwise', async () => {
  const backend = openDevice('cpu', { threads });
  setDefaultBackend(backend);
  const bench = await openBenchmark(backend, {
    arch: 'xception',
    mode,
    batch,
    size,
    augment: 'none',
    seed: 0,
  });
  await bench.run(warmup);
  const { onednn, isa } = backend.details;
  say({ ready: `depthwise ${version}, oneDNN ${onednn}, ${isa}, ${threads} threads` });
  for await (const line of createInterface(process.stdin)) {
    const { run } = JSON.parse(line) as Request;
    say({ milliseconds: await bench.run(run) });
  }
  await bench[Symbol.asyncDispose]();
  backend.dispose();
});
