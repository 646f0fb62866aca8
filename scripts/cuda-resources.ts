// What the CUDA kernels take, by the logs of scripts/check-cuda.sh: registers, shared memory, spills. Ends with 1 where a
// kernel spills, on any architecture that was compiled.
//
//   node --import tsx scripts/cuda-resources.ts [--write]     --write keeps the table, beside the kernels

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readPtxas, resourceTable, spilling, summaries } from './cuda/ptxas.ts';

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
const root = resolve(import.meta.dirname, '..');
const logs = resolve(root, 'build/cuda-check');
/** The architecture of the table: that of the H200. */
const shown = 'sm_90';
const kept = resolve(root, 'native/cuda/kernels/RESOURCES.md');

const raw = readdirSync(logs)
  .filter((name) => name.endsWith('.cu.log'))
  .sort()
  .map((name) => readFileSync(resolve(logs, name), 'utf8'))
  .join('\n');
const kernels = readPtxas(execFileSync('c++filt', { input: raw, encoding: 'utf8', maxBuffer: 2 ** 28 }));
if (kernels.length === 0) throw new Error(`${logs} has nothing of ptxas: scripts/check-cuda.sh compiles`);
for (const line of summaries(kernels)) process.stderr.write(`cuda: ${line}\n`);
for (const { architecture, name, stack, spillStores, spillLoads } of spilling(kernels)) {
  const bytes = `${stack} bytes of stack, ${spillStores} spilled, ${spillLoads} read back`;
  process.stderr.write(`cuda: ${architecture}: ${name} does not fit into registers: ${bytes}\n`);
}
if (spilling(kernels).length > 0) process.exitCode = 1;
if (values.write) {
  const nvcc = execFileSync('nvcc', ['--version'], { encoding: 'utf8' });
  const version = /release [\d.]+, V([\d.]+)/.exec(nvcc)?.[1] ?? 'unknown';
  const text = `# What the kernels take

Made by \`scripts/check-cuda.sh && node --import tsx scripts/cuda-resources.ts --write\`, from what ptxas says (nvcc ${version}).
Registers and bytes are of one thread, shared memory of one block; \`sharedMemory<T>()\` is asked for at the launch and not in
here. No kernel may spill or have a stack: scripts/check-cuda.sh fails where one does. Machine code comes from the PTX that the build
takes too (native/cuda/architectures.cmake): compute_80's for sm_80, 86 and 89, compute_90's for sm_90, 100 and 120.

${summaries(kernels)
  .map((line) => `- ${line}`)
  .join('\n')}

## ${shown}

${resourceTable(kernels, shown)}
`;
  writeFileSync(kept, text);
  process.stderr.write(`cuda: written: ${kept}\n`);
}
