// Learning-rate schedules and the decay of the average, against values worked out by hand.

import { expect } from 'chai';
import { ArgumentError } from '../../lib/core/errors.ts';
import {
  constant,
  cosineDecay,
  exponentialDecay,
  type Progress,
  polyakDecay,
  stepDecay,
  withWarmup,
} from '../../lib/optim/index.ts';

const at = (changes: Partial<Progress>): Progress => ({
  step: 0,
  epoch: 0,
  samples: 0,
  totalSteps: 100,
  ...changes,
});

describe('schedules', () => {
  it('stay constant', () => {
    expect(constant(0.1)(at({ step: 50 }))).to.equal(0.1);
  });

  it("decay as the paper's ImageNet runs: 0.045, 0.94 every 2 epochs", () => {
    const schedule = exponentialDecay({ initial: 0.045, rate: 0.94, everyEpochs: 2 });
    expect(schedule(at({ epoch: 1.999 }))).to.equal(0.045);
    expect(schedule(at({ epoch: 2 }))).to.equal(0.045 * 0.94);
    expect(schedule(at({ epoch: 9.5 }))).to.equal(0.045 * 0.94 ** 4);
  });

  it("decay as the paper's JFT runs: 0.001, 0.9 every 3,000,000 samples", () => {
    const schedule = exponentialDecay({ initial: 0.001, rate: 0.9, everySamples: 3_000_000 });
    expect(schedule(at({ samples: 2_999_999 }))).to.equal(0.001);
    expect(schedule(at({ samples: 6_000_000 }))).to.be.closeTo(0.00081, 1e-12);
  });

  it('do not fall short of a decay by rounding', () => {
    const schedule = exponentialDecay({ initial: 1, rate: 0.5, everyEpochs: 0.1 });
    expect(schedule(at({ epoch: 0.1 + 0.2 }))).to.equal(0.125);
    expect(schedule(at({ epoch: 0.3 }))).to.equal(0.125);
  });

  it('step at given epochs', () => {
    const schedule = stepDecay({ initial: 1, rate: 0.1, epochs: [30, 60] });
    expect([0, 29, 30, 60].map((epoch) => schedule(at({ epoch })))).to.deep.equal([1, 1, 0.1, 0.1 ** 2]);
  });

  it('follow half a cosine to the final value', () => {
    const schedule = cosineDecay({ initial: 1, final: 0.2 });
    expect(schedule(at({ step: 0 }))).to.equal(1);
    expect(schedule(at({ step: 50 }))).to.be.closeTo(0.6, 1e-12);
    expect(schedule(at({ step: 100 }))).to.be.closeTo(0.2, 1e-12);
    expect(schedule(at({ step: 200 }))).to.be.closeTo(0.2, 1e-12);
  });

  it('warm up', () => {
    const schedule = withWarmup(4, constant(1));
    expect([0, 1, 3, 4, 9].map((step) => schedule(at({ step })))).to.deep.equal([0.25, 0.5, 1, 1, 1]);
    expect(withWarmup(0, constant(1))(at({}))).to.equal(1);
  });

  it('refuse an interval that is missing, double or not positive', () => {
    expect(() => exponentialDecay({ initial: 1, rate: 1 })).to.throw(ArgumentError, 'exactly one');
    expect(() => exponentialDecay({ initial: 1, rate: 1, everyEpochs: 1, everySamples: 1 })).to.throw(
      ArgumentError,
    );
    expect(() => exponentialDecay({ initial: 1, rate: 1, everyEpochs: 0 })).to.throw(
      ArgumentError,
      'positive',
    );
  });

  it("average with TensorFlow's effective decay", () => {
    expect(polyakDecay(0.9999, 0)).to.equal(0.1);
    expect(polyakDecay(0.9999, 90)).to.equal(0.91);
    expect(polyakDecay(0.9999, 1e9)).to.equal(0.9999);
  });
});
