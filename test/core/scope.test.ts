// Scopes and the life of tensors.

import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { ArgumentError, DisposedError, DTypeError, ShapeError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { openScope, scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor, variable } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { devices, reference } from '../support/devices.ts';

for (const backend of [reference, ...devices]) {
  const { name } = backend;
  const it_ = (what: string, body: () => void) => it(what, () => withBackend(backend, body));

  describe(`tensors and scopes on ${name}`, () => {
    let before: number;
    beforeEach(() => {
      before = memory().tensors;
    });
    afterEach(() => {
      expect(memory().tensors, 'tensors alive after the test').to.equal(before);
    });

    it_('disposes of what a scope made, and keeps what it returns', () => {
      let inner: Tensor | undefined;
      const kept = scope(() => {
        const a = tensor([1, 2, 3]);
        inner = ops.scale(a, 2);
        return { sum: ops.add(inner, a), text: 'left alone' };
      });
      expect(() => inner?.dataSync()).to.throw(DisposedError, 'dataSync: f32[3] was disposed of');
      expect([...kept.sum.dataSync()]).to.deep.equal([3, 6, 9]);
      expect(kept.text).to.equal('left alone');
      kept.sum.dispose();
    });

    it_('hands what an inner scope returns to the outer one', () => {
      scope(() => {
        const kept = scope(() => scope(() => [tensor([1])]));
        expect([...kept[0]!.dataSync()]).to.deep.equal([1]);
        return undefined;
      });
    });

    it_('disposes when the body throws', () => {
      expect(() =>
        scope(() => {
          tensor([1, 2]);
          throw new Error('on purpose');
        }),
      ).to.throw('on purpose');
    });

    it_('closes scopes left open inside', () => {
      const outer = openScope();
      const forgotten = openScope();
      tensor([1]);
      outer.dispose();
      forgotten.dispose();
    });

    it_('works with using', () => {
      let kept: Tensor;
      {
        using s = openScope();
        const a = tensor([4]);
        kept = s.keep(ops.square(a));
      }
      expect([...kept.dataSync()]).to.deep.equal([16]);
      kept.dispose();
    });

    it_('refuses an asynchronous body', () => {
      expect(() => scope(async () => undefined)).to.throw(ArgumentError, 'asynchronous');
    });

    it_('refuses a dead operand, naming the op', () => {
      const a = tensor([1]);
      a.dispose();
      a.dispose(); // twice is allowed
      expect(() => ops.relu(a)).to.throw(DisposedError, 'relu: f32[1] was disposed of');
    });

    it_('shares memory between a tensor and its reshape, and frees it with the last', () => {
      const a = tensor([1, 2, 3, 4]);
      const bytes = memory().bytes;
      const b = ops.reshape(a, [2, 2]);
      expect(memory().bytes).to.equal(bytes);
      a.dispose();
      expect([...b.dataSync()]).to.deep.equal([1, 2, 3, 4]);
      b.dispose();
    });

    it_('assigns variables without a copy, and refuses what does not fit', () => {
      const v = variable([1, 2], [2]);
      const next = tensor([3, 4]);
      const bytes = memory().bytes;
      v.assign(next);
      expect(memory().bytes).to.equal(bytes - 8);
      next.dispose();
      expect([...v.dataSync()]).to.deep.equal([3, 4]);
      scope(() => {
        expect(() => v.assign(tensor([1]))).to.throw(ShapeError, 'the variable is f32[2], the value f32[1]');
        expect(() => v.assign(tensor(new Int32Array(2)))).to.throw(DTypeError);
        expect(() => v.set([1, 2, 3])).to.throw(ShapeError);
        return undefined;
      });
      v.set([5, 6]);
      expect([...v.dataSync()]).to.deep.equal([5, 6]);
      v.dispose();
    });

    it_('refuses data that does not fit its shape', () => {
      expect(() => tensor([1, 2, 3], [2, 2])).to.throw(ShapeError, 'shape [2,2] has 4 elements, the data 3');
      expect(() => tensor([1], [1, 1, 1, 1, 1, 1, 1])).to.throw(ShapeError, 'rank 7');
      expect(() => tensor([1], [-1])).to.throw(ShapeError);
      expect(() => tensor(new Uint16Array(1))).to.throw(DTypeError);
    });

    it('reads asynchronously', async () => {
      const a = withBackend(backend, () => tensor(new Uint8Array([1, 255])));
      expect([...(await a.data())]).to.deep.equal([1, 255]);
      a.dispose();
      const b = withBackend(backend, () => tensor(2.5));
      expect(await b.item()).to.equal(2.5);
      b.dispose();
    });
  });
}
