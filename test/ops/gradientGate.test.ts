// The gate of a training step: what it finds, what it shortens, and that updates leave everything as it is where it is shut.

import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { opDevices, reference } from '../support/devices.ts';

const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
const value = (x: Tensor): number => x.dataSync()[0] as number;

for (const backend of [reference, ...opDevices]) {
  const on = (body: () => void) => () => withBackend(backend, () => scope(body));

  describe(`the gate of gradients on ${backend.name}`, () => {
    it(
      'finds one number that is not finite, anywhere, in the gradient or the loss',
      on(() => {
        // 70,000: more than one part of the sum.
        for (const size of [1, 3, 4, 1030, 70_000]) {
          for (const at of [undefined, 0, size >> 1, size - 1]) {
            const g = Float32Array.from({ length: size }, (_, i) => (i % 7) - 3);
            if (at !== undefined) g[at] = bad[(at + size) % 3] as number;
            const { factor, skip } = ops.gradientGate(tensor(g), tensor(2));
            expect(value(skip), `${size}, ${at}`).to.equal(at === undefined ? 0 : 1);
            expect(value(factor), `${size}, ${at}`).to.deep.equal(at === undefined ? 1 : Number.NaN);
          }
        }
        for (const loss of bad) {
          const { factor, norm, skip } = ops.gradientGate(tensor([3, 4]), tensor(loss));
          expect([value(factor), value(norm), value(skip)]).to.deep.equal([Number.NaN, 5, 1]);
        }
      }),
    );

    it(
      'measures gradients whose squares no f32 holds',
      on(() => {
        const { factor, norm, skip } = ops.gradientGate(tensor([3e30, -4e30]), tensor(1), { clipNorm: 1 });
        expect(value(norm) / 5e30).to.be.closeTo(1, 1e-6);
        expect(value(factor) * 5e30).to.be.closeTo(1, 1e-6);
        expect(value(skip)).to.equal(0);
        const small = ops.gradientGate(tensor([3e-30, 4e-30]), tensor(1));
        expect(value(small.norm) * 1e30).to.be.closeTo(5, 1e-5);
      }),
    );

    it(
      'shortens what is longer than the bound, and divides by the number of batches',
      on(() => {
        const factorOf = (clipNorm: number, count: number) => {
          const { factor, norm } = ops.gradientGate(tensor([6, 8]), tensor(1), { clipNorm, count });
          return [value(factor), value(norm)];
        };
        expect(factorOf(0, 1)).to.deep.equal([1, 10]);
        expect(factorOf(10, 1)).to.deep.equal([1, 10]);
        expect(factorOf(5, 1)).to.deep.equal([0.5, 10]);
        expect(factorOf(0, 4)).to.deep.equal([0.25, 2.5]);
        expect(factorOf(5, 4)).to.deep.equal([0.25, 2.5]);
        expect(factorOf(1.25, 4)).to.deep.equal([0.125, 2.5]);
      }),
    );

    it(
      'lets no update change anything where it is shut, whatever the gradient',
      on(() => {
        for (const size of [1, 5, 2051]) {
          const some = (seed: number) =>
            tensor(Float32Array.from({ length: size }, (_, i) => ((i * seed) % 11) - 5.5));
          const squares = tensor(Float32Array.from({ length: size }, (_, i) => 1 + (i % 5)));
          const g = tensor(Float32Array.from({ length: size }, (_, i) => bad[i % 3] as number));
          const [w, m, lr, step] = [some(3), some(7), tensor(0.1), tensor(2)];
          const { factor } = ops.gradientGate(g, tensor(1));
          const options = { factor, weightDecay: 0.1 };
          const unchanged = (results: readonly Tensor[], before: readonly Tensor[]) => {
            results.forEach((result, i) => {
              expect([...result.dataSync()]).to.deep.equal([...before[i]!.dataSync()]);
            });
          };
          unchanged([ops.sgdUpdate(w, g, lr, options)], [w]);
          unchanged(Object.values(ops.momentumUpdate(w, g, m, lr, options)), [w, m]);
          unchanged(Object.values(ops.rmspropUpdate(w, g, squares, lr, options)), [w, squares]);
          const rmsprop = ops.rmspropMomentumUpdate(w, g, squares, m, lr, options);
          unchanged([rmsprop.w, rmsprop.v, rmsprop.m], [w, squares, m]);
          const adam = ops.adamUpdate(w, g, m, squares, lr, step, options);
          unchanged([adam.w, adam.m, adam.v], [w, m, squares]);
        }
      }),
    );

    it(
      'is the factor of the gradient alone, not of the decay',
      on(() => {
        const [w, g, lr] = [tensor([1, 2]), tensor([10, 20]), tensor(0.5)];
        const updated = ops.sgdUpdate(w, g, lr, { factor: tensor(0.25), weightDecay: 0.5 });
        expect([...updated.dataSync()]).to.deep.equal([1 - 0.5 * (2.5 + 0.5), 2 - 0.5 * (5 + 1)]);
      }),
    );
  });
}
