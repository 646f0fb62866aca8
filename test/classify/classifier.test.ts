// Classifiers: predicting from every kind of input, saving, loading, and what is refused.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ArgumentError, CheckpointError, DataError } from '../../lib/core/errors.ts';
import { decodeImage } from '../../lib/data/index.ts';
import {
  type Classifier,
  createClassifier,
  fittedToSize,
  inceptionV3,
  loadModel,
  memory,
  openDevice,
  readWeights,
  withoutAuxiliary,
  xception,
} from '../../lib/index.ts';
import { networkDevices } from '../support/devices.ts';
import { photographs, recordedXception } from '../support/fixtures.ts';

const heldOut = join(import.meta.dirname, '../../examples/data/held-out');
const photograph = join(heldOut, 'shirt.jpg');
const labels = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];

for (const backend of networkDevices) {
  describe(`classifier on ${backend.name}`, function () {
    this.timeout(120_000);
    let folder: string;
    let model: Classifier;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'depthwise-classifier-'));
      model = createClassifier('xception', { classes: labels, size: 71, dropout: 0 });
      model.loadWeights(recordedXception({ gain: 40 }));
      model.to(backend);
    });
    after(() => {
      model.dispose();
      rmSync(folder, { recursive: true });
    });

    it('gives the same for a path, a Buffer, pixels and an array', async () => {
      const pixels = {
        data: await decodeImage(photograph, { height: 71, width: 71 }),
        height: 71,
        width: 71,
      };
      const [path, buffer, raw] = await model.predict([photograph, readFileSync(photograph), pixels]);
      const [array] = await model.predict({ data: pixels.data, shape: [1, 71, 71, 3] });
      const [single] = await model.predict(photograph);
      expect(path?.length).to.equal(5);
      expect(buffer).to.deep.equal(path);
      expect(raw).to.deep.equal(path);
      for (const other of [array, single]) {
        other?.forEach(({ index, label, probability }, i) => {
          expect([index, label]).to.deep.equal([path?.[i]?.index, path?.[i]?.label]);
          expect(probability).to.be.closeTo(path?.[i]?.probability as number, 1e-5);
        });
      }
    });

    it('gives the same, compiled and eager, for every kind of output', async () => {
      for (const logits of [false, true]) {
        const [compiled] = await model.predict(photograph, { top: 10, logits });
        const [eager] = await model.predict(photograph, { top: 10, logits, mode: 'eager' });
        expect(eager?.length).to.equal(10);
        const expected = new Map(compiled?.map(({ index, probability }) => [index, probability]));
        const scale = logits ? Math.max(...expected.values()) : 1;
        for (const { index, probability } of eager ?? []) {
          expect(probability / scale).to.be.closeTo((expected.get(index) as number) / scale, 1e-5);
        }
      }
    });

    it('orders classes by probability, which add up to 1', async () => {
      const [all] = await model.predict(photograph, { top: 99 });
      expect(all?.length).to.equal(10);
      const probabilities = (all ?? []).map(({ probability }) => probability);
      expect([...probabilities].sort((a, b) => b - a)).to.deep.equal(probabilities);
      expect(probabilities.reduce((sum, p) => sum + p)).to.be.closeTo(1, 1e-5);
      expect(all?.[0]?.label).to.equal(labels[all?.[0]?.index as number]);
    });

    it('does not depend on how images are split into batches', async () => {
      const images = photographs().images;
      const some = { data: images.data.subarray(0, 7 * 96 * 96 * 3), shape: [7, 96, 96, 3] };
      const whole = await model.outputs(some, { batchSize: 7 });
      const parts = await model.outputs(some, { batchSize: 3 });
      whole.forEach((p, i) => {
        expect(parts[i]).to.be.closeTo(p, 1e-5);
      });
    });

    it('takes float32 as it stands, at its own size', async () => {
      const pixels = await decodeImage(photograph, { height: 80, width: 75 });
      const shape = [1, 80, 75, 3];
      const floats = Float32Array.from(pixels, (v) => v / 127.5 - 1);
      const logits = await model.outputs({ data: floats, shape }, { logits: true });
      expect(logits.every(Number.isFinite)).to.equal(true);
      const resized = await model.outputs({ data: pixels, shape }, { logits: true });
      expect(logits).to.not.deep.equal(resized);
    });

    for (const ending of ['.safetensors', '.h5', '.weights.h5']) {
      it(`comes back from ${ending} as it was`, async () => {
        const file = join(folder, `model${ending}`);
        await model.save(file);
        const loaded = await loadModel(file, { size: 71 });
        loaded.to(backend);
        expect(loaded.config.classes).to.equal(10);
        if (ending === '.safetensors') expect(loaded.config).to.deep.equal(model.config);
        const expected = await model.predict(photograph, { top: 10, logits: true });
        const got = await loaded.predict(photograph, { top: 10, logits: true });
        expect(got[0]?.map(({ probability }) => probability)).to.deep.equal(
          expected[0]?.map(({ probability }) => probability),
        );
        loaded.dispose();
      });
    }

    it('gets a new classifier in place of its own, and keeps all else', async () => {
      const file = join(folder, 'start.safetensors');
      await model.save(file);
      using named = await loadModel(file, { newClasses: ['cat', 'dog'] });
      expect(named.config).to.deep.equal({ ...model.config, classes: 2, labels: ['cat', 'dog'] });
      named.to(backend);
      const kept = await model.weights();
      for (const [name, { shape, data }] of await named.weights()) {
        if (name.startsWith('predictions.')) expect(shape[0], name).to.equal(2);
        else expect(data, name).to.deep.equal(kept.get(name)?.data);
      }
      using counted = await loadModel(file, { newClasses: 3 });
      expect(counted.config.classes).to.equal(3);
      expect(counted.config.labels).to.equal(undefined);
    });

    it('changes nothing when weights do not fit', async () => {
      const before = await model.predict(photograph);
      const wrong = recordedXception({ gain: 1 });
      wrong.set('predictions.bias', { shape: [3], data: new Float32Array(3) });
      expect(() => model.loadWeights(wrong)).to.throw(
        CheckpointError,
        'predictions.bias is [3], expected [10]',
      );
      wrong.delete('predictions.bias');
      expect(() => model.loadWeights(wrong)).to.throw(CheckpointError, 'predictions.bias is missing');
      expect(await model.predict(photograph)).to.deep.equal(before);
      wrong.set('predictions.bias', { shape: [3], data: new Float32Array(3) });
      const left = model.loadWeights(wrong, { skipClassifier: true });
      expect(left).to.deep.equal(['predictions.bias']);
      model.loadWeights(recordedXception({ gain: 40 }));
      expect(await model.predict(photograph)).to.deep.equal(before);
    });

    it('refuses what it cannot use, in one line', async () => {
      const rejection = async (promise: Promise<unknown>) =>
        promise.then(
          () => expect.fail('nothing was thrown'),
          (error: Error) => error,
        );
      const missing = await rejection(model.predict([photograph, join(heldOut, 'nothing.jpg')]));
      expect(missing).to.be.instanceOf(DataError);
      expect(missing.message).to.match(/nothing\.jpg: no such file$/);
      const shape = await rejection(model.predict({ data: new Uint8Array(4), shape: [1, 2, 2, 1] }));
      expect(shape).to.be.instanceOf(DataError);
      const floats = (edge: number, odd = 0) => {
        const data = new Float32Array(2 * edge * edge * 3);
        data[edge * edge * 3 + edge * 3 + 2] = odd;
        return { data, shape: [2, edge, edge, 3] };
      };
      const small = await rejection(model.outputs(floats(70)));
      expect(small).to.be.instanceOf(DataError);
      expect(small.message).to.match(/as they stand, 70 x 70 pixels; xception takes at least 71 x 71$/);
      for (const odd of [Number.NaN, Number.NEGATIVE_INFINITY]) {
        const { message } = await rejection(model.predict(floats(71, odd)));
        expect(message).to.equal(`image 1 has ${odd} at row 1, column 0, channel 2; expected finite numbers`);
      }
      expect(await rejection(model.predict(photograph, { top: 0 }))).to.be.instanceOf(ArgumentError);
      expect(() => xception({ size: 70 })).to.throw(ArgumentError, 'at least 71 pixels, got 70');
      expect(() => xception({ classes: 0 })).to.throw(ArgumentError);
    });

    it('frees its weights and programs', async () => {
      const { bytes } = memory();
      const second = createClassifier('xception', { classes: 10, size: 71 });
      second.loadWeights(recordedXception({ gain: 40 }));
      await second.predict(photograph, { device: backend.name });
      await second.predict(photograph, { mode: 'eager' });
      expect(memory().bytes).to.be.greaterThan(bytes + 80e6);
      second.dispose();
      expect(memory().bytes).to.equal(bytes);
    });
  });
}

describe('weights of Inception V3 with a classifier at the side', () => {
  const rules = { auxiliary: true, scale: true, countPadding: true, unbiasedVariance: true } as const;
  let folder: string;
  let file: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-auxiliary-'));
    file = join(folder, 'model.torchvision.safetensors');
    using model = inceptionV3({ classes: 4, ...rules });
    model.to(openDevice('cpu'));
    await model.save(file);
  });
  after(() => rmSync(folder, { recursive: true }));

  it('are loaded with it, and without it for images that it cannot take', async () => {
    using whole = await loadModel(file);
    expect(whole.config.options).to.include(rules);
    using small = await loadModel(file, { size: 75 });
    const { auxiliary, ...others } = rules;
    expect(small.config.size).to.equal(75);
    expect(small.config.options).to.include(others).and.not.have.property('auxiliary');
    expect(auxiliary).to.equal(true);
    expect([...small.network.state().keys()].filter((name) => name.startsWith('aux_'))).to.deep.equal([]);
  });

  it('stay as they are where there is nothing to leave out', async () => {
    const weights = await readWeights(file);
    expect(fittedToSize(weights, 299)).to.equal(weights);
    const without = fittedToSize(weights, 298);
    expect(without.options).to.not.have.property('auxiliary');
    expect(weights.tensors.size - without.tensors.size).to.equal(12);
    expect(withoutAuxiliary(without)).to.equal(without);
  });
});
