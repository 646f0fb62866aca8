// The fixtures' loaders: what is recorded can tell right from wrong before any test leans on it.
import { readdirSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { forwardFixture, photographs, recordedWeights, trainingFixture, updatesFixture } from './fixtures.ts';
import { generate } from './generator.ts';

/** What the tests of each network hold, and how far mistakes are beyond that. */
const networks = [
  { network: 'xception', smallest: 71, bar: 5e-5, times: 10, gradients: ['batch', 'pair'] },
  { network: 'inception_v3', smallest: 75, bar: 3e-4, times: 3, gradients: ['batch'] },
] as const;

for (const { network, smallest, bar, times, gradients } of networks) {
  describe(`support: fixtures of ${network}`, () => {
    it('forward: outputs tell images apart, and every mistake exceeds the tolerances several times', () => {
      const cases = forwardFixture(network);
      expect(cases.map(({ size }) => size)).to.deep.equal([299, 150, 96, smallest]);
      for (const { size, spread, logits, probabilities, mistakes, float32Error, images } of cases) {
        expect(logits.length).to.equal(80);
        expect(spread).to.be.greaterThan(0.05);
        expect(float32Error.probability).to.be.lessThan(bar);
        for (const { probability, logit } of Object.values(mistakes)) {
          expect(probability).to.be.greaterThan(times * bar);
          expect(logit).to.be.greaterThan(1e-3);
        }
        for (let image = 0; image < 8; image++) {
          const row = logits.subarray(10 * image, 10 * image + 10);
          const exponentials = Array.from(row, (v) => Math.exp(v - Math.max(...row)));
          const sum = exponentials.reduce((s, v) => s + v, 0);
          exponentials.forEach((v, i) => {
            expect(probabilities[10 * image + i]).to.be.closeTo(v / sum, 1e-6);
          });
        }
        if (size === smallest) expect(images().length).to.equal(8 * size * size * 3);
      }
    });

    it('training: photographs, losses, gradients and statistics fit together', () => {
      const { images, labels } = photographs();
      expect(images.shape).to.deep.equal([40, 96, 96, 3]);
      expect([...labels.data].sort()).to.deep.equal(Array.from({ length: 40 }, (_, i) => Math.floor(i / 4)));
      const fixture = trainingFixture(network);
      const [batch] = fixture.gradients;
      expect(fixture.gradients.map(({ name }) => name)).to.deep.equal(gradients);
      expect(batch!.pixels.data).to.deep.equal(images.data.subarray(0, batch!.pixels.data.length));
      for (const run of fixture.runs) {
        expect(run.losses).to.have.length(fixture.steps);
        expect(run.losses[0]! / batch!.loss).to.be.closeTo(1, 1e-6);
      }
      const weights = recordedWeights(network, { gain: 1 });
      for (const { parameters } of fixture.gradients) {
        const trainable = [...weights.keys()].filter((name) => !name.includes('.running_'));
        expect([...parameters.keys()].sort()).to.deep.equal(trainable.sort());
        for (const [name, shape] of parameters) expect(shape).to.deep.equal(weights.get(name)!.shape);
      }
      for (const [name, before] of fixture.statisticsBefore) {
        expect(before).to.deep.equal(weights.get(name)!.data);
        expect(fixture.statisticsAfter.get(name)).not.to.deep.equal(before);
      }
    });
  });
}

describe('support: fixtures', () => {
  it('take less than 8 MB', () => {
    const folder = new URL('../fixtures/', import.meta.url);
    const sizes = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map(
      (name) => statSync(new URL(name, folder)).size,
    );
    expect(sizes.reduce((sum, size) => sum + size, 0)).to.be.lessThan(8e6);
  });

  it('training: a gradient of another origin is far from the recorded ones', () => {
    const [batch] = trainingFixture().gradients;
    for (const name of [
      'block1_conv1.weight',
      'block8_sepconv2.pointwise.weight',
      'block9_sepconv1_bn.beta',
    ]) {
      const shape = batch!.parameters.get(name)!;
      const { toKeras, toFloat64, kerasToFloat64, kerasToFloat64Ulp } = batch!.compare(
        name,
        generate('x', shape, 1),
      );
      expect(Math.min(toKeras, toFloat64)).to.be.greaterThan(0.5);
      expect(kerasToFloat64).to.be.at.most(kerasToFloat64Ulp).and.lessThan(2e-2);
    }
    expect(() => batch!.compare('block1_conv1.weight', [1])).to.throw('expected 864');
  });

  it('updates: a rule without its momentum, nesterov or L2 gives other weights', () => {
    const { cases, initial, gradients } = updatesFixture();
    const all = cases.map(({ expected }) => [...expected.get('b')!].join());
    // PyTorch and Keras agree bit for bit on some of the SGD cases, on nothing else.
    const rules = new Map(cases.map((c, i) => [JSON.stringify({ ...c, framework: 0, expected: 0 }), all[i]]));
    expect(new Set(rules.values()).size).to.equal(rules.size);
    for (const { expected } of cases) {
      for (const [name, { data }] of initial) {
        expect(expected.get(name)!.length).to.equal(data.length);
        expect(gradients(1).get(name)!.length).to.equal(data.length);
      }
    }
  });

  it('updates: plain SGD with L2 is what its formula says', () => {
    const { cases, steps, initial, gradients } = updatesFixture();
    for (const c of cases) {
      if (c.rule !== 'sgd' || c.momentum !== 0) continue;
      for (const [name, { data }] of initial) {
        const weights = Float64Array.from(data);
        for (let step = 1; step <= steps; step++) {
          const gradient = gradients(step).get(name)!;
          weights.forEach((w, i) => {
            weights[i] = w - c.lr * (gradient[i]! + c.l2 * w);
          });
        }
        weights.forEach((w, i) => {
          expect(c.expected.get(name)![i]).to.be.closeTo(w, 1e-6);
        });
      }
    }
  });
});
