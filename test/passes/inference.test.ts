// Foldings and hoisting: that a network whose weights hold still becomes convolutions with epilogues, that what depends
// on the weights alone is computed once, and that a changed weight is noticed.

import { expect } from 'chai';
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
