// Trees: when a pattern matches, and in which order it gives the tensors.

import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { matches, patternOf, tensorsIn, treeKey } from '../../lib/core/tree.ts';
import { reference } from '../support/devices.ts';

describe('trees', () => {
  it('match a pattern where their keys are equal, and give the tensors of the pattern in its order', () => {
    withBackend(reference, () =>
      scope(() => {
        const [x, y, long] = [tensor([1]), tensor([2]), tensor([1, 2])] as const;
        const whole = tensor(new Int32Array(1));
        const object = new Date();
        const trees: unknown[] = [
          x,
          long,
          whole,
          [x],
          [x, y],
          [[x], y],
          { x },
          { x, y },
          { x, k: 1 },
          { x, k: 2 },
          { x, k: undefined },
          { x, k: null },
          { x, k: '1' },
          { x, k: [] },
          { x, k: {} },
          { x, k: object },
          { x, k: new Date() },
          { z: x, k: 1 },
          1,
          'f32[1]',
          true,
          undefined,
          null,
        ];
        const key = (tree: unknown) => treeKey(tree, ({ dtype, shape }) => `${dtype}[${shape}]`);
        trees.forEach((a, i) => {
          trees.forEach((b, j) => {
            expect(matches(patternOf(a), b, []), `${i} and ${j}`).to.equal(key(a) === key(b));
          });
          const found: Tensor[] = [];
          matches(patternOf(a), a, found);
          expect(found).to.deep.equal(tensorsIn(a));
        });
        const found: Tensor[] = [];
        expect(matches(patternOf({ x, y }), { y: x, x: y }, found)).to.equal(true);
        expect(found, 'in the order of the pattern').to.deep.equal([y, x]);
      }),
    );
  });
});
