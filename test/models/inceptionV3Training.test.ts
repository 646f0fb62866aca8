// Training Inception V3 with the classifier at its side: the loss, every parameter moved, and what files keep.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Classifier } from '../../lib/classify/classifier.ts';
import { inceptionV3, loadModel } from '../../lib/classify/load.ts';
import { arrays } from '../../lib/data/index.ts';
import { AuxiliaryClassifier, globalAvgPool, Linear, Sequential } from '../../lib/nn/index.ts';
import { constant, sgd } from '../../lib/optim/index.ts';
import { Trainer } from '../../lib/train/index.ts';
import { networkDevices } from '../support/devices.ts';
import { generate } from '../support/generator.ts';
import { modes } from '../support/modes.ts';

const classes = 3;
const labels = Int32Array.of(0, 2);
const imagesOf = (size: number) => ({
  data: generate('images', [2, size, size, 3], 1),
  shape: [2, size, size, 3],
});

/** −log softmax of each label, the mean. */
function crossEntropy(logits: Float32Array): number {
  let sum = 0;
  labels.forEach((label, i) => {
    const row = logits.subarray(i * classes, (i + 1) * classes);
    const total = row.reduce((all, value) => all + Math.exp(value), 0);
    sum += Math.log(total) - (row[label] as number);
  });
  return sum / labels.length;
}

for (const backend of networkDevices) {
  describe(`a classifier at the side on ${backend.name}`, function () {
    this.timeout(600_000);

    const trainerOf = (model: Classifier, mode: (typeof modes)[number] = 'compiled') =>
      new Trainer(model, {
        device: backend.name,
        optimizer: sgd({ momentum: 0 }),
        schedule: constant(0.1),
        batchSize: 2,
        polyak: 0,
        mode,
      });

    for (const mode of modes) {
      it(`adds its loss with its weight, ${mode}`, async () => {
        const images = imagesOf(4);
        const linear = (name: string) => {
          const layer = new Linear(3, classes);
          layer.weight.give(generate(name, [classes, 3], 1, { limit: 5 }));
          return layer;
        };
        const alone = (name: string) => {
          const network = new Sequential(globalAvgPool(), ['predictions', linear(name)]);
          return new Classifier(network, {
            arch: 'tiny',
            classes,
            size: 4,
            preprocessing: 'keras',
            options: {},
          });
        };
        const both = new Classifier(
          new Sequential(
            new AuxiliaryClassifier(
              new Sequential(globalAvgPool(), ['aux_predictions', linear('side')]),
              0.4,
            ),
            globalAvgPool(),
            ['predictions', linear('main')],
          ),
          { arch: 'tiny', classes, size: 4, preprocessing: 'keras', options: {} },
        );
        const losses: number[] = [];
        for (const name of ['main', 'side']) {
          using model = alone(name).to(backend);
          losses.push(crossEntropy(await model.outputs(images, { logits: true })));
        }
        const [main = 0, side = 0] = losses;
        expect(Math.abs(main - side)).to.be.greaterThan(0.01);
        const { steps } = await trainerOf(both, mode).fit(arrays(images, labels, { classes }), { steps: 1 });
        expect(steps[0]?.loss).to.be.closeTo(main + 0.4 * side, 1e-5);
        both.dispose();
      });
    }

    it('moves every parameter of Inception V3, and files keep the network', async () => {
      const images = imagesOf(299);
      const variant = { auxiliary: true, scale: true, countPadding: true, unbiasedVariance: true };
      using model = inceptionV3({ classes, dropout: 0, ...variant });
      model.to(backend);
      const before = await model.weights();
      expect([...before.keys()].filter((name) => name.startsWith('aux_')).length).to.equal(12);
      const { steps } = await trainerOf(model).fit(arrays(images, labels, { classes }), { steps: 1 });
      expect(steps[0]?.loss).to.be.within(0.5, 10);
      for (const [weight, { data }] of await model.weights()) {
        expect(data.every(Number.isFinite), weight).to.equal(true);
        expect(data, weight).not.to.deep.equal(before.get(weight)?.data);
      }
      const folder = mkdtempSync(join(tmpdir(), 'depthwise-inception-'));
      try {
        const file = join(folder, 'model.safetensors');
        await model.save(file);
        using again = await loadModel(file);
        expect(again.config).to.deep.include({ arch: 'inception_v3', size: 299 });
        expect(again.config.options).to.deep.equal({ dropout: 0, batchNormMomentum: 0.99, ...variant });
        again.to(backend);
        expect(await again.outputs(images)).to.deep.equal(await model.outputs(images));
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  });
}
