// Xception's layers, counted against figure 5 of the paper and Keras Applications.

import { expect } from 'chai';
import { ArgumentError } from '../../lib/core/errors.ts';
import { xceptionWeights } from '../../lib/interop/xceptionNames.ts';
import { architecture } from '../../lib/models/registry.ts';
import { xceptionNetwork } from '../../lib/models/xception.ts';
import { Conv2d, SeparableConv2d } from '../../lib/nn/index.ts';

describe('xception', () => {
  const network = xceptionNetwork({ classes: 1000 });
  const count = (tensors: ReadonlyMap<string, { size: number }>) =>
    [...tensors.values()].reduce((sum, { size }) => sum + size, 0);

  it('has 22,855,952 trainable parameters of 22,910,480 at 1,000 classes', () => {
    expect(count(network.parameters())).to.equal(22_855_952);
    expect(count(network.state())).to.equal(22_910_480);
  });

  it('has 36 convolutional layers beside the four shortcuts', () => {
    const inside = new Set(
      network.modules().flatMap(([, m]) => (m instanceof SeparableConv2d ? [m.depthwise, m.pointwise] : [])),
    );
    const layers = network
      .modules()
      .filter(([, m]) => m instanceof SeparableConv2d || (m instanceof Conv2d && !inside.has(m)))
      .map(([path]) => path);
    expect(layers.filter((path) => !path.endsWith('_shortcut')).length).to.equal(36);
    expect(layers.filter((path) => path.endsWith('_shortcut')).length).to.equal(4);
  });

  it('has the names and shapes of the table by which Keras files are read', () => {
    const ours = new Map([...network.state()].map(([name, { shape }]) => [name, shape]));
    const table = xceptionWeights(1000);
    expect(table.length).to.equal(ours.size);
    for (const { name, shape } of table) expect(ours.get(name), name).to.deep.equal(shape);
  });

  it('decays kernels only', () => {
    for (const [name, parameter] of network.parameters()) {
      expect(parameter.decay, name).to.equal(name.endsWith('.weight'));
    }
  });

  it('is found by name', () => {
    expect(architecture('xception').minimumSize).to.equal(71);
    expect(() => architecture('resnet')).to.throw(ArgumentError, 'expected xception');
  });
});
