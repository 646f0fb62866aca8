// Loss scaling where numbers are not finite, and the life of a scale.

import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { halfBits } from '../../lib/core/half.ts';
import { scope } from '../../lib/core/scope.ts';
import { tensor } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { opDevices, reference } from '../support/devices.ts';

for (const backend of [reference, ...opDevices]) {
  const on = (body: () => void) => () => withBackend(backend, () => scope(body));

  describe(`loss scaling on ${backend.name}`, () => {
    const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

    for (const dtype of backend.computeTypes) {
      it(
        `finds one number that is not finite, anywhere: ${dtype}`,
        on(() => {
          for (const size of [1, 3, 4, 1030]) {
            for (const at of [undefined, 0, size >> 1, size - 1]) {
              const values = Float32Array.from({ length: size }, (_, i) => (i % 7) - 3);
              if (at !== undefined) values[at] = bad[at % 3] as number;
              const patterns = (half: 'f16' | 'bf16') => Uint16Array.from(values, (x) => halfBits(half, x));
              const g = tensor(dtype === 'f32' ? values : patterns(dtype), [size], { dtype });
              const { y, overflow } = ops.unscale(g, tensor(4));
              expect(overflow.dataSync()[0], `${size}, ${at}`).to.equal(at === undefined ? 0 : 1);
              const expected = [...values].map((x) => x / 4);
              expect([...y.dataSync()]).to.deep.equal(expected);
            }
          }
        }),
      );
    }

    it(
      'lets nothing of what is not chosen through',
      on(() => {
        const [good, poison] = [tensor([1, -2, 3]), tensor([Number.NaN, Number.POSITIVE_INFINITY, 0])];
        expect([...ops.select(tensor(1), good, poison).dataSync()]).to.deep.equal([1, -2, 3]);
        expect([...ops.select(tensor(0), poison, good).dataSync()]).to.deep.equal([1, -2, 3]);
      }),
    );

    it(
      'halves at an overflow and doubles after enough good steps, until it would be infinite',
      on(() => {
        let state = { scale: tensor(8), good: tensor(0), skipped: tensor(0) };
        const life = [0, 1, 0, 0, 0, 0, 1, 1, 0].map((overflow) => {
          state = ops.lossScaleUpdate(state, tensor(overflow), { interval: 2 });
          return [state.scale, state.good, state.skipped].map((x) => x.dataSync()[0]);
        });
        expect(life).to.deep.equal([
          [8, 1, 0],
          [4, 0, 1],
          [4, 1, 1],
          [8, 0, 1],
          [8, 1, 1],
          [16, 0, 1],
          [8, 0, 2],
          [4, 0, 3],
          [4, 1, 3],
        ]);
        const largest = { scale: tensor(2 ** 127), good: tensor(0), skipped: tensor(0) };
        const { scale, good } = ops.lossScaleUpdate(largest, tensor(0), { interval: 1 });
        expect([scale.dataSync()[0], good.dataSync()[0]]).to.deep.equal([2 ** 127, 0]);
      }),
    );
  });
}
