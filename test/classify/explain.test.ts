// Grad-CAM against computations of its own: finite differences, and for a mean with a linear layer the formula of the class
// activation map.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { Classifier } from '../../lib/classify/classifier.ts';
import { Explainer, splitAtGlobalPool } from '../../lib/classify/explain.ts';
import { inceptionV3, xception } from '../../lib/classify/load.ts';
import { ArgumentError, DataError, UnsupportedError } from '../../lib/core/errors.ts';
import { scope } from '../../lib/core/scope.ts';
import { tensor } from '../../lib/core/tensor.ts';
import { heatColor, heatOverlay, sampleMap } from '../../lib/data/heatmap.ts';
import {
  BatchNorm,
  Conv2d,
  ForwardContext,
  globalAvgPool,
  Linear,
  type Module,
  relu,
  Sequential,
} from '../../lib/nn/index.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { generate } from '../support/generator.ts';
import { tinyClassifier } from '../train/tiny.ts';

const classes = 3;
const images = { data: generate('images', [2, 8, 8, 3], 1), shape: [2, 8, 8, 3] };

/** Weights that let a mistake show. */
function withGenerated(model: Classifier): Classifier {
  for (const [name, parameter] of model.network.state()) {
    const values = generate(name, parameter.shape, 0.5);
    parameter.give(name.endsWith('running_var') ? values.map((value) => 0.5 + Math.abs(value)) : values);
  }
  return model;
}

/** Small, and with a head that is not linear. */
const withHiddenLayer = (): Classifier =>
  withGenerated(
    new Classifier(
      new Sequential(
        ['conv', new Conv2d(3, 6, { kernel: 3, stride: 2, padding: 'same' })],
        ['bn', new BatchNorm(6)],
        relu(),
        globalAvgPool(),
        new Sequential(['fc1', new Linear(6, 5)], relu(), ['predictions', new Linear(5, classes)]),
      ),
      { arch: 'hidden', classes, size: 8, preprocessing: 'keras', options: {} },
    ),
  );

/** Values of a module on a tensor. */
async function run(module: Module, data: Float32Array, shape: readonly number[], model: Classifier) {
  const { backend } = model;
  using y = scope(() => module.forward(tensor(data, shape, { backend }), new ForwardContext()));
  return { data: (await y.data()) as Float32Array, shape: y.shape };
}

/** relu(Σ_k α_k A_k) over its largest value, with the weights of the channels given. */
function mapOf(features: Float32Array, alpha: readonly number[]): number[] {
  const channels = alpha.length;
  const sums = Array.from({ length: features.length / channels }, (_, place) =>
    Math.max(
      0,
      alpha.reduce((sum, weight, k) => sum + weight * (features[place * channels + k] as number), 0),
    ),
  );
  const most = Math.max(...sums);
  return sums.map((value) => (most === 0 ? 0 : value / most));
}

const close = (ours: ArrayLike<number>, theirs: readonly number[], tolerance: number) => {
  expect(ours.length).to.equal(theirs.length);
  theirs.forEach((value, i) => {
    expect(ours[i], `place ${i}`).to.be.closeTo(value, tolerance);
  });
};

for (const backend of [reference, ...networkDevices]) {
  describe(`Grad-CAM on ${backend.name}`, () => {
    it('of a mean and a linear layer is the class activation map', async () => {
      using model = withGenerated(tinyClassifier()).to(backend);
      const { features } = splitAtGlobalPool(model.network);
      const { data, shape } = await run(features, images.data, images.shape, model);
      const [, height = 0, width = 0, channels = 0] = shape;
      const stride = height * width * channels;
      const weights = await model.weights();
      const predictions = weights.get('predictions.weight')?.data as Float32Array; // [classes, channels]
      using explainer = new Explainer(model);
      for (let index = 0; index < classes; index++) {
        const found = await explainer.maps(images, { classes: [index, index] });
        found.forEach((explanation, i) => {
          const row = [...predictions.subarray(index * channels, (index + 1) * channels)];
          expect(explanation).to.include({ index, height, width });
          close(explanation.map, mapOf(data.subarray(i * stride, (i + 1) * stride), row), 1e-5);
        });
      }
    });

    it('of a head with a hidden layer follows finite differences', async () => {
      using model = withHiddenLayer().to(backend);
      const { features, head } = splitAtGlobalPool(model.network);
      const { data, shape } = await run(features, images.data, images.shape, model);
      const [, height = 0, width = 0, channels = 0] = shape;
      const stride = height * width * channels;
      using explainer = new Explainer(model);
      const found = await explainer.maps(images);
      const logits = await model.outputs(images, { logits: true });
      for (const [i, { index, logit, map }] of found.entries()) {
        const row = logits.subarray(i * classes, (i + 1) * classes);
        expect(index).to.equal(row.indexOf(Math.max(...row)));
        expect(logit).to.be.closeTo(row[index] as number, 1e-5);
        const own = data.subarray(i * stride, (i + 1) * stride);
        // All places of a channel together: the sum of their gradients, which is α_k times the number of places.
        const alpha: number[] = [];
        const step = 1e-2;
        for (let k = 0; k < channels; k++) {
          const at = async (delta: number) => {
            const moved = own.map((value, j) => (j % channels === k ? value + delta : value));
            return (await run(head, moved, [1, ...shape.slice(1)], model)).data[index] as number;
          };
          alpha.push(((await at(step)) - (await at(-step))) / (2 * step));
        }
        close(map, mapOf(own, alpha), 2e-3);
      }
    });

    it('leaves no memory behind', async () => {
      using model = withHiddenLayer().to(backend);
      {
        using explainer = new Explainer(model);
        await explainer.maps(images);
      }
      const before = backend.memory();
      using explainer = new Explainer(model);
      await explainer.maps(images);
      explainer.dispose();
      expect(backend.memory().live).to.equal(before.live);
    });
  });
}

describe('Grad-CAM', () => {
  it('finds the last feature map of both networks and their variants', () => {
    const models = [
      xception({ classes: 4 }),
      xception({ classes: 4, residual: false, fullyConnected: [8] }),
      xception({ classes: 4, style: 'vgg' }),
      inceptionV3({ classes: 4 }),
      inceptionV3({ classes: 4, auxiliary: true }),
    ];
    for (const model of models) {
      const { features, head } = splitAtGlobalPool(model.network);
      const all = [...model.network.parameters().keys()];
      expect([...features.parameters().keys(), ...head.parameters().keys()]).to.deep.equal(all);
      expect([...head.parameters().keys()]).to.include('predictions.weight');
      expect([...features.parameters().keys()].some((name) => name.startsWith('predictions'))).to.equal(
        false,
      );
    }
  });

  it('needs a mean over the image', () => {
    const network = new Sequential(['predictions', new Linear(4, 2)]);
    expect(() => splitAtGlobalPool(network)).to.throw(UnsupportedError, 'globalAvgPool');
  });

  it('refuses classes that there are not', async () => {
    using model = tinyClassifier().to(reference);
    using explainer = new Explainer(model);
    for (const wrong of [[0], [0, 3], [0, -1], [0, 0.5]]) {
      const error = await explainer.maps(images, { classes: wrong }).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(ArgumentError);
    }
  });

  it('refuses an image whose logits are no numbers', async () => {
    using model = withGenerated(tinyClassifier());
    model.network
      .state()
      .get('predictions.bias')
      ?.give(Float32Array.of(0, Number.NaN, 0));
    model.to(reference);
    using explainer = new Explainer(model);
    for (const options of [{}, { classes: [0, 1] }]) {
      const error = await explainer.maps(images, options).catch((reason: unknown) => reason);
      expect(error)
        .to.be.instanceOf(DataError)
        .with.property('message')
        .that.matches(/class 1 of image 0 is NaN/);
    }
  });

  it('is drawn over a file in its own proportions, shrunk to what is asked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'depthwise-explain-'));
    try {
      const file = join(folder, 'tall.png');
      await sharp({ create: { width: 30, height: 60, channels: 3, background: '#808080' } })
        .png()
        .toFile(file);
      using model = withGenerated(tinyClassifier()).to(reference);
      using explainer = new Explainer(model);
      const [whole, ...padding] = await explainer.pictures([file], { batchSize: 3 });
      expect(padding).to.deep.equal([]);
      expect(await sharp(whole?.png).metadata()).to.include({ format: 'png', width: 30, height: 60 });
      const several = await explainer.pictures([file, file, file], {
        ...{ classes: [1, 0, 2], longest: 20, batchSize: 2 },
      });
      expect(several.map(({ explanation }) => explanation.index)).to.deep.equal([1, 0, 2]);
      expect(await sharp(several[0]?.png).metadata()).to.include({ width: 10, height: 20 });
      const error = await explainer.pictures([join(folder, 'none.png')]).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(DataError);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('heat over a picture', () => {
  const heat = { map: Float32Array.of(0, 1, 0.5, 0.25), height: 2, width: 2 };

  it('is interpolated between the middles of cells and goes on to the edges', () => {
    expect(sampleMap(heat, 0.25, 0.25)).to.equal(0);
    expect(sampleMap(heat, 0, 1)).to.equal(1);
    expect(sampleMap(heat, 0.25, 0.5)).to.equal(0.5);
    expect(sampleMap(heat, 0.5, 0.5)).to.be.closeTo(0.4375, 1e-6);
    expect(sampleMap({ map: Float32Array.of(0.7), height: 1, width: 1 }, 0.1, 0.9)).to.be.closeTo(0.7, 1e-6);
  });

  it('leaves the picture grey without heat and covers more of it with more', () => {
    expect(heatColor(0).share).to.equal(0);
    const shares = [0, 0.1, 0.3, 0.6, 0.9, 1].map((value) => heatColor(value).share);
    expect(shares).to.deep.equal(shares.toSorted((a, b) => a - b));
    expect(heatColor(2)).to.deep.equal(heatColor(1));
  });

  it('changes the hot side only', async () => {
    const grey = { data: new Uint8Array(8 * 8 * 3).fill(100), height: 8, width: 8 };
    const png = await heatOverlay(grey, { map: Float32Array.of(0, 1), height: 1, width: 2 });
    const pixels = await sharp(png).raw().toBuffer();
    expect([...pixels.subarray(0, 3)]).to.deep.equal([100, 100, 100]);
    const hot = [...pixels.subarray(7 * 3, 8 * 3)];
    expect(hot[0]).to.be.above(180);
    expect(hot[2]).to.be.below(120);
  });

  it('refuses data of another size', async () => {
    const error = await heatOverlay({ data: new Uint8Array(5), height: 1, width: 2 }, heat).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(ArgumentError);
  });
});
