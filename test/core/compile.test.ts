// compile: that a traced function does what it does eagerly, and what it captures, assigns and frees.

import { expect } from 'chai';
import { compile } from '../../lib/core/compile.ts';
import { setDefaultBackend, withBackend } from '../../lib/core/device.ts';
import { ArgumentError, DisposedError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { showProgram } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor, variable } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { devices, reference } from '../support/devices.ts';

for (const backend of [reference, ...devices]) {
  const { name } = backend;
  describe(`compile on ${name}`, () => {
    let before: number;
    beforeEach(() => {
      setDefaultBackend(backend);
      before = memory().tensors;
    });
    afterEach(() => {
      expect(memory().tensors, 'tensors alive after the test').to.equal(before);
      setDefaultBackend(undefined);
    });
    const inScope = (what: string, body: () => void) =>
      it(what, () => {
        scope(() => {
          body();
          return undefined;
        });
      });
    const values = (t: Tensor) => [...t.dataSync()];

    inScope('gives the structure and the values of the function', () => {
      using f = compile((x: Tensor, k: number) => ({ y: [ops.scale(x, k)], same: x, k }));
      const x = tensor([1, 2]);
      for (const k of [2, 3, 2]) {
        const result = f(x, k);
        expect(values(result.y[0]!)).to.deep.equal([k, 2 * k]);
        expect(values(result.same)).to.deep.equal([1, 2]);
        expect(result.k).to.equal(k);
      }
    });

    inScope('traces once per shape', () => {
      let traces = 0;
      using f = compile((x: Tensor) => {
        traces += 1;
        return ops.square(x);
      });
      for (const n of [2, 3, 2, 3]) expect(values(f(tensor(new Float32Array(n).fill(n))))[0]).to.equal(n * n);
      expect(traces).to.equal(2);
    });

    inScope('reads variables anew and keeps other tensors from outside as they were', () => {
      const v = variable([1], [1]);
      const constant = tensor([10]);
      using f = compile((x: Tensor) => ops.add(ops.multiply(x, v), constant));
      expect(values(f(tensor([2])))).to.deep.equal([12]);
      v.set([5]);
      constant.dispose();
      expect(values(f(tensor([2])))).to.deep.equal([20]);
      v.dispose();
    });

    inScope('assigns variables, in place where the op allows it', () => {
      const w = variable([1, 2], [2]);
      using f = compile((g: Tensor, lr: Tensor) => {
        w.assign(ops.sgdUpdate(w, g, lr));
        return ops.sum(w);
      });
      const g = tensor([1, 1]);
      const lr = tensor(0.5);
      expect(values(f(g, lr))).to.deep.equal([2]);
      const bytes = memory().bytes;
      expect(values(f(g, lr))).to.deep.equal([1]);
      expect(values(w)).to.deep.equal([0, 1]);
      expect(memory().bytes).to.equal(bytes + 4); // the returned sum alone: no second copy of w
      const alias = w.alias(); // somebody else views the memory now, so it must not be overwritten
      f(g, lr);
      expect(values(alias)).to.deep.equal([0, 1]);
      expect(values(w)).to.deep.equal([-0.5, 0.5]);
      alias.dispose();
      w.dispose();
    });

    inScope('returns an assigned value and a value returned twice', () => {
      const v = variable([1], [1]);
      using f = compile(() => {
        const next = ops.scale(v, 2);
        v.assign(next);
        return [next, next, v];
      });
      const [a, b, c] = f();
      v.set([0]);
      expect([a, b, c].map((t) => values(t!)[0])).to.deep.equal([2, 2, 2]);
      v.dispose();
    });

    inScope('compiles a gradient, with the numbers of the eager one', () => {
      const w = variable([0.5, -1, 2, 0.25], [2, 2]);
      const loss = (x: Tensor) => ops.mean(ops.square(ops.relu(ops.linear(x, w))));
      const x = tensor([1, 2, 3, -4, 5, 6], [3, 2]);
      const eager = valueAndGrad(loss, [w])(x);
      using step = compile(valueAndGrad(loss, [w]));
      const compiled = step(x);
      expect(values(compiled.value)).to.deep.equal(values(eager.value));
      expect(values(compiled.grads[0]!)).to.deep.equal(values(eager.grads[0]!));
      w.dispose();
    });

    inScope('is part of the program when called while tracing', () => {
      using inner = compile((x: Tensor) => ops.scale(x, 2));
      using outer = compile((x: Tensor) => ops.scale(inner(x), 3));
      expect(values(outer(tensor([1])))).to.deep.equal([6]);
      expect(outer.program(tensor([1])).instructions.length).to.equal(2);
    });

    inScope('shares arena memory between values that never live at once', () => {
      const chain = (x: Tensor) => {
        let y = x;
        for (let i = 0; i < 10; i += 1) y = ops.scale(y, 1.5);
        return y;
      };
      const x = tensor(new Float32Array(1024).fill(1));
      using inPlace = compile(chain);
      expect(inPlace.program(x).plan.arenaBytes).to.equal(4096);
      using apart = compile(chain, { passes: { without: ['in-place reuse'] } });
      expect(apart.program(x).plan.arenaBytes).to.equal(2 * 4096);
      expect(showProgram(apart.program(x))).to.contain('= scale(%0) {factor=1.5}  # 8192 bytes');
      expect(values(inPlace(x))).to.deep.equal(values(apart(x)));
    });

    inScope('leaves a variable alone that comes as an argument too', () => {
      const w = variable([1, 2], [2]);
      using f = compile((x: Tensor, g: Tensor, lr: Tensor) => {
        w.assign(ops.sgdUpdate(w, g, lr));
        return ops.add(x, w);
      });
      expect(values(f(w, tensor([1, 1]), tensor(0.5)))).to.deep.equal([1.5, 3.5]);
      expect(values(w)).to.deep.equal([0.5, 1.5]);
      w.dispose();
    });

    inScope('refuses to look at a traced tensor, an asynchronous function, and use after dispose()', () => {
      const x = tensor([1]);
      using looks = compile((a: Tensor) => tensor(values(a)));
      expect(() => looks(x)).to.throw(ArgumentError, 'is being traced');
      using waits = compile(async (a: Tensor) => a);
      expect(() => waits(x)).to.throw(ArgumentError, 'asynchronous');
      const gone = compile((a: Tensor) => ops.relu(a));
      gone.dispose();
      expect(() => gone(x)).to.throw(DisposedError);
    });

    inScope('frees what failed tracing had captured', () => {
      const constant = tensor([1]);
      using f = compile((a: Tensor) => {
        ops.add(a, constant);
        throw new Error('on purpose');
      });
      expect(() => f(tensor([1]))).to.throw('on purpose');
    });
  });
}

describe('compile', () => {
  it('refuses the name of a pass that does not exist', () => {
    const misnamed = () => compile((x: Tensor) => x, { passes: { without: ['dead cod'] } });
    expect(misnamed).to.throw(ArgumentError, 'passes: "dead cod" is none of "dead code", ');
  });

  it('holds nothing after dispose()', () => {
    for (const backend of [reference, ...devices]) {
      withBackend(backend, () => {
        const { tensors } = memory();
        const f = compile((x: Tensor) => ops.add(x, tensor([7])));
        scope(() => {
          f(tensor([1]));
          return undefined;
        });
        f.dispose();
        expect(memory().tensors).to.equal(tensors);
      });
    }
  });
});
