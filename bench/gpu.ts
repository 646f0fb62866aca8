// `npm run bench:gpu -- <phase>`: everything that is to be found out on a machine with a GPU, in phases of at most nine
// minutes each. The bundle (docs/cuda.md) runs it.

import { resolve } from 'node:path';
import { Argument, Command } from 'commander';
import { integer, listOf } from '../lib/cli/flags.ts';
import { runGoals } from './gpu/goals.ts';
import { runKernels } from './gpu/kernels.ts';
import { examine, runOps } from './gpu/ops.ts';
import { Report } from './gpu/report.ts';
import { runSpeed } from './gpu/speed.ts';
import { peers } from './support/contenders.ts';
import { integers } from './support/flags.ts';
import { circumstances } from './support/machine.ts';
import { runMain } from './support/main.ts';
import { type BenchPrecision, modes, precisions } from './support/protocol.ts';
import { resultsFolder } from './support/results.ts';

const phases = ['ops', 'goals', 'train', 'infer', 'kernels', 'inception'] as const;

interface Flags {
  readonly out: string;
  readonly device: string;
  readonly minutes: number;
  readonly ops?: string[];
  readonly batch?: number[];
  readonly size: number;
  readonly precision?: BenchPrecision[];
  readonly peers: string[];
  readonly rounds: number;
  readonly steps?: number;
  readonly settle: number;
  readonly warmup: number;
}

const names = ['torch-eager', 'torch-compiled'];
const program = new Command('bench:gpu')
  .description(
    'ops: results against the reference; goals: what is to be reached, beside what is; train, infer, inception: speed and memory ' +
      'beside PyTorch; kernels: time and bandwidth of ' +
      'each instruction, plans of cuDNN. DEPTHWISE_PYTHON names the interpreter that has PyTorch',
  )
  .addArgument(new Argument('<phase>').choices(phases))
  .option('--out <dir>', 'folder for the results', resolve(resultsFolder, 'gpu'))
  .option('--device <name>', 'cuda, cuda:<n>; cpu and cudasim to try the phases without a GPU', 'cuda')
  .option('--minutes <n>', 'that the phase may take', integer(1), 9)
  .option('--ops <names>', 'ops: only these, separated by commas', (text) => text.split(','))
  .option('--batch <numbers>', 'images per step, separated by commas (default: of the phase)', integers(1))
  .option('--size <pixels>', 'edge of the images', integer(71), 299)
  .option('--precision <types>', `among ${precisions.join(', ')} (default: of the phase)`, listOf(precisions))
  .option('--peers <names>', `among ${names.join(', ')}, or none`, listOf([...names, 'none']), names)
  .option('--rounds <n>', 'turns of each', integer(1), 5)
  .option('--steps <n>', 'steps counted in a turn (default: by the batch, from 10 to 200)', integer(1))
  .option('--settle <n>', 'steps before them in each turn, not counted', integer(0), 3)
  .option('--warmup <n>', 'steps before the first turn, not counted', integer(0), 3)
  .parse();
const flags = program.opts<Flags>();
const phase = program.args[0] as (typeof phases)[number];

// Choosing plans takes minutes in each process at first: a phase keeps most of its time for measuring, and what was chosen
// is kept for the next (DEPTHWISE_PLAN_CACHE). The phase `ops` has a limit of its own.
if (phase !== 'ops') {
  process.env.DEPTHWISE_PLAN_SECONDS ??= String(flags.minutes * (phase === 'goals' ? 10 : 20));
}

await runMain('bench:gpu', async () => {
  const report = new Report(resolve(flags.out), phase, circumstances('bench:gpu'), flags.minutes);
  const callOff = report.watch();
  const { out: _, minutes: __, ops, batch, precision, ...rest } = flags;
  const given = {
    ...(batch === undefined ? {} : { batch }),
    ...(precision === undefined ? {} : { precision }),
  };
  if (phase === 'ops') await runOps({ device: flags.device, ...(ops === undefined ? {} : { ops }) }, report);
  else {
    await report.part('doctor', 5, () => examine(flags.device, report));
    const chosen = peers.filter(({ name }) => flags.peers.includes(name)).map(({ name }) => name);
    if (phase === 'kernels') await runKernels({ ...rest, ...given }, report);
    else if (phase === 'goals') await runGoals({ ...rest, ...given, peers: chosen }, report);
    else if (phase === 'inception') {
      const options = { ...rest, ...given, arch: 'inception_v3', peers: chosen } as const;
      for (const mode of modes) await runSpeed({ ...options, mode }, report);
    } else await runSpeed({ ...rest, ...given, arch: 'xception', mode: phase, peers: chosen }, report);
  }
  callOff();
  process.exitCode = report.finish();
});
