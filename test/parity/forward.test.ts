// Forward parity with the networks of Keras, timm and torchvision, on recorded outputs, and that the test would see a
// wrong network.

import { expect } from 'chai';
import { createClassifier } from '../../lib/classify/load.ts';
import { BatchNorm } from '../../lib/nn/index.ts';
import { networkDevices } from '../support/devices.ts';
import {
  type ForwardCase,
  forwardFixture,
  isRecorded,
  type Mistake,
  recordedOptions,
} from '../support/fixtures.ts';
import type { Generated } from '../support/generator.ts';
import type { modes } from '../support/modes.ts';

/**
 * What is compared. The bars: probabilities absolutely, logits relative to the largest |logit|. Inception V3 is less well
 * conditioned: Keras in float32 differs from itself in float64 by some 5e-5 in probabilities.
 */
const networks = [
  {
    name: 'xception',
    peer: 'Keras',
    sizes: [299, 150, 96, 71],
    probabilityBar: 5e-5,
    logitBar: 1e-4,
    mistakes: ['swapped_channels', 'flipped_depthwise', 'epsilon_1e-5'],
  },
  {
    name: 'inception_v3',
    peer: 'Keras',
    sizes: [299, 150, 96, 75],
    probabilityBar: 3e-4,
    logitBar: 1e-4,
    mistakes: ['swapped_channels', 'flipped_kernels', 'counted_padding', 'epsilon_1e-5'],
  },
  {
    name: 'timm',
    peer: 'timm',
    sizes: [299, 150, 96, 71],
    probabilityBar: 5e-5,
    logitBar: 1e-4,
    mistakes: ['tensorflow_padding', 'epsilon_1e-3'],
  },
  {
    name: 'torchvision',
    peer: 'torchvision',
    sizes: [299, 150, 96, 75],
    // As Keras' one. Other kernels for the same convolutions move either by as much: 4.4e-5 to 1.0e-4 here and 1.3e-4 to
    // 7.8e-5 there, at 150 pixels. PyTorch in float32 is 3.5e-5 from itself in float64.
    probabilityBar: 3e-4,
    logitBar: 1e-4,
    mistakes: ['uncounted_padding', 'epsilon_1e-5', 'transform_input'],
  },
] as const;

type Name = (typeof networks)[number]['name'];

const largest = (values: Float32Array) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
const furthest = (a: Float32Array, b: Float32Array) => largest(a.map((v, i) => v - (b[i] as number)));

/** Options that make a mistake. */
const wrongOptions: Readonly<Partial<Record<Mistake, Readonly<Record<string, unknown>>>>> = {
  counted_padding: { countPadding: true },
  uncounted_padding: { countPadding: false },
  tensorflow_padding: { samePadding: 'tensorflow' },
  transform_input: { transformInput: true },
};

/** Our network with the fixture's weights, or with one of the mistakes made on purpose. */
function network(name: Name, { weights: weightsOf }: ForwardCase, mistake?: Mistake) {
  const weights = weightsOf();
  if (mistake === 'flipped_depthwise') flip(weights, (name) => name.endsWith('depthwise.weight'));
  if (mistake === 'flipped_kernels') flip(weights, () => true);
  const { arch, options } = recordedOptions(name);
  const variant = { ...options.variant, ...(mistake === undefined ? {} : (wrongOptions[mistake] ?? {})) };
  const model = createClassifier(arch, { classes: 10, dropout: 0, variant });
  if (mistake?.startsWith('epsilon') === true) {
    const epsilon = Number(mistake.split('_')[1]);
    for (const [, layer] of model.network.modules()) if (layer instanceof BatchNorm) layer.epsilon = epsilon;
  }
  model.loadWeights(weights);
  return model;
}

/** Turns kernels by half a turn: what confusing convolution and correlation does. */
function flip(weights: Map<string, Generated>, chosen: (name: string) => boolean): void {
  for (const [name, { shape, data }] of weights) {
    if (shape.length !== 4 || !chosen(name)) continue;
    const [, height = 1, width = 1, inner = 1] = shape;
    const taps = height * width;
    const flipped = data.map((_, i) => {
      const tap = Math.floor(i / inner) % taps;
      return data[i + (taps - 1 - 2 * tap) * inner] as number;
    });
    weights.set(name, { shape, data: flipped });
  }
}

const swapChannels = (images: Float32Array) =>
  images.map((_, i) => images[i - (i % 3) + 2 - (i % 3)] as number);

const here = networks.filter(({ name }) => isRecorded(name));
const runs = networkDevices.flatMap((backend) => here.map((compared) => ({ backend, ...compared })));

for (const { backend, name, peer, sizes: recordedSizes, probabilityBar, logitBar, mistakes: seen } of runs) {
  const { arch } = recordedOptions(name);
  describe(`forward parity with ${peer}: ${arch} on ${backend.name}`, function () {
    this.timeout(600_000);
    const cases = forwardFixture(name);

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
      expect(cases.map(({ size }) => size)).to.deep.equal(recordedSizes);
      for (const { spread } of cases) expect(spread).to.be.greaterThan(0.05);
    });

    for (const [mode, count, sizes] of [
      ['compiled', 'all', 'every size'],
      ['compiled', 'one', 'every size'],
      // Op by op, the large sizes take long and run the same kernels as the small ones.
      ['eager', 'all', 'sizes below 100'],
      ['eager', 'one', 'sizes below 100'],
    ] as const) {
      // What differs from Keras' networks are attributes, which both modes read alike.
      if (mode === 'eager' && peer !== 'Keras' && count === 'one') continue;
      it(`agrees at ${sizes}, ${mode}, ${count} of the images in a batch`, async () => {
        const model = network(name, cases[0] as ForwardCase).to(backend);
        for (const { size, images, weights, ...expected } of cases) {
          if (sizes === 'sizes below 100' && size >= 100) continue;
          model.loadWeights(weights());
          const batch = count === 'all';
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

    for (const mistake of seen) {
      it(`would see a mistake: ${mistake}`, async () => {
        const recorded = cases.find((c) => c.size === 96) as ForwardCase;
        const { size, images, probabilities, logits, mistakes } = recorded;
        const model = network(name, recorded, mistake).to(backend);
        const data = mistake === 'swapped_channels' ? swapChannels(images()) : images();
        const p = furthest(await run(model, data, size, false), probabilities);
        const z = furthest(await run(model, data, size, true), logits) / largest(logits);
        expect(p).to.be.greaterThan(probabilityBar);
        expect(z).to.be.greaterThan(logitBar);
        // The same mistake made in the peer changed as much, so it is this mistake and no other.
        const change = mistakes[mistake]?.probability as number;
        expect(p).to.be.closeTo(change, 0.01 * change + probabilityBar / 5);
        model.dispose();
      });
    }
  });
}
