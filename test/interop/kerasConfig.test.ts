// What the configuration of a whole Keras model says of the network, and what of it is refused; `.keras` archives that claim
// more than Keras writes.

import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { ZipFile } from 'yazl';
import { CheckpointError } from '../../lib/core/errors.ts';
import { parseKerasArchive } from '../../lib/interop/kerasArchive.ts';
import { settingsIn } from '../../lib/interop/kerasConfig.ts';
import { parseKeras } from '../../lib/interop/kerasH5.ts';
import { kerasFile, recorded, type Structure } from '../support/kerasFiles.ts';
import { rejection } from './corruption.ts';

/** A layer, as Keras 3 lists it. */
const layer = (class_name: string, config: object = {}) => ({ class_name, config, inbound_nodes: [] });
const model = (...layers: object[]) => JSON.stringify({ class_name: 'Functional', config: { layers } });
const input = (...batch_shape: (number | null)[]) => layer('InputLayer', { batch_shape });
const dense = (activation: unknown) => layer('Dense', { name: 'predictions', units: 10, activation });

const fail = (message: string): never => {
  throw new CheckpointError(message, { code: 'KERAS_CONFIG' });
};
const settings = (config: string, { arch = 'xception', hasClassifier = true } = {}) =>
  settingsIn(arch, config, hasClassifier, fail);

describe("configurations of Keras' models", () => {
  for (const activation of ['softmax', 'sigmoid'] as const) {
    it(`say that the classifier has ${activation}, by itself or behind it`, () => {
      const relu = layer('Activation', { activation: 'relu' });
      expect(settings(model(relu, dense(activation)))).to.deep.equal({ options: {}, activation });
      const behind = model(dense('linear'), layer('Activation', { activation }));
      expect(settings(behind)).to.deep.equal({ options: {}, activation });
    });
  }

  it('say nothing where the classifier gives logits', () => {
    for (const none of ['linear', null, undefined]) {
      expect(settings(model(dense(none)))).to.deep.equal({ options: {} });
    }
    expect(settings(model(dense('linear'), layer('Softmax')))).to.include({ activation: 'softmax' });
  });

  it('say the edge of the images, under the names of Keras 3 and 2', () => {
    expect(settings(model(input(null, 150, 150, 3)))).to.deep.equal({ options: {}, size: 150 });
    const older = layer('InputLayer', { batch_input_shape: [null, 96, 96, 3] });
    expect(settings(model(older))).to.deep.equal({ options: {}, size: 96 });
    expect(settings(model(input(null, null, null, 3)))).to.deep.equal({ options: {} });
  });

  it('may leave the edge open in a model within one that fixes it', () => {
    const inner = layer('Functional', { layers: [input(null, null, null, 3)] });
    expect(settings(model(input(null, 150, 150, 3), inner))).to.deep.equal({ options: {}, size: 150 });
  });

  it('are followed into a model within the model', () => {
    const inner = layer('Functional', { layers: [layer('BatchNormalization', { epsilon: 1e-5 })] });
    const read = settings(model(input(null, 71, 71, 3), inner, dense('sigmoid')));
    expect(read).to.deep.equal({ options: { epsilon: 1e-5 }, size: 71, activation: 'sigmoid' });
  });

  it('have nothing to say of a head that is not there', () => {
    const other = model(input(null, 200, 300, 3), layer('GlobalMaxPooling2D'));
    expect(settings(other, { hasClassifier: false })).to.deep.equal({ options: {} });
  });

  for (const [what, config, says] of [
    ['an activation', model(dense('tanh')), /classifier has activation "tanh", expected softmax, sigmoid/],
    [
      'a function of its own',
      model(dense({ class_name: 'function', config: 'mine' })),
      /activation \{"class_name":"function"/,
    ],
    ['two of them', model(dense('softmax'), layer('Softmax')), /softmax and softmax behind one another/],
    [
      'another nonlinearity',
      model(layer('Activation', { activation: 'elu' })),
      /Activation "elu", expected relu/,
    ],
    ['a layer of another kind', model(layer('Rescaling', { scale: 2 })), /layer "Rescaling", which xception/],
    ['images that are not square', model(input(null, 200, 300, 3)), /input is \[null,200,300,3\], expected/],
    [
      'channels first',
      model(input(null, 3, 71, 71)),
      /expected \[batch, size, size, 3\]; the file of save_w/,
    ],
    [
      'an activation in a convolution',
      model(layer('Conv2D', { activation: 'relu' })),
      /Conv2D with activation "relu"/,
    ],
    [
      'a ReLU that ends at 6',
      model(layer('ReLU', { max_value: 6 })),
      /ReLU with max_value 6, which xception has not/,
    ],
    ['a leaky ReLU', model(layer('ReLU', { negative_slope: 0.1 })), /negative_slope 0\.1/],
    [
      'pooling without padding',
      model(layer('MaxPooling2D', { padding: 'valid' })),
      /padding "valid".*expected "same"/,
    ],
    ['text', 'model', /is not JSON/],
    ['nesting without end', `${'['.repeat(1e6)}${']'.repeat(1e6)}`, /nested deeper than 64 levels/],
  ] as const) {
    it(`are refused with ${what}`, () => {
      expect(() => settings(config)).to.throw(CheckpointError, says);
    });
  }
});

describe('.keras archives that claim too much', () => {
  const archive = async (fill: (zip: ZipFile) => void) => {
    const zip = new ZipFile();
    fill(zip);
    zip.end();
    return new Uint8Array(await buffer(zip.outputStream));
  };
  const refused = async (bytes: Uint8Array, says: RegExp) => {
    const error = await rejection(parseKerasArchive(bytes, 'x.keras'));
    expect(error.code).to.equal('KERAS_ARCHIVE');
    expect(error.message).to.match(says);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    expect(error.message).not.to.match(/[\x00-\x1f\x7f-\x9f]/);
  };
  const small = Buffer.from('not weights');

  it('by a name that is there twice', async () => {
    const twice = await archive((zip) => {
      zip.addBuffer(small, 'model.weights.h5');
      zip.addBuffer(small, 'model.weights.h5');
    });
    await refused(twice, /two entries are named model\.weights\.h5$/);
    const odd = await archive((zip) => {
      for (let i = 0; i < 2; i++) zip.addBuffer(small, 'assets/\u001b[2J\u009b');
    });
    await refused(odd, /two entries are named assets\/\\u001b\[2J\\u009b$/);
  });

  it('by the number of their entries', async () => {
    const many = await archive((zip) => {
      for (let i = 0; i < 1001; i++) zip.addBuffer(Buffer.alloc(0), `assets/${i}`);
    });
    await refused(many, /1001 entries, expected at most 1000$/);
  });

  it('by a configuration that unpacks to more than any has', async () => {
    const large = await archive((zip) => {
      zip.addBuffer(small, 'model.weights.h5');
      zip.addBuffer(Buffer.alloc(2 ** 24 + 1), 'config.json');
    });
    await refused(large, /config\.json has 16777217 bytes, expected at most 16777216$/);
  });

  it('by a size that nothing of its length unpacks to, before memory is taken for it', async () => {
    const bytes = await archive((zip) => zip.addBuffer(small, 'model.weights.h5'));
    const directory = Buffer.from(bytes.buffer).indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
    new DataView(bytes.buffer).setUint32(directory + 24, 2 ** 31 - 1, true);
    await refused(bytes, /model\.weights\.h5 claims 2147483647 bytes of \d+ that are packed$/);
  });
});

describe("Keras' files with names and numbers that cannot be", function () {
  this.timeout(60_000);
  const refusal = async (change: (file: Structure) => void) => {
    const file = structuredClone(recorded.files.layers as Structure);
    change(file);
    return rejection(parseKeras(await kerasFile(file), 'x.h5'));
  };

  it('are refused for a classifier of more classes than there are', async () => {
    const error = await refusal((file) => {
      file.datasets['/layers/dense/vars/0'] = { shape: [1, 100_001], weight: 'x' };
    });
    expect(error.code).to.equal('KERAS_WEIGHTS');
    expect(error.message).to.equal('x.h5: its classifier has 100001 classes, expected 1 to 100000');
  });

  it('are refused with what would move a terminal escaped', async () => {
    const error = await refusal((file) => {
      file.datasets['/layers/\u001b[2J\nall is well/vars/0'] = { shape: [3], weight: 'x' };
    });
    expect(error.message).to.contain('1 unexpected (\\u001b[2J all is well)');
  });
});
