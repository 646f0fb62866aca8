// The loss of images that are mixed: by share, that of their own labels and that of the others'.

import { expect } from 'chai';
import type { Batch } from '../../lib/data/batch.ts';
import { createOptimizer, sgd } from '../../lib/optim/index.ts';
import type { LossKind } from '../../lib/train/evaluate.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { brightImages, tinyClassifier } from './tiny.ts';

const n = 6;
const { data, labels } = brightImages(n);
const others = labels.map((label, i) => (label + 1 + (i % 2)) % 3);
const shares = Float32Array.of(0, 0.125, 0.25, 0.5, 0.75, 1);
const batch = (more: Partial<Batch> = {}): Batch => ({ images: data, shape: [n, 8, 8, 3], labels, ...more });

for (const device of [reference, ...networkDevices]) {
  for (const mode of ['compiled', 'eager'] as const) {
    /** The loss of a first step on this batch. */
    const lossOf = (given: Batch, loss: LossKind, classWeights?: readonly number[]): number => {
      using model = tinyClassifier({ dropout: 0 }).to(device, { seed: 1 });
      using optimizer = createOptimizer(sgd(), model.network.trainableParameters(), {});
      using step = new TrainingStep({
        ...{ model, optimizer, polyak: undefined, mode, loss, seed: 1, labelSmoothing: 0.1, classWeights },
      });
      const output = step.run(given, { step: 1, lr: 0, polyakDecay: 0 });
      const [value] = output.loss.dataSync();
      output.loss.dispose();
      output.logits.dispose();
      return value as number;
    };

    /** The same from losses of unmixed images: the share of one image at a time goes from 1 to 0. */
    const mixedByHand = (loss: LossKind, classWeights?: readonly number[]): number => {
      const whole = lossOf(
        batch({ mix: { labels: others, shares: new Float32Array(n).fill(1) } }),
        loss,
        classWeights,
      );
      return shares.reduce((sum, share, i) => {
        const zero = new Float32Array(n).fill(1).with(i, 0);
        const swapped = lossOf(batch({ mix: { labels: others, shares: zero } }), loss, classWeights);
        return sum + (1 - share) * (swapped - whole);
      }, whole);
    };

    describe(`the loss of mixed images on ${device.name}, ${mode}`, () => {
      it('is that of the labels where shares are 1, and of the others where they are 0', () => {
        for (const loss of ['softmax', 'sigmoid'] as const) {
          const mix = (share: number) => ({
            mix: { labels: others, shares: new Float32Array(n).fill(share) },
          });
          expect(lossOf(batch(mix(1)), loss)).to.be.closeTo(lossOf(batch(), loss), 1e-6);
          expect(lossOf(batch(mix(0)), loss)).to.be.closeTo(lossOf(batch({ labels: others }), loss), 1e-6);
          const half = (lossOf(batch(), loss) + lossOf(batch({ labels: others }), loss)) / 2;
          expect(lossOf(batch(mix(0.5)), loss)).to.be.closeTo(half, 1e-6);
        }
      });

      it('is linear in the share of each image, with weights of classes too', () => {
        const mix = { labels: others, shares };
        expect(lossOf(batch({ mix }), 'softmax')).to.be.closeTo(mixedByHand('softmax'), 2e-6);
        expect(lossOf(batch({ mix }), 'sigmoid')).to.be.closeTo(mixedByHand('sigmoid'), 2e-6);
        const weights = [1, 2, 0.5];
        expect(lossOf(batch({ mix }), 'softmax', weights)).to.be.closeTo(
          mixedByHand('softmax', weights),
          4e-6,
        );
        const ones = { labels: others, shares: new Float32Array(n).fill(1) };
        expect(lossOf(batch({ mix: ones }), 'softmax', weights)).to.be.closeTo(
          lossOf(batch(), 'softmax', weights),
          1e-6,
        );
      });
    });
  }
}

describe('a training step', () => {
  it('takes batches with and without mixes in turn', () => {
    using model = tinyClassifier({ dropout: 0 }).to(reference, { seed: 1 });
    using optimizer = createOptimizer(sgd(), model.network.trainableParameters(), {});
    using step = new TrainingStep({
      ...{ model, optimizer, polyak: undefined, mode: 'compiled', loss: 'softmax', seed: 1 },
      ...{ labelSmoothing: 0, classWeights: undefined },
    });
    const run = (given: Batch): number => {
      const { loss, logits } = step.run(given, { step: 1, lr: 0, polyakDecay: 0 });
      const [value] = loss.dataSync();
      loss.dispose();
      logits.dispose();
      return value as number;
    };
    const mixed = batch({ mix: { labels: others, shares } });
    const [plain, first] = [run(batch()), run(mixed)];
    expect(first).not.to.be.closeTo(plain, 1e-3);
    expect([run(batch()), run(mixed), run(batch())]).to.deep.equal([plain, first, plain]);
  });
});
