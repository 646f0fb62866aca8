// What node-gyp has built is loaded and computes: an addition on the addon's stream, convolutions on oneDNN and on our own
// kernels. Run by `npm run build:gyp -- --test`, with DEPTHWISE_NATIVE_DIR naming what was built.

import { readFileSync, realpathSync } from 'node:fs';
import { expect } from 'chai';
import { loadAddon } from '../../lib/backend/load.ts';
import { closeDevices, openDevice, ops, scope, type Tensor, tensor, withBackend } from '../../lib/index.ts';

describe('what node-gyp has built', () => {
  const folder = process.env.DEPTHWISE_NATIVE_DIR ?? '';
  after(() => closeDevices());

  /** The same numbers in [-1, 1) for every device. */
  const numbers = (shape: readonly number[]): Tensor => {
    const length = shape.reduce((a, b) => a * b, 1);
    return tensor(
      Array.from({ length }, (_, i) => ((i * 37) % 64) / 32 - 1),
      shape,
    );
  };

  const computed = (device: string): number[][] =>
    withBackend(openDevice(device), () =>
      scope(() => {
        const x = numbers([2, 9, 9, 16]);
        const depthwise = ops.conv2d(x, numbers([16, 3, 3, 1]), { groups: 16, padding: 'same' });
        const pointwise = ops.conv2d(ops.relu(depthwise), numbers([8, 1, 1, 16]));
        return [ops.add(x, x), depthwise, pointwise].map((each) => [...each.dataSync()]);
      }),
    );

  it('computes as the reference does', () => {
    expect(folder).to.match(/gyp/);
    expect(loadAddon().folder).to.equal(folder);
    const [found, expected] = [computed('cpu'), computed('reference')];
    for (const [i, values] of expected.entries()) {
      const other = found[i] as number[];
      expect(other).to.have.lengthOf(values.length);
      const worst = Math.max(...values.map((value, j) => Math.abs(value - (other[j] as number))));
      expect(worst).to.be.below(1e-4);
      expect(Math.max(...values.map(Math.abs))).to.be.above(0.5);
    }
    expect(readFileSync('/proc/self/maps', 'utf8')).to.include(realpathSync(`${folder}/libdepthwise_cpu.so`));
  });
});
