// Eager dispatch: what is worked out once per signature, what tells signatures apart, and what is kept.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { apply } from '../../lib/core/apply.ts';
import { aval, type Shape } from '../../lib/core/aval.ts';
import { ArgumentError, ShapeError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { defineOp } from '../../lib/core/op.ts';
import { scope } from '../../lib/core/scope.ts';
import { tensor } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { devices, reference } from '../support/devices.ts';

/** `inner`, and how often a method was called. */
function counting(inner: Backend): { backend: Backend; calls: (method: keyof Backend) => number } {
  const counts = new Map<string | symbol, number>();
  const backend = new Proxy(inner, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        counts.set(name, (counts.get(name) ?? 0) + 1);
        return Reflect.apply(member, target, args);
      };
    },
  });
  return { backend, calls: (method) => counts.get(method) ?? 0 };
}

describe('eager dispatch', () => {
  it('prepares equal calls once, for each backend', () => {
    const [here, there] = [counting(reference), counting(reference)];
    scope(() => {
      for (const { backend } of [here, there]) {
        const x = tensor([1, 2], [2], { backend });
        for (let i = 0; i < 3; i++) expect([...ops.scale(x, 7).dataSync()]).to.deep.equal([7, 14]);
      }
    });
    expect([here.calls('prepare'), there.calls('prepare')]).to.deep.equal([1, 1]);
    expect(here.calls('run')).to.equal(3);
  });

  it('tells attributes, types and shapes apart', () => {
    const { backend, calls } = counting(reference);
    const results = scope(() => {
      const x = tensor([1, 2], [2], { backend });
      const y = tensor(new Float64Array([1, 2]), [2], { backend });
      const all = [ops.scale(x, 0), ops.scale(x, -0), ops.scale(x, 0.1), ops.scale(x, 0.2), ops.scale(y, 0)];
      all.push(ops.scale(ops.reshape(x, [2, 1]), 0), ops.scale(ops.reshape(x, [1, 2]), 0));
      return all.map((result) => [result.dtype, result.shape.join(), ...result.dataSync()]);
    });
    expect(calls('prepare')).to.equal(7);
    expect(results).to.deep.equal([
      ['f32', '2', 0, 0],
      ['f32', '2', -0, -0],
      ['f32', '2', Math.fround(0.1), Math.fround(0.2)],
      ['f32', '2', Math.fround(0.2), Math.fround(0.4)],
      ['f64', '2', 0, 0],
      ['f32', '2,1', 0, 0],
      ['f32', '1,2', 0, 0],
    ]);
  });

  it('refuses what does not fit, also beside what did', () =>
    scope(() => {
      const x = tensor([1, 2, 3, 4], [2, 2], { backend: reference });
      const y = tensor([1, 2], [2], { backend: reference });
      expect(ops.pad(x, [1, 0], [0, 0]).shape).to.deep.equal([3, 2]);
      // The same numbers in the same order, otherwise divided.
      expect(() => ops.pad(x, [1], [0, 0, 0])).to.throw(ShapeError);
      ops.linear(x, x);
      expect(() => ops.linear(x, tensor([1, 2, 3], [1, 3], { backend: reference }))).to.throw(ShapeError);
      if (devices[0] === undefined) return;
      const elsewhere = tensor([1, 2], [2], { backend: devices[0] });
      ops.add(y, y);
      expect(() => ops.add(y, elsewhere)).to.throw(ArgumentError, 'two devices');
    }));

  it("keeps no array of the caller's", () =>
    scope(() => {
      const x = tensor([1, 2, 3, 4], [4], { backend: reference });
      const shape = [2, 2];
      const first = ops.reshape(x, shape);
      shape[0] = 1;
      shape[1] = 4;
      const second = ops.reshape(x, shape);
      expect([first.shape, second.shape]).to.deep.equal([
        [2, 2],
        [1, 4],
      ]);
      expect(ops.reshape(x, [2, 2]).shape).to.deep.equal([2, 2]);
    }));

  it('takes attributes of any form from an op that is not ours', () => {
    const nested = defineOp<{ readonly to: { readonly shape: Shape } }>()({
      name: 'reshape',
      inputs: ['x'],
      outputs: ['y'],
      view: true,
      infer: ([x], { to }) => [aval(to.shape, x!.dtype)],
      encode: ({ to }) => to.shape,
      vjp: { none: 'only for this test' },
    });
    scope(() => {
      const x = tensor([1, 2, 3, 4], [4], { backend: reference });
      const shapes = [
        [2, 2],
        [1, 4],
        [2, 2],
      ].map((shape) => apply(nested, [x], { to: { shape } })[0]?.shape);
      expect(shapes).to.deep.equal([
        [2, 2],
        [1, 4],
        [2, 2],
      ]);
    });
  });

  it('forgets the programs used least recently, and all signatures when they are many', () => {
    const { backend, calls } = counting(reference);
    scope(() => {
      const x = tensor([1], [1], { backend });
      const factor = (i: number) => scope(() => ops.scale(x, i + 0.5).dataSync()[0]);
      for (let i = 0; i < 2048; i++) factor(i);
      expect(calls('forget')).to.equal(0);
      expect(factor(0)).to.equal(0.5);
      expect(factor(2048)).to.equal(2048.5); // in place of the one for 1
      expect([calls('prepare'), calls('forget')]).to.deep.equal([2049, 1]);
      factor(0);
      expect(calls('prepare')).to.equal(2049);
      factor(1);
      expect(calls('prepare')).to.equal(2050);
      for (let i = 3000; i < 8000; i++) expect(factor(i)).to.equal(i + 0.5);
      expect(calls('prepare') - calls('forget')).to.equal(2048);
    });
  });

  for (const backend of [reference, ...devices]) {
    it(`neither takes nor leaves memory over 100 steps, on ${backend.name}`, async () => {
      const held = memory().tensors;
      const step = () =>
        scope(() => {
          const x = tensor(new Float32Array(2 * 8 * 8 * 4).fill(0.5), [2, 8, 8, 4], { backend });
          const kernel = tensor(new Float32Array(4 * 3 * 3).fill(0.1), [4, 3, 3, 1], { backend });
          const y = ops.relu(ops.conv2d(x, kernel, { groups: 4, padding: 'same' }));
          return ops.sum(ops.add(y, x)).dataSync()[0];
        });
      const expected = step();
      await backend.sync();
      const before = backend.memory();
      for (let i = 0; i < 100; i++) expect(step()).to.equal(expected);
      await backend.sync();
      expect(backend.memory()).to.deep.equal(before);
      expect(memory().tensors).to.equal(held);
    });
  }
});
