// The native test programs, which hold the plug-ins to account through the C interface, without JavaScript.

import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { isRequired } from '../support/devices.ts';
import { skip } from '../support/skip.ts';
import { folder } from './support.ts';

const sources = join(import.meta.dirname, '../../native/test');

/** Programs that measure and check nothing. */
const benchmarks = ['cpu_bench', 'cpu_step'];

const programs = readdirSync(sources)
  .filter((file) => /^(cpu|cuda|cudasim|runtime)_.*\.cc$/.test(file))
  .map((file) => file.slice(0, -'.cc'.length))
  .filter((name) => !benchmarks.includes(name));

describe('native programs', function () {
  this.timeout(600_000);

  it('are those that are known', () => {
    expect(programs).to.include.members([
      'cpu_fused',
      'cpu_smoke',
      'cuda_device',
      'cuda_timing',
      'cudasim_check',
      'runtime_stress',
    ]);
  });

  for (const name of programs) {
    // One source is compiled for each instruction set; by itself the plug-in takes the best that is here.
    for (const isa of name.startsWith('cpu_') ? ['avx512', 'avx2', 'baseline'] : ['']) {
      it(`${[name, isa].join(' ').trim()} finds nothing wrong`, async function () {
        const program = join(folder, name);
        const kind = name.startsWith('cpu') ? 'cpu' : name.startsWith('cuda') ? 'cudasim' : 'fake';
        const plugin = join(folder, `libdepthwise_${kind}.so`);
        const missing = [program, plugin].find((file) => !existsSync(file));
        if (missing !== undefined) {
          expect(isRequired(kind === 'cudasim' ? kind : 'cpu'), `${missing} is not built`).to.equal(false);
          skip(this, `${missing} is not built`);
        }
        const { status, stdout, stderr } = await run(program, plugin, isa);
        if (/this processor lacks/.test(stderr)) skip(this, stderr.trim());
        expect(status, stdout + stderr).to.equal(0);
        // That something was checked is part of the result.
        expect(stdout).to.match(/^(.*: )?[1-9]\d* (checks|values checked), 0 (failures|wrong)$/m);
      });
    }
  }
});

describe('the simulation of CUDA', () => {
  it('lets AddressSanitizer see accesses behind shared memory', async function () {
    const program = join(folder, 'cudasim_check');
    if (!folder.includes('sanitize')) skip(this, 'built without AddressSanitizer');
    const { status, stderr } = await run(program, 'out-of-bounds', '');
    expect(status, stderr).not.to.equal(0);
    expect(stderr).to.match(/AddressSanitizer: heap-buffer-overflow/);
  });
});

interface Ended {
  /** The exit code, or the signal. */
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, plugin: string, isa: string): Promise<Ended> {
  // A sanitizer is linked into the program: what had to come first in Node's process is not for this one.
  const { LD_PRELOAD: _, ...env } = process.env;
  const options = { env: { ...env, DEPTHWISE_CPU_ISA: isa }, maxBuffer: 1 << 26 };
  return new Promise((settle) => {
    execFile(program, [plugin], options, (error, stdout, stderr) => {
      settle({ status: error === null ? 0 : (error.signal ?? error.code ?? 'unknown'), stdout, stderr });
    });
  });
}
