// Whole training steps on the simulation of CUDA, compiled and replayed as graphs: Xception's at its smallest size, and a small
// network of what Inception V3 is made of. The losses are the CPU's, whatever the order of threads.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { createClassifier } from '../../lib/classify/load.ts';
import { compile } from '../../lib/core/compile.ts';
import { scope } from '../../lib/core/scope.ts';
import { arrays } from '../../lib/data/index.ts';
import { constant, sgd } from '../../lib/optim/index.ts';
import { Trainer } from '../../lib/train/index.ts';
import { smallInception, training } from '../passes/networks.ts';
import { devices, opDevices } from '../support/devices.ts';
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

/** Losses of ten compiled steps of a small network, and all that they have changed. */
function inceptionOn(backend: Backend) {
  using trained = training(backend, 'inception', 0.05, smallInception(), [3, 21]);
  using step = compile(trained.step);
  const losses = Array.from({ length: 10 }, (_, i) =>
    scope(() => step(...trained.inputs(i + 1)).dataSync()[0]!),
  );
  const state = [...trained.state].map(([name, variable]) => [name, [...variable.dataSync()]] as const);
  return { losses, state };
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

  it("gives the CPU's losses of ten compiled steps of a small Inception, in every order of threads the same", function () {
    const cpu = opDevices.find(({ name }) => name === 'cpu');
    const simulations = opDevices.filter(({ name }) => name.startsWith('cudasim'));
    if (cpu === undefined || simulations.length === 0) skip(this, 'there is no cpu or no cudasim');
    const expected = inceptionOn(cpu);
    const [first, ...others] = simulations.map(inceptionOn);
    expect(new Set(first!.losses).size, 'different losses').to.equal(10);
    for (const [i, loss] of first!.losses.entries())
      expect(loss / expected.losses[i]! - 1, `loss ${i + 1}`).to.be.closeTo(0, i === 0 ? 1e-5 : 2e-3);
    for (const other of others) expect(other).to.deep.equal(first);
  });
});
