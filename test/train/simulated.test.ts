// Xception's whole training step on the simulation of CUDA, at its smallest size: the losses are the CPU's.

import { expect } from 'chai';
import { createClassifier } from '../../lib/classify/load.ts';
import { arrays } from '../../lib/data/index.ts';
import { constant, sgd } from '../../lib/optim/index.ts';
import { Trainer } from '../../lib/train/index.ts';
import { devices } from '../support/devices.ts';
import { recordedXception } from '../support/fixtures.ts';
import { Random } from '../support/random.ts';
import { skip } from '../support/skip.ts';

const size = 71;
const [batch, steps] = [4, 3];

/** The losses of some steps from the recorded weights on. */
async function lossesOn(device: string): Promise<number[]> {
  const model = createClassifier('xception', { classes: 10, dropout: 0.5, size });
  model.loadWeights(recordedXception({ gain: 1 }));
  const random = new Random('simulated');
  const images = Uint8Array.from({ length: batch * steps * size * size * 3 }, () => random.whole(0, 255));
  const labels = Int32Array.from({ length: batch * steps }, (_, i) => i % 10);
  const losses: number[] = [];
  const trainer = new Trainer(model, {
    device,
    optimizer: sgd({ momentum: 0.9 }),
    schedule: constant(0.01),
    batchSize: batch,
    shuffle: false,
    weightDecay: 1e-5,
    polyak: 0.99,
  });
  const data = { data: images, shape: [batch * steps, size, size, 3] };
  await trainer.fit(arrays(data, labels), { steps, onStep: ({ loss }) => losses.push(loss) });
  model.dispose();
  return losses;
}

describe('training on the simulation of CUDA', function () {
  this.timeout(600_000);

  it(`gives the CPU's losses of ${steps} compiled steps of Xception`, async function () {
    const names = devices.map(({ name }) => name);
    if (!names.includes('cpu') || !names.includes('cudasim:0')) skip(this, 'there is no cpu or no cudasim');
    const [cpu, simulated] = [await lossesOn('cpu'), await lossesOn('cudasim')];
    expect(simulated.length).to.equal(steps);
    expect(simulated[0]! / cpu[0]! - 1, 'the first loss').to.be.closeTo(0, 1e-5);
    for (const [i, loss] of simulated.entries())
      expect(loss / cpu[i]! - 1, `loss ${i + 1}`).to.be.closeTo(0, 2e-3);
  });
});
