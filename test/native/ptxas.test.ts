// What is read from ptxas, and that a kernel that spills is found; the table beside the kernels is of all of them; the PTX that
// each architecture is compiled from, as it is checked and as it ships.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect } from 'chai';
import { readPtxas, resourceTable, spilling, summaries } from '../../scripts/cuda/ptxas.ts';
import { skip } from '../support/skip.ts';

const kernels = resolve(import.meta.dirname, '../../native/cuda');

const log = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'void dw::cuda::depthwise<8, __half>(dw::cuda::Shape, __half const*)' for 'sm_90'
ptxas info    : Function properties for void dw::cuda::depthwise<8, __half>(dw::cuda::Shape, __half const*)
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 512 bytes smem, 640 bytes cmem[0]
ptxas info    : Compile time = 52.931 ms
ptxas info    : Compiling entry function 'void dw::cuda::depthwise<1, float>(dw::cuda::Shape, float const*)' for 'sm_90'
ptxas info    : Function properties for helper(int)
    40 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 255 registers, 640 bytes cmem[0]
ptxas info    : Compiling entry function 'void dw::cuda::(anonymous namespace)::fill<dw::cuda::Sum<1> >(long)' for 'sm_75'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, 360 bytes cmem[0]
`;

describe('what ptxas says', () => {
  const found = readPtxas(log);

  it('is read for each kernel and architecture', () => {
    const none = { spillStores: 0, spillLoads: 0, stack: 0, shared: 0 };
    expect(found).to.deep.equal([
      { name: 'depthwise<8, __half>', architecture: 'sm_90', registers: 64, ...none, shared: 512 },
      {
        ...{ name: 'depthwise<1, float>', architecture: 'sm_90', registers: 255 },
        ...{ spillStores: 24, spillLoads: 28, stack: 40, shared: 0 },
      },
      { name: 'fill<Sum<1> >', architecture: 'sm_75', registers: 10, ...none },
    ]);
  });

  it('shows which kernels spill', () => {
    expect(spilling(found).map(({ name }) => name)).to.deep.equal(['depthwise<1, float>']);
    expect(spilling([{ ...found[0]!, stack: 8 }]), 'an array of its own').to.have.length(1);
    expect(summaries(found)).to.deep.equal([
      'sm_75: 1 kernels, at most 10 registers (fill<Sum<1> >), 0 that spill',
      'sm_90: 2 kernels, at most 255 registers (depthwise<1, float>), 1 that spill',
    ]);
    const [, , row] = resourceTable(found, 'sm_90').split('\n');
    expect(row).to.equal('| depthwise | 2 | 64 to 255 | 512 | 40 | 24 | 28 |');
  });

  it('is kept for every kernel of the sources, none of which spills', () => {
    const table = readFileSync(resolve(kernels, 'kernels/RESOURCES.md'), 'utf8');
    const rows = [
      ...table.matchAll(/^\| (\w+) \| \d+ \| [\dto ]+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$/gm),
    ];
    for (const [row, , , ...bytes] of rows) expect(bytes, row).to.deep.equal(['0', '0', '0']);
    const sources = ['.', 'kernels']
      .flatMap((folder) =>
        readdirSync(resolve(kernels, folder)).map((name) => resolve(kernels, folder, name)),
      )
      .filter((path) => /\.cuh?$/.test(path))
      .map((path) => readFileSync(path, 'utf8'));
    const defined = sources.flatMap((text) => [
      ...text.matchAll(/__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(/g),
    ]);
    const names = defined.map(([, name]) => name);
    expect(names).to.have.length.greaterThan(20);
    expect(rows.map(([, name]) => name)).to.include.members(names);
  });
});

describe('architectures of the kernels', () => {
  const flagsOf = (architectures: string) => {
    const script = resolve(kernels, 'architectures.cmake');
    return spawnSync('cmake', [`-DARCHITECTURES=${architectures}`, '-P', script], { encoding: 'utf8' });
  };
  before(function () {
    if (spawnSync('cmake', ['--version']).error !== undefined) skip(this, 'there is no cmake');
  });

  it('share the PTX of the oldest of their kind', () => {
    const { stdout } = flagsOf('120;75;80;86;89;90;100');
    expect(stdout.trim().split('\n')).to.deep.equal([
      '-gencode=arch=compute_75,code=[compute_75,sm_75]',
      '-gencode=arch=compute_80,code=[compute_80,sm_80,sm_86,sm_89]',
      '-gencode=arch=compute_90,code=[compute_90,sm_120,sm_90,sm_100]',
    ]);
    expect(flagsOf('90').stdout).to.equal('-gencode=arch=compute_90,code=[compute_90,sm_90]\n');
    expect(flagsOf('121').stdout, 'one that is not known').to.contain('arch=compute_121,');
  });

  it('are numbers', () => {
    const { status, stderr } = flagsOf('90;sm_80');
    expect(status).not.to.equal(0);
    expect(stderr).to.contain('"sm_80" is no architecture');
  });
});
