// Dropout: the mask that the op table promises, its share, and its gradient.

import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { philox4x32 } from '../../lib/core/philox.ts';
import { scope } from '../../lib/core/scope.ts';
import { grad } from '../../lib/core/tape.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { devices, reference } from '../support/devices.ts';

const size = 20_000;

for (const backend of [reference, ...devices]) {
  const test = (title: string, body: () => void) => it(title, () => withBackend(backend, () => scope(body)));
  const counter = (seed: number, step: number) => tensor([seed, step], [2], { dtype: 'i32' });
  const drop = (seed: number, step: number, rate: number, stream = 0, n = size) => [
    ...ops.dropout(ops.ones([n]), counter(seed, step), { rate, stream }).dataSync(),
  ];

  describe(`dropout on ${backend.name}`, () => {
    test('keeps what Philox4x32-10 says', () => {
      const expected = Array.from({ length: 1001 }, (_, i) => {
        const words = philox4x32([Math.floor(i / 4), 0, 7, 0], [42, 3]);
        return words[i % 4]! >= Math.floor(0.3 * 2 ** 32) ? Math.fround(1 / (1 - 0.3)) : 0;
      });
      expect(drop(42, 7, 0.3, 3, 1001)).to.deep.equal(expected);
    });

    test('begins with the known answer of Random123 for zeros', () => {
      // 6627e8d5 e169c58d bc57ac4c 9b00dbd8, as shares of 2^32: 0.399 0.881 0.736 0.606
      expect(drop(0, 0, 0.5, 0, 4)).to.deep.equal([0, 2, 2, 2]);
      expect(drop(0, 0, 0.75, 0, 4)).to.deep.equal([0, 4, 0, 0]);
    });

    for (const rate of [0.1, 0.5, 0.9]) {
      test(`keeps ${1 - rate} of the elements, and their mean`, () => {
        const kept = drop(1, 1, rate).filter((value) => value !== 0);
        const deviation = Math.sqrt((rate * (1 - rate)) / size);
        expect(kept.length / size).to.be.closeTo(1 - rate, 4 * deviation);
        expect(new Set(kept)).to.deep.equal(new Set([Math.fround(1 / (1 - rate))]));
      });
    }

    test('changes nothing at rate 0', () => {
      expect(drop(1, 1, 0).every((value) => value === 1)).to.equal(true);
    });

    test('depends on seed, step and stream, and on nothing else', () => {
      const mask = drop(5, 6, 0.5);
      expect(drop(5, 6, 0.5)).to.deep.equal(mask);
      for (const other of [drop(4, 6, 0.5), drop(5, 7, 0.5), drop(5, 6, 0.5, 1)]) {
        const agree = other.filter((value, i) => value === mask[i]).length / size;
        expect(agree).to.be.closeTo(0.5, 0.02);
      }
    });

    test('has the same mask in its gradient', () => {
      const at = counter(9, 2);
      const x = ops.ones([size]);
      const [dx] = grad((input: Tensor) => ops.sum(ops.dropout(input, at, { rate: 0.4 })))(x);
      expect([...dx!.dataSync()]).to.deep.equal(drop(9, 2, 0.4));
    });
  });
}
