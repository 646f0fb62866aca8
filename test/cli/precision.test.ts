// `--precision` where it is refused, and what `auto` is on a CPU.

import { expect } from 'chai';
import { jsonLines, runCommand } from './runCommand.ts';

describe('--precision', function () {
  this.timeout(120_000);

  const commands = [
    ['train', 'data'],
    ['eval', 'data', '--weights', 'w.h5'],
    ['predict', 'a.jpg', '--weights', 'w.h5'],
    ['bench'],
  ] as const;

  it('is one of four names', async () => {
    const { code, stderr } = await runCommand('train', 'data', '--precision', 'fp8');
    expect(code).to.equal(2);
    expect(stderr).to.match(
      /^depthwise: .*'fp8' is invalid\. Allowed choices are auto, fp32, bf16, fp16\.\n$/,
    );
  });

  for (const [name, ...rest] of commands) {
    it(`is refused in one line by the CPU: ${name}`, async () => {
      for (const precision of ['bf16', 'fp16']) {
        const ended = await runCommand(name, ...rest, '--device', 'cpu', '--precision', precision);
        expect(ended).to.deep.equal({
          code: 3,
          stdout: '',
          stderr: `depthwise: --precision: cpu does not compute in ${precision}; expected auto or fp32\n`,
        });
      }
    });
  }

  it('is fp32 on the CPU where nothing is said', async () => {
    const size = ['--mode', 'infer', '--size', '71', '--batch', '1', '--steps', '1', '--warmup', '0'];
    const found = await runCommand('bench', ...size, '--device', 'cpu', '--json');
    expect(found.code, found.stderr).to.equal(0);
    expect(jsonLines(found)[0]).to.include({ device: 'cpu', precision: 'fp32' });
  });
});
