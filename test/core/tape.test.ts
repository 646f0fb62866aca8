// Reverse-mode differentiation as such; the rules of single ops are tested with the ops.

import { expect } from 'chai';
import { setDefaultBackend } from '../../lib/core/device.ts';
import { ArgumentError, ShapeError, UnsupportedError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { scope } from '../../lib/core/scope.ts';
import { grad, valueAndGrad, withoutGradient } from '../../lib/core/tape.ts';
import { type Tensor, tensor, variable } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { reference } from '../support/devices.ts';

const f64 = (data: number[], shape?: number[]) => tensor(data, shape, { dtype: 'f64' });
const values = (t: Tensor | undefined) => [...(t as Tensor).dataSync()];

describe('valueAndGrad', () => {
  let before: number;
  beforeEach(() => {
    setDefaultBackend(reference);
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

  inScope('differentiates with respect to the arguments', () => {
    const { value, grads } = valueAndGrad((x: Tensor) => ops.sum(ops.square(x)))(f64([1, 2, 3]));
    expect(values(value)).to.deep.equal([14]);
    expect(values(grads[0])).to.deep.equal([2, 4, 6]);
  });

  inScope('adds up the ways by which a value reaches the loss', () => {
    const [g] = grad((x: Tensor) => ops.sum(ops.add(ops.multiply(x, x), ops.scale(x, 3))))(f64([2, -1]));
    expect(values(g)).to.deep.equal([7, 1]);
  });

  inScope('takes the same tensor as both operands', () => {
    const [g] = grad((x: Tensor) => ops.sum(ops.subtract(x, x)))(f64([5]));
    expect(values(g)).to.deep.equal([0]);
  });

  inScope('gives zeros where the loss does not depend on a tensor', () => {
    const [gx, gy] = grad((x: Tensor, _y: Tensor) => ops.sum(x))(f64([1]), f64([1, 2]));
    expect(values(gx)).to.deep.equal([1]);
    expect(values(gy)).to.deep.equal([0, 0]);
  });

  inScope('differentiates with respect to a value on the way', () => {
    const y = f64([3]);
    const [gy] = grad((x: Tensor) => ops.sum(ops.square(ops.multiply(x, y))), [y])(f64([2]));
    expect(values(gy)).to.deep.equal([24]);
  });

  inScope('can be the loss itself', () => {
    const [g] = grad((x: Tensor) => x)(f64([3], []));
    expect(values(g)).to.deep.equal([1]);
  });

  inScope('differentiates a gradient again', () => {
    // d/dx of (3x^2)^2 is 36x^3
    const [g] = grad((x: Tensor) => {
      const [inner] = grad((y: Tensor) => ops.sum(ops.multiply(ops.square(y), y)))(x);
      return ops.sum(ops.square(inner as Tensor));
    })(f64([2]));
    expect(values(g)).to.deep.equal([288]);
  });

  inScope('treats as constant what withoutGradient computes', () => {
    const [g] = grad((x: Tensor) =>
      ops.sum(
        ops.multiply(
          x,
          withoutGradient(() => ops.scale(x, 10)),
        ),
      ),
    )(f64([2]));
    expect(values(g)).to.deep.equal([20]);
  });

  inScope('gives what the function returns beside the loss', () => {
    const f = valueAndGrad((x: Tensor) => ({ value: ops.sum(x), aux: { doubled: ops.scale(x, 2) } }));
    expect(values(f(f64([4])).aux.doubled)).to.deep.equal([8]);
  });

  inScope('uses the value a variable had when it was read', () => {
    const v = variable([2], [1], { dtype: 'f64' });
    const { grads } = valueAndGrad(() => {
      const y = ops.square(v);
      v.assign(f64([100]));
      return ops.sum(y);
    }, [v])();
    expect(values(grads[0])).to.deep.equal([4]);
    v.dispose();
  });

  inScope('refuses a loss that is not a scalar', () => {
    expect(() => grad((x: Tensor) => x)(f64([1, 2]))).to.throw(ShapeError, 'f64[2]');
  });

  inScope('refuses to differentiate with respect to integers', () => {
    const labels = tensor(new Int32Array(1));
    expect(() => valueAndGrad((x: Tensor) => ops.sum(x), [labels])(f64([1]))).to.throw(
      ArgumentError,
      'i32[1]',
    );
  });

  inScope('refuses an op without a gradient, naming it, and frees what it kept', () => {
    const one = f64([1]);
    expect(() => grad((w: Tensor) => ops.sum(ops.sgdUpdate(w, one, f64([1], []))))(f64([1]))).to.throw(
      UnsupportedError,
      'sgdUpdate: has no gradient',
    );
  });

  inScope('refuses an output that gradients do not pass through', () => {
    const one = () => f64([1]);
    expect(() =>
      grad((sum: Tensor) => {
        const sums = { sum, sumSquares: one() };
        return ops.sum(ops.batchNormFinalize(sums, one(), one(), one(), one(), 1).mean);
      })(one()),
    ).to.throw(UnsupportedError, 'no gradient passes through its output mean');
  });

  it('keeps alive only what the rules read', () => {
    // relu's rule reads its output; the scaled value before it is freed with its scope.
    const x = f64([1, -1, 2]);
    let during = 0;
    scope(() => {
      const start = memory().tensors;
      valueAndGrad((a: Tensor) => {
        const y = scope(() => ops.relu(ops.scale(a, 2)));
        during = memory().tensors - start;
        return ops.sum(y);
      })(x);
      return undefined;
    });
    expect(during).to.equal(1);
    x.dispose();
  });
});
