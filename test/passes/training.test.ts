// Training steps of random networks: eager, compiled as they are, and rewritten.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { type CompileOptions, compile } from '../../lib/core/compile.ts';
import { scope } from '../../lib/core/scope.ts';
import { devices, reference } from '../support/devices.ts';
import { relativeError } from '../support/testOp.ts';
import { training } from './networks.ts';

/** The losses of some steps and all tensors after the last. */
function run(
  backend: Backend,
  seed: string,
  steps: number,
  mode: 'eager' | CompileOptions['passes'],
  rate?: number,
) {
  using trained = training(backend, seed, rate);
  using compiled = mode === 'eager' ? undefined : compile(trained.step, { passes: mode ?? 'all' });
  const losses = Array.from({ length: steps }, (_, i) =>
    scope(() => (compiled ?? trained.step)(...trained.inputs(i + 1)).dataSync()[0]!),
  );
  const state = new Map([...trained.state].map(([name, variable]) => [name, [...variable.dataSync()]]));
  const rules = compiled && scope(() => compiled.rewritings(...trained.inputs(1)).map(({ rule }) => rule));
  return { losses, state, rules: rules ?? [] };
}

for (const backend of [reference, ...devices]) {
  const { name } = backend;
  describe(`training on ${name}`, () => {
    it('compiled without passes gives the bits of eager over 10 steps', () => {
      for (const seed of ['a', 'b']) {
        const [eager, plain] = [run(backend, seed, 10, 'eager'), run(backend, seed, 10, 'none')];
        expect(plain.losses, 'losses').to.deep.equal(eager.losses);
        expect(plain.state).to.deep.equal(eager.state);
        expect(plain.rules).to.deep.equal([]);
        expect(new Set(eager.losses).size, 'losses differ').to.equal(10);
      }
    });

    it('rewritten agrees at small rates: the first loss within 1e-6, ten within 2e-3', () => {
      const [eager, fused] = [run(backend, 'c', 10, 'eager', 1e-3), run(backend, 'c', 10, 'all', 1e-3)];
      const errors = eager.losses.map((loss, i) => Math.abs(fused.losses[i]! - loss) / loss);
      expect(errors[0], 'first').to.be.at.most(1e-6);
      expect(Math.max(...errors), 'all').to.be.at.most(2e-3);
    });
  });
}

describe('rewritten training', () => {
  it('of 30 random networks has the bits of before on the reference backend, and every rule has a part in it', () => {
    const rules = new Set<string>();
    for (let seed = 0; seed < 30; seed += 1) {
      const [plain, fused] = [run(reference, `${seed}`, 2, 'none'), run(reference, `${seed}`, 2, 'all')];
      expect(fused.losses, `network ${seed}`).to.deep.equal(plain.losses);
      expect(fused.state, `network ${seed}`).to.deep.equal(plain.state);
      for (const rule of fused.rules) rules.add(rule);
    }
    expect([...rules]).to.include.members([
      'depthwise backward',
      'normalize on load',
      'relu gradient with sums',
      'normalization gradient',
      'affine, pool, add',
      'pool gradient with sums',
      'affine and add',
      'affine and relu',
      'sums in epilogue',
    ]);
  });

  for (const device of devices) {
    it(`of 30 random networks agrees on ${device.name}`, () => {
      for (let seed = 0; seed < 30; seed += 1) {
        const [plain, fused] = [run(device, `${seed}`, 1, 'none'), run(device, `${seed}`, 1, 'all')];
        expect(relativeError(fused.losses, plain.losses), `network ${seed}: loss`).to.be.at.most(1e-6);
        for (const [name, values] of plain.state) {
          const error = relativeError(fused.state.get(name)!, values);
          expect(error, `network ${seed}: ${name}`).to.be.at.most(1e-4);
        }
      }
    });
  }
});
