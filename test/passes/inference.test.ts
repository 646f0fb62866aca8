// Foldings and hoisting: that a network whose weights hold still becomes convolutions with epilogues, that what depends
// on the weights alone is computed once, and that a changed weight is noticed.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { applyOne } from '../../lib/core/apply.ts';
import { type Aval, byteLength } from '../../lib/core/aval.ts';
import { compile } from '../../lib/core/compile.ts';
import { withBackend } from '../../lib/core/device.ts';
import { memory } from '../../lib/core/memory.ts';
import { scope } from '../../lib/core/scope.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import {
  BatchNorm,
  Conv2d,
  ForwardContext,
  maxPool,
  Residual,
  relu,
  SeparableConv2d,
  Sequential,
} from '../../lib/nn/index.ts';
import { ops } from '../../lib/ops/index.ts';
import { conv2dBiasOp } from '../../lib/ops/inference.ts';
import { devices, reference } from '../support/devices.ts';
import { relativeError } from '../support/fixtures.ts';

/** A module as in the entry flow of Xception, with statistics that are not those of the start. */
function network() {
  const separable = (name: string, inputs: number, outputs: number) =>
    new Sequential(
      [name, new SeparableConv2d(inputs, outputs, { kernel: 3, padding: 'same' })],
      [`${name}_bn`, new BatchNorm(outputs)],
    );
  return new Sequential(
    ['conv', new Conv2d(3, 8, { kernel: 3 })],
    ['conv_bn', new BatchNorm(8)],
    relu(),
    new Residual(
      new Sequential(separable('a', 8, 16), relu(), separable('b', 16, 16), maxPool(3, 2, 'same')),
      new Sequential(
        ['shortcut', new Conv2d(8, 16, { kernel: 1, stride: 2, padding: 'same' })],
        ['shortcut_bn', new BatchNorm(16)],
      ),
    ),
    new Residual(new Sequential(relu(), separable('c', 16, 16))),
  );
}

/** The reference backend, packing filters of one kind of op by copying them; what it is asked is kept in `asked`. */
function packingReference(packs: string, asked: string[]): Backend {
  const packedBytes: Backend['packedBytes'] = (op, [, w]) => {
    asked.push(op.name);
    return op.name === packs ? byteLength(w as Aval) : undefined;
  };
  return new Proxy(reference, {
    get: (backend, key) => {
      if (key === 'packedBytes') return packedBytes;
      const member: unknown = Reflect.get(backend, key, backend);
      return typeof member === 'function' ? member.bind(backend) : member;
    },
  });
}

describe('normalization without scale', () => {
  it('is folded into the filters, and its constant is computed once', async () => {
    const layers = new Sequential(
      ['conv', new Conv2d(3, 8, { kernel: 3 })],
      ['bn', new BatchNorm(8, { scale: false })],
      relu(),
    ).to(reference, { seed: 4 });
    const [x, other] = [1, 2].map((value) =>
      tensor(new Float32Array(75).fill(value), [1, 5, 5, 3], { backend: reference }),
    ) as [Tensor, Tensor];
    const forward = (image: Tensor) => layers.forward(image, new ForwardContext());
    using compiled = compile(forward);
    const names = compiled.program(x).instructions.map(({ op }) => op.name);
    expect(names).to.deep.equal(['conv2dBias']);
    for (const image of [x, other]) {
      const [got, expected] = [compiled(image), scope(() => forward(image))];
      expect(relativeError(await got.data(), await expected.data())).to.be.lessThan(1e-6);
      got.dispose();
      expected.dispose();
    }
    for (const owner of [x, other, layers]) owner.dispose();
  });
});

describe('packing of filters', () => {
  for (const [op, packed, count] of [
    ['conv2dBias', 'conv2dPacked', 3],
    ['conv2dBiasAdd', 'conv2dPackedAdd', 2],
  ] as const) {
    it(`puts ${op} with weights that hold still into the backend's layout, once`, () => {
      const asked: string[] = [];
      const backend = packingReference(op, asked);
      withBackend(backend, () =>
        scope(() => {
          const net = network().to(backend, { seed: 4 });
          const forward = (x: Tensor) => net.forward(x, new ForwardContext());
          using plain = compile(forward, { passes: 'none' });
          using rewritten = compile(forward);
          const x = tensor(
            Float32Array.from({ length: 2 * 11 * 11 * 3 }, (_, i) => Math.sin(i)),
            [2, 11, 11, 3],
          );
          const names = rewritten.program(x).instructions.map(({ op: { name } }) => name);
          expect(asked.filter((name) => name === op)).to.have.lengthOf(count);
          expect(names.filter((name) => name === packed)).to.have.lengthOf(count);
          expect(names).to.not.include(op);
          expect(names, 'is not done at each run').to.not.include('packFilters');
          const expected = plain(x).dataSync() as Float32Array;
          expect(relativeError(rewritten(x).dataSync() as Float32Array, expected)).to.be.below(1e-6);
          net.dispose();
        }),
      );
    });
  }

  it('leaves filters alone that come with each run', () => {
    const asked: string[] = [];
    const backend = packingReference('conv2dBias', asked);
    withBackend(backend, () =>
      scope(() => {
        using compiled = compile((x: Tensor, w: Tensor, bias: Tensor) =>
          applyOne(conv2dBiasOp, [x, w, bias], {
            stride: [1, 1],
            padding: [0, 0, 0, 0],
            dilation: [1, 1],
            groups: 1,
            relu: false,
          }),
        );
        const operands = [[1, 2, 2, 3], [4, 1, 1, 3], [4]].map((shape) => ops.zeros(shape)) as [
          Tensor,
          Tensor,
          Tensor,
        ];
        const names = compiled.program(...operands).instructions.map(({ op }) => op.name);
        expect(names).to.deep.equal(['conv2dBias']);
        expect(asked).to.deep.equal([]);
      }),
    );
  });
});

for (const backend of [reference, ...devices]) {
  describe(`inference programs on ${backend.name}`, () => {
    const run = (body: () => void) => () => withBackend(backend, () => scope(body));
    const image = () =>
      tensor(
        Float32Array.from({ length: 2 * 11 * 11 * 3 }, (_, i) => Math.sin(i * 0.7)),
        [2, 11, 11, 3],
      );
    const ready = () => {
      const made = network().to(backend, { seed: 4 });
      for (const [path, statistic] of made.statistics()) {
        const shift = path.endsWith('var') ? 1.5 : 0.1;
        statistic.set(Float32Array.from({ length: statistic.size }, (_, i) => shift + 0.3 * Math.cos(i)));
      }
      return made;
    };

    it(
      'fold every normalization, and give the same',
      run(() => {
        const net = ready();
        const forward = (x: Tensor) => net.forward(x, new ForwardContext());
        using plain = compile(forward, { passes: 'none' });
        using folded = compile(forward);
        const x = image();
        const names = folded.program(x).instructions.map(({ op }) => op.name);
        if (backend === reference) {
          expect(names).to.not.include.members(['channelAffine']);
          expect(names.filter((name) => name.startsWith('conv2dBias')).length).to.equal(5);
          expect(names.filter((name) => name === 'conv2dBiasAdd').length).to.equal(2);
          expect(names).to.not.include.members(['batchNormFold', 'filterMultiply']);
        }
        const expected = plain(x).dataSync() as Float32Array;
        expect(relativeError(folded(x).dataSync() as Float32Array, expected)).to.be.below(1e-6);
        net.dispose();
      }),
    );

    it(
      'notice a weight that has changed, and only then compute anew',
      run(() => {
        const net = ready();
        const forward = (x: Tensor) => net.forward(x, new ForwardContext());
        using folded = compile(forward);
        const x = image();
        const first = [...folded(x).dataSync()];
        expect([...folded(x).dataSync()]).to.deep.equal(first);
        const gamma = net.parameters().get('c_bn.gamma');
        gamma?.set(new Float32Array(16).fill(3));
        const second = folded(x).dataSync() as Float32Array;
        expect([...second]).to.not.deep.equal(first);
        expect(relativeError(second, scope(() => forward(x)).dataSync() as Float32Array)).to.be.below(1e-6);
        net.dispose();
      }),
    );

    it(
      'leave a program alone that changes its weights, and gradients with respect to them',
      run(() => {
        const net = ready();
        const parameters = [...net.parameters().values()];
        const loss = (x: Tensor) => ops.mean(ops.square(net.forward(x, new ForwardContext())));
        using plain = compile(valueAndGrad(loss, parameters), { passes: 'none' });
        using rewritten = compile(valueAndGrad(loss, parameters));
        const x = image();
        const [a, b] = [plain(x), rewritten(x)];
        a.grads.forEach((g, i) => {
          const got = (b.grads[i] as Tensor).dataSync() as Float32Array;
          expect(relativeError(got, g.dataSync() as Float32Array)).to.be.below(1e-5);
        });
        const [weight] = parameters as [(typeof parameters)[number]];
        using step = compile((input: Tensor) => {
          const y = net.forward(input, new ForwardContext());
          weight.assign(ops.scale(weight, 0.5));
          return y;
        });
        const before = [...step(x).dataSync()];
        expect([...step(x).dataSync()]).to.not.deep.equal(before);
        net.dispose();
      }),
    );

    it(
      'free what they had computed once',
      run(() => {
        const { tensors } = memory();
        const net = ready();
        const folded = compile((x: Tensor) => net.forward(x, new ForwardContext()));
        scope(() => {
          folded(image());
          return undefined;
        });
        folded.dispose();
        net.dispose();
        expect(memory().tensors).to.equal(tensors);
      }),
    );
  });
}
