// Flat variables: parts that share one block of memory, and what becomes of it when they are used one by one.

import { expect } from 'chai';
import { compile } from '../../lib/core/compile.ts';
import { setDefaultBackend } from '../../lib/core/device.ts';
import { ArgumentError, DisposedError } from '../../lib/core/errors.ts';
import { divide, type FlatVariable, flatLayout, gather, readAll } from '../../lib/core/flat.ts';
import { memory } from '../../lib/core/memory.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor, type Variable, variable } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { devices, reference } from '../support/devices.ts';

describe('the layout of flat variables', () => {
  it('has every part begin at a multiple of 128 bytes', () => {
    expect(flatLayout([[3], [32], [], [5, 7]])).to.deep.equal({ starts: [0, 32, 64, 96], size: 160 });
  });
});

for (const backend of [reference, ...devices]) {
  describe(`flat variables on ${backend.name}`, () => {
    let before: ReturnType<typeof memory>;
    let a: Variable;
    let b: Variable;
    let flat: FlatVariable;
    beforeEach(() => {
      setDefaultBackend(backend);
      before = memory(backend);
      a = variable([1, 2], [2]);
      b = variable([3, 4, 5], [3, 1]);
      flat = gather([a, b]);
    });
    afterEach(() => {
      for (const each of [flat, a, b]) each.dispose();
      const { tensors, bytes, backend: native } = memory(backend);
      expect({ tensors, bytes }, 'held after the test').to.deep.equal({
        tensors: before.tensors,
        bytes: before.bytes,
      });
      expect([native?.buffers, native?.live]).to.deep.equal([before.backend?.buffers, before.backend?.live]);
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
    const whole = () => {
      const all = values(flat);
      expect(all.length).to.equal(64);
      expect([...all.slice(2, 32), ...all.slice(35)].every((x) => x === 0 || Object.is(x, -0))).to.equal(
        true,
      );
      return [...all.slice(0, 2), ...all.slice(32, 35)];
    };
    const doubled = () => ops.scale(flat, 2);

    inScope('holds the values of its parts in one block', () => {
      expect(whole()).to.deep.equal([1, 2, 3, 4, 5]);
      expect([values(a), values(b)]).to.deep.equal([
        [1, 2],
        [3, 4, 5],
      ]);
      expect(b.shape).to.deep.equal([3, 1]);
      expect(memory().tensors).to.equal(before.tensors + 1);
      expect(memory().bytes).to.equal(before.bytes + 64 * 4);
    });

    inScope('gives its parts what it is assigned', () => {
      flat.assign(doubled());
      expect([values(a), values(b)]).to.deep.equal([
        [2, 4],
        [6, 8, 10],
      ]);
      expect(memory().tensors, 'the block of the doubled tensor').to.equal(before.tensors + 1);
    });

    inScope('takes what its parts are assigned', () => {
      b.set([7, 8, 9]);
      expect(whole()).to.deep.equal([1, 2, 7, 8, 9]);
      a.assign(tensor([-1, -2]));
      b.assign(ops.scale(b, 2));
      expect(whole()).to.deep.equal([-1, -2, 14, 16, 18]);
      expect(memory().bytes - before.bytes, 'with the two tensors of this scope').to.equal(64 * 4 + 8 + 12);
    });

    inScope('is updated in place by a compiled function, its parts with it', () => {
      const v = { a: a.version, b: b.version };
      using step = compile((rate: Tensor) => {
        flat.assign(ops.sgdUpdate(flat, ops.flatten([ops.square(a), ops.square(b)]), rate));
        return ops.sum(a);
      });
      const rate = tensor(1);
      const program = step.program(rate);
      expect(program.inputs.length, 'rate and the flat variable').to.equal(2);
      expect(program.parts?.length).to.equal(2);
      expect(values(step(rate)), 'the sum of the new a').to.deep.equal([-2]);
      const { bytes } = memory();
      scope(() => void step(rate));
      expect(memory().bytes).to.equal(bytes);
      expect(whole()).to.deep.equal([0, -6, -42, -156, -420]);
      expect(values(b)).to.deep.equal([-42, -156, -420]);
      expect(a.version).to.be.above(v.a);
      expect(b.version).to.be.above(v.b);
    });

    inScope('leaves an alias of a part, and of itself, as they were', () => {
      using step = compile((rate: Tensor) => {
        flat.assign(ops.sgdUpdate(flat, flat, rate));
        return ops.scale(rate, 1);
      });
      const half = tensor(0.5);
      const alias = a.alias();
      step(half);
      expect(values(alias)).to.deep.equal([1, 2]);
      const of = flat.alias();
      step(half);
      expect(values(of).slice(0, 2)).to.deep.equal([0.5, 1]);
      expect(values(a)).to.deep.equal([0.25, 0.5]);
      const other = variable([0, 0], [2]);
      other.assign(a);
      step(half);
      expect(values(other)).to.deep.equal([0.25, 0.5]);
      expect(whole()).to.deep.equal([0.125, 0.25, 0.375, 0.5, 0.625]);
      for (const each of [alias, of, other]) each.dispose();
    });

    inScope('leaves a part alone that comes as an argument too', () => {
      using step = compile((x: Tensor, rate: Tensor) => {
        flat.assign(ops.sgdUpdate(flat, flat, rate));
        return ops.add(x, a);
      });
      expect(values(step(a, tensor(1)))).to.deep.equal([1, 2]);
      a.set([5, 6]); // displaced: the argument is what the block takes up
      expect(values(step(a, tensor(0.5)))).to.deep.equal([7.5, 9]);
    });

    inScope('sees in one compiled function what its parts are assigned, and the other way round', () => {
      const body = () => {
        a.assign(ops.scale(a, 10));
        flat.assign(ops.scale(flat, 2));
        b.assign(ops.scale(b, 3));
        const seen = ops.scale(a, 1);
        flat.assign(ops.scale(flat, 2));
        return { seen, b: ops.scale(b, 1) };
      };
      using step = compile(body);
      const { seen, b: last } = step();
      expect([values(seen), values(last)]).to.deep.equal([
        [20, 40],
        [36, 48, 60],
      ]);
      expect(whole()).to.deep.equal([40, 80, 36, 48, 60]);
      body();
      expect(whole()).to.deep.equal([1600, 3200, 432, 576, 720]);
      step();
      expect(whole()).to.deep.equal([64000, 128000, 5184, 6912, 8640]);
    });

    inScope('gathers parts that a compiled function has assigned one by one', () => {
      using step = compile(() => {
        a.assign(ops.scale(a, 2));
        return ops.scale(flat, 1);
      });
      step();
      step();
      expect(whole()).to.deep.equal([4, 8, 3, 4, 5]);
    });

    inScope('exchanges values with another and gets them back', () => {
      const other = divide(ops.flatten([tensor([10, 20]), tensor([30, 40, 50], [3, 1])]), [[2], [3, 1]]);
      const swap = () =>
        flat.parts.forEach((part, i) => {
          const value = part.alias();
          part.assign(other.parts[i]!);
          other.parts[i]!.assign(value);
          value.dispose();
        });
      const block = flat.buffer('test');
      swap();
      expect([values(a), values(other.parts[1]!)]).to.deep.equal([
        [10, 20],
        [3, 4, 5],
      ]);
      swap();
      expect(flat.buffer('test'), 'nothing was copied').to.equal(block);
      swap();
      expect(whole()).to.deep.equal([10, 20, 30, 40, 50]); // gathered into a block of its own
      flat.assign(doubled());
      expect(values(other).slice(32, 35)).to.deep.equal([3, 4, 5]);
      for (const each of [...other.parts, other]) each.dispose();
    });

    inScope('gives its parts up to another, and gets them back when it is used', () => {
      const second = gather([b]);
      second.assign(ops.scale(second, 2));
      expect(whole()).to.deep.equal([1, 2, 6, 8, 10]);
      second.assign(ops.scale(second, 2));
      expect(values(b)).to.deep.equal([12, 16, 20]);
      using both = compile(() => {
        second.assign(ops.scale(second, 2));
        flat.assign(ops.scale(flat, 2));
      });
      expect(() => both()).to.throw(ArgumentError, 'a part of two flat variables');
      second.dispose();
      expect(whole()).to.deep.equal([1, 2, 12, 16, 20]);
    });

    inScope('leaves its parts their values when it is disposed of', () => {
      flat.dispose();
      expect(values(a)).to.deep.equal([1, 2]);
      a.set([9, 9]);
      expect(values(b)).to.deep.equal([3, 4, 5]);
      expect(() => flat.dataSync()).to.throw(DisposedError, 'f32[64]');
    });

    inScope('cannot be used when a part is gone', () => {
      using step = compile(() => flat.assign(ops.scale(flat, 2)));
      step();
      b.dispose();
      expect(() => step()).to.throw(DisposedError, 'f32[3,1]');
      expect(() => flat.assign(tensor(new Float32Array(64)))).to.throw(DisposedError, 'f32[3,1]');
      expect(values(a)).to.deep.equal([2, 4]);
    });

    it('is read at once where all of its parts are wanted', async () => {
      const alone = variable([7], [1]);
      const reads: number[] = [];
      const { read } = backend;
      Object.assign(backend, {
        read: (...[buffer, bytes]: Parameters<typeof read>) => {
          reads.push(bytes);
          return read.call(backend, buffer, bytes);
        },
      });
      const elements = async (...variables: Variable[]) => {
        reads.length = 0;
        return (await readAll(variables)).map((data) => [...data]);
      };
      try {
        expect(await elements(b, alone, a)).to.deep.equal([[3, 4, 5], [7], [1, 2]]);
        expect(reads).to.deep.equal([256, 4]);
        expect(await elements(b, alone)).to.deep.equal([[3, 4, 5], [7]]);
        expect(reads).to.deep.equal([12, 4]);
        a.set([8, 9]);
        expect(await elements(a, b)).to.deep.equal([
          [8, 9],
          [3, 4, 5],
        ]);
        expect(reads).to.deep.equal([8, 12]);
      } finally {
        Reflect.deleteProperty(backend, 'read');
      }
      alone.dispose();
    });

    it('refuses to be made of nothing, or of a tensor of another size', () => {
      expect(() => gather([])).to.throw(ArgumentError, 'at least one variable');
      scope(() => {
        expect(() => divide(tensor([1, 2]), [[2]])).to.throw(ArgumentError, 'expected [32], got [2]');
      });
    });
  });
}
