// Presets: the paper's values, what they make of a training, and how flags beside them win.

import { expect } from 'chai';
import { presetFlags } from '../../lib/cli/recipe.ts';
import type { Progress } from '../../lib/optim/index.ts';
import {
  optimizerOf,
  type PresetName,
  presetNames,
  presets,
  type Recipe,
  scheduleOf,
  trainerOptionsOf,
} from '../../lib/train/index.ts';
import { trainerSettings } from '../../lib/train/options.ts';

const at = (place: Partial<Progress>): Progress => ({
  step: 0,
  epoch: 0,
  samples: 0,
  totalSteps: 1000,
  ...place,
});

/** {@link presetFlags} with the flags that were given as an object. */
const beside = (name: PresetName, given: Record<string, unknown>) => presetFlags(name, (flag) => given[flag]);

describe('presets', () => {
  it("are the paper's for both networks and both data sets, and two for little data", () => {
    expect(presetNames).to.deep.equal([
      'xception-imagenet',
      'xception-jft',
      'inception-v3-imagenet',
      'inception-v3-jft',
      'finetune',
      'small',
    ]);
  });

  for (const name of presetNames) {
    it(`${name} is a recipe that a trainer takes`, () => {
      const settings = trainerSettings(trainerOptionsOf(presets[name]), 10);
      expect(settings.optimizer.name).to.equal(presets[name].optimizer);
      expect(settings.schedule(at({ step: 500 }))).to.be.above(0);
    });
  }

  it('decay on ImageNet by 0.94 every 2 epochs, from 0.045', () => {
    const rate = scheduleOf(presets['xception-imagenet']);
    expect([0, 1.99, 2, 3.99, 4].map((epoch) => rate(at({ epoch })))).to.deep.equal([
      0.045,
      0.045,
      0.045 * 0.94,
      0.045 * 0.94,
      0.045 * 0.94 ** 2,
    ]);
    expect(optimizerOf(presets['xception-imagenet']).settings).to.deep.equal({
      momentum: 0.9,
      nesterov: false,
    });
  });

  it('decay on JFT by 0.9 every 3,000,000 samples, from 0.001', () => {
    const rate = scheduleOf(presets['inception-v3-jft']);
    expect(
      [0, 2_999_999, 3_000_000, 6_000_000].map((samples) => rate(at({ samples, epoch: 50 }))),
    ).to.deep.equal([0.001, 0.001, 0.001 * 0.9, 0.001 * 0.9 ** 2]);
    expect(optimizerOf(presets['xception-jft']).settings).to.include({ momentum: 0.9 });
    expect(presets['xception-jft']).to.include({ loss: 'sigmoid', dropout: 0 });
  });

  it('differ between the networks in weight decay alone', () => {
    for (const data of ['imagenet', 'jft'] as const) {
      const { arch, weightDecay, ...rest } = presets[`xception-${data}`];
      const other = presets[`inception-v3-${data}`];
      expect([arch, weightDecay]).to.deep.equal(['xception', 1e-5]);
      expect(other).to.deep.equal({ ...rest, arch: 'inception_v3', weightDecay: 4e-5 });
    }
  });
});

describe('flags beside a preset', () => {
  it('win', () => {
    const flags = beside('xception-imagenet', { lr: 0.1, dropout: 0 });
    expect(flags).not.to.have.any.keys('lr', 'dropout');
    expect(flags).to.include({ optimizer: 'sgd', momentum: 0.9, weightDecay: 1e-5 });
  });

  it('take what belongs to them along: another optimizer has its own rate', () => {
    const flags = beside('xception-jft', { optimizer: 'adam' });
    expect(flags).not.to.have.any.keys('optimizer', 'lr', 'momentum');
    expect(flags).to.include({ schedule: 'exponential', decaySamples: 3_000_000 });
    expect(beside('xception-jft', { optimizer: 'rmsprop' })).to.include({ lr: 0.001, momentum: 0.9 });
  });

  it('take what belongs to them along: another schedule, another interval, another length', () => {
    expect(beside('xception-imagenet', { schedule: 'constant' })).not.to.have.any.keys(
      'decayRate',
      'decayEpochs',
    );
    const bySamples = beside('xception-imagenet', { decaySamples: 1000 });
    expect(bySamples).not.to.have.any.keys('decayEpochs', 'decaySamples');
    expect(beside('small', { steps: 20 })).not.to.have.property('epochs');
    const whole: Recipe = presets.small;
    expect(beside('small', {})).to.deep.equal(whole);
  });
});
