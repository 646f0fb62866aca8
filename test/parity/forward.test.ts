// Forward parity with Keras' Xception, on recorded outputs, and that the test would see a wrong network.

import { expect } from 'chai';
import { createClassifier } from '../../lib/classify/load.ts';
import { BatchNorm } from '../../lib/nn/index.ts';
import { networkDevices } from '../support/devices.ts';
import { type ForwardCase, forwardFixture, type Mistake, recordedXception } from '../support/fixtures.ts';
import type { Generated } from '../support/generator.ts';
import type { modes } from '../support/modes.ts';

/** The bars: probabilities absolutely, logits relative to the largest |logit|. */
const probabilityBar = 5e-5;
const logitBar = 1e-4;

const largest = (values: Float32Array) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
const furthest = (a: Float32Array, b: Float32Array) => largest(a.map((v, i) => v - (b[i] as number)));

/** Our network with the fixture's weights, or with one of the mistakes made on purpose. */
function network(mistake?: Mistake) {
  const weights = recordedXception({ gain: 40 });
  if (mistake === 'flipped_depthwise') flipDepthwise(weights);
  const model = createClassifier('xception', { classes: 10, dropout: 0 });
  if (mistake === 'epsilon_1e-5') {
    for (const [, layer] of model.network.modules()) if (layer instanceof BatchNorm) layer.epsilon = 1e-5;
  }
  model.loadWeights(weights);
  return model;
}

/** Turns every depthwise kernel by half a turn: what confusing convolution and correlation does. */
function flipDepthwise(weights: Map<string, Generated>): void {
  for (const [name, { shape, data }] of weights) {
    if (!name.endsWith('depthwise.weight')) continue;
    const flipped = data.map((_, i) => data[i - (i % 9) + 8 - (i % 9)] as number);
    weights.set(name, { shape, data: flipped });
  }
}

const swapChannels = (images: Float32Array) =>
  images.map((_, i) => images[i - (i % 3) + 2 - (i % 3)] as number);

for (const backend of networkDevices) {
  describe(`forward parity with Keras on ${backend.name}`, function () {
    this.timeout(600_000);
    const cases = forwardFixture();

    const run = async (
      model: ReturnType<typeof network>,
      images: Float32Array,
      size: number,
      logits: boolean,
      mode: (typeof modes)[number] = 'compiled',
    ) =>
      model.outputs(
        { data: images, shape: [images.length / (size * size * 3), size, size, 3] },
        { logits, mode },
      );

    it('has images that the network tells apart', () => {
      expect(cases.map(({ size }) => size)).to.deep.equal([299, 150, 96, 71]);
      for (const { spread } of cases) expect(spread).to.be.greaterThan(0.05);
    });

    for (const [mode, count, sizes] of [
      ['compiled', 8, 'every size'],
      ['compiled', 1, 'every size'],
      // Op by op, the large sizes take long and run the same kernels as the small ones.
      ['eager', 8, 'sizes below 100'],
      ['eager', 1, 'sizes below 100'],
    ] as const) {
      it(`agrees at ${sizes}, ${mode}, batch of ${count}`, async () => {
        const model = network().to(backend);
        for (const { size, images, ...expected } of cases) {
          if (sizes === 'sizes below 100' && size >= 100) continue;
          const batch = count === 8;
          const data = batch ? images() : images().subarray(0, size * size * 3);
          const { probabilities, logits } = batch ? expected : expected.single;
          const p = await run(model, data, size, false, mode);
          const z = await run(model, data, size, true, mode);
          expect(furthest(p, probabilities), `probabilities at ${size}`).to.be.at.most(probabilityBar);
          expect(furthest(z, logits) / largest(logits), `logits at ${size}`).to.be.at.most(logitBar);
        }
        model.dispose();
      });
    }

    for (const mistake of ['swapped_channels', 'flipped_depthwise', 'epsilon_1e-5'] as const) {
      it(`would see a mistake: ${mistake}`, async () => {
        const model = network(mistake).to(backend);
        const { size, images, probabilities, logits, mistakes } = cases.find(
          (c) => c.size === 96,
        ) as ForwardCase;
        const data = mistake === 'swapped_channels' ? swapChannels(images()) : images();
        const p = furthest(await run(model, data, size, false), probabilities);
        const z = furthest(await run(model, data, size, true), logits) / largest(logits);
        expect(p).to.be.greaterThan(probabilityBar);
        expect(z).to.be.greaterThan(logitBar);
        // The same mistake made in Keras changed as much, so it is this mistake and no other.
        expect(p).to.be.closeTo(mistakes[mistake].probability, 0.01 * mistakes[mistake].probability + 1e-5);
        model.dispose();
      });
    }
  });
}
