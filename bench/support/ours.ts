// The process in which this project is measured: a network kept warm, running as many steps as it is told.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { Command, Option } from 'commander';
import { integer } from '../../lib/cli/flags.ts';
import { imageSupport } from '../../lib/data/pool.ts';
import { type Backend, imageFolder, openDevice, setDefaultBackend } from '../../lib/index.ts';
import { openBenchmark } from '../../lib/train/index.ts';
import { runMain } from './main.ts';
import { archs, precisions, type Reply, type Request, type Setting, works } from './protocol.ts';

const { arch, mode, batch, size, threads, warmup, device, precision, data } = new Command('ours')
  .addOption(new Option('--mode <mode>').choices(works).makeOptionMandatory())
  .requiredOption('--batch <n>', 'images per step', integer(1))
  .requiredOption('--size <pixels>', 'edge of the images', integer(1))
  .requiredOption('--threads <n>', 'threads that compute', integer(1))
  .requiredOption('--warmup <n>', 'steps before it is ready', integer(0))
  .requiredOption('--device <name>', 'the device')
  .addOption(new Option('--arch <name>').choices(archs).makeOptionMandatory())
  .option('--data <folder>', 'a folder per class, for load')
  .addOption(new Option('--precision <type>').choices(precisions).makeOptionMandatory())
  .parse()
  .opts<Setting>();

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

const say = (reply: Reply) => process.stdout.write(`${JSON.stringify(reply)}\n`);

/** `oneDNN 2.6.3, avx512, 2 threads` or `NVIDIA H200, sm 9.0, cuDNN 9.24.0, CUDA graphs` */
function describe({ details }: Backend): string {
  const { onednn, isa, gpu, sm, cudnn, graphs } = details;
  if (onednn !== undefined) return `oneDNN ${onednn}, ${isa}, ${threads} threads`;
  return `${gpu}, sm ${sm}, cuDNN ${cudnn ?? 'none'}, ${graphs === true ? 'CUDA graphs' : 'single launches'}`;
}

/** Who decodes JPEGs. */
function decoder(): string {
  const support = imageSupport();
  return `${support.native ? support.about : 'sharp'}, ${threads} threads`;
}

await runMain('depthwise', async () => {
  const backend = openDevice(device, { threads });
  setDefaultBackend(backend);
  // The peers' images stay on a GPU too. In a CPU's memory they are in any case.
  const resident = backend.name !== 'cpu';
  const setting = { arch, mode, batch, size, precision, seed: 0 };
  const images =
    data === undefined
      ? { augment: 'none' as const }
      : { augment: 'inception' as const, data: await imageFolder(data, { size }), workers: threads };
  const bench = await openBenchmark(backend, { ...setting, ...images, resident });
  await bench.run(warmup);
  const how = mode === 'load' ? decoder() : `${precision}, ${describe(backend)}`;
  say({ ready: `depthwise ${version}, ${how}` });
  for await (const line of createInterface(process.stdin)) {
    const { run } = JSON.parse(line) as Request;
    const milliseconds = await bench.run(run);
    // On a CPU the process's own memory is what counts, and the parent sees that.
    const ofDevice = backend.name === 'cpu' ? {} : { heldBytes: backend.memory().peak };
    say({ milliseconds, ...ofDevice });
  }
  await bench[Symbol.asyncDispose]();
  backend.dispose();
});
