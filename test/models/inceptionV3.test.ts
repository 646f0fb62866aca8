// Inception V3's layers, counted against Keras Applications, torchvision and what the Xception paper prints.

import { expect } from 'chai';
import { inceptionV3 } from '../../lib/classify/load.ts';
import { ArgumentError } from '../../lib/core/errors.ts';
import { architecture } from '../../lib/models/registry.ts';
import { summarize } from '../../lib/models/summary.ts';
import { BatchNorm, Conv2d } from '../../lib/nn/index.ts';

const build = (variant: Readonly<Record<string, unknown>> = {}) =>
  architecture('inception_v3').build({ classes: 1000, variant });

const count = (tensors: ReadonlyMap<string, { size: number }>) =>
  [...tensors.values()].reduce((sum, { size }) => sum + size, 0);

describe('inception_v3', () => {
  const network = build();
  const convolutions = network
    .modules()
    .flatMap(([path, layer]) => (layer instanceof Conv2d ? ([[path, layer.weight.shape]] as const) : []));

  it("has Keras' 23,817,352 trainable parameters of 23,851,784 at 1,000 classes, in 94 convolutions", () => {
    expect(count(network.parameters())).to.equal(23_817_352);
    expect(count(network.state())).to.equal(23_851_784);
    expect(convolutions.length).to.equal(94);
  });

  it("has torchvision's 27,161,264 parameters with scale and the classifier at the side", () => {
    expect(count(build({ scale: true, auxiliary: true }).parameters())).to.equal(27_161_264);
    expect(count(build({ scale: true }).parameters())).to.equal(23_834_568);
  });

  it('explains the 23,626,728 of the Xception paper: the first Keras implementation', () => {
    // docs/networks.md: all three figure 5 modules with 32 channels behind the pooling, 160 in place of 192 at one
    // place of the last figure 6 module; each convolution has a bias, and each normalization scale and shift.
    const kernels = convolutions.map(([path, [outputs = 0, height = 0, width = 0, inputs = 0]]) => {
      // mixed1 and mixed2 give 256 channels in place of 288: to all layers that read them, as mixed3's pooling does to
      // those of mixed4.
      const reads = (name: string) => path.startsWith(name) && [288, 768].includes(inputs);
      const narrower = reads('mixed2_') || reads('mixed3_') || reads('mixed4_');
      const o = /mixed[12]_pool/.test(path) ? 32 : path === 'mixed7_7x7dbl_1' ? 160 : outputs;
      const i = path === 'mixed7_7x7dbl_2' ? 160 : inputs - (narrower ? 32 : 0);
      return { products: o * height * width * i, outputs: o };
    });
    const sum = kernels.reduce((total, { products, outputs }) => total + products + 3 * outputs, 0);
    expect(sum + 2048 * 1000 + 1000).to.equal(23_626_728);
  });

  it('takes 5.71 G multiply-adds at 299 pixels, and gives the shapes of the paper', () => {
    const { multiplyAdds, layers } = summarize(network, [299, 299, 3]);
    expect(multiplyAdds / 1e9).to.be.closeTo(5.713, 0.0005);
    // Constants, such as the scale that Keras' normalizations lack, are no layers.
    const types = new Set(layers.map(({ type }) => type));
    expect([...types].sort()).to.deep.equal([
      'avgPool',
      'batchNorm',
      'concat',
      'conv2d',
      'globalAvgPool',
      'linear',
      'maxPool',
      'relu',
    ]);
    const joined = layers.filter(({ type }) => type === 'concat').map(({ output }) => output.join(' x '));
    const [a, b] = ['35 x 35 x 288', '17 x 17 x 768'];
    const halves = ['8 x 8 x 768', '8 x 8 x 768', '8 x 8 x 2048'];
    expect(joined).to.deep.equal([
      '35 x 35 x 256',
      a,
      a,
      b,
      b,
      b,
      b,
      b,
      '8 x 8 x 1280',
      ...halves,
      ...halves,
    ]);
  });

  it('decays kernels only, and normalizes with epsilon 0.001 and momentum 0.99', () => {
    for (const [name, parameter] of network.parameters()) {
      expect(parameter.decay, name).to.equal(name.endsWith('.weight'));
    }
    const norms = network.modules().flatMap(([, layer]) => (layer instanceof BatchNorm ? [layer] : []));
    expect(norms.length).to.equal(94);
    for (const { gamma, epsilon, momentum, unbiased } of norms) {
      expect([gamma, epsilon, momentum, unbiased]).to.deep.equal([undefined, 1e-3, 0.99, false]);
    }
  });

  it('refuses images that a layer cannot take, and options that it does not have', () => {
    expect(() => inceptionV3({ size: 74 })).to.throw(ArgumentError, 'at least 75 pixels, got 74');
    expect(() => inceptionV3({ size: 298, auxiliary: true })).to.throw(ArgumentError, 'at least 299');
    expect(() => build({ tower: true })).to.throw(
      ArgumentError,
      'no option tower; expected auxiliary, scale',
    );
    expect(() => build({ scale: 1 })).to.throw(ArgumentError, 'scale expects true or false, got 1');
  });
});
