// Keras' files of Inception V3, whose layers have no names of their own; and `.keras` archives of both networks.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { ZipFile } from 'yazl';
import { readH5 } from '../../lib/interop/h5File.ts';
import { parseKerasArchive } from '../../lib/interop/kerasArchive.ts';
import { parseKeras } from '../../lib/interop/kerasH5.ts';
import { nameStem, nameSuffix } from '../../lib/interop/kerasLayers.ts';
import { type KerasWriteFormat, serializeKeras } from '../../lib/interop/kerasWrite.ts';
import type { WeightTensor } from '../../lib/interop/storedTensor.ts';
import { readWeights } from '../../lib/interop/weights.ts';
import { kerasFile, ourWeights, recorded, recordedInception, type Structure } from '../support/kerasFiles.ts';
import { damages, rejection } from './corruption.ts';

const arch = 'inception_v3';
const { classes, files } = recordedInception;

type Tensors = ReadonlyMap<string, WeightTensor>;

/** The first weight in which two sets differ, or undefined. */
function difference(a: Tensors, b: Tensors): string | undefined {
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    const [x, y] = [a.get(name), b.get(name)];
    if (x === undefined || y === undefined || x.shape.join() !== y.shape.join()) return name;
    if (x.data.some((value, i) => !Object.is(value, y.data[i]))) return name;
  }
  return undefined;
}

describe('Keras files of Inception V3', function () {
  this.timeout(60_000);
  const whole = ourWeights(classes, arch);

  for (const [name, structure] of Object.entries(files)) {
    it(`reads every weight to its place: ${name}`, async () => {
      const read = await parseKeras(await kerasFile(structure));
      expect(read).to.include({ arch, classes, layout: name });
      expect(difference(whole, read.tensors)).to.equal(undefined);
      for (const { name: ours, source } of read.matched) {
        expect(structure.datasets[source]?.weight, source).to.equal(ours);
      }
      expect(read.matched).to.have.length(whole.size);
    });
  }

  for (const format of ['h5', 'weights.h5'] as KerasWriteFormat[]) {
    it(`gives back what was written as .${format}, with and without classifier`, async () => {
      for (const weights of [whole, ourWeights(undefined, arch)]) {
        const read = await parseKeras(await serializeKeras(weights, format, { arch }));
        expect(difference(weights, read.tensors)).to.equal(undefined);
      }
    });
  }

  it('writes the layers in the order in which Keras lists them, with its counters', async () => {
    const written = await readH5(await serializeKeras(whole, 'h5', { arch }), 'x.h5', (h5) =>
      h5.strings('/', 'layer_names'),
    );
    // The recorded model was the second of its process: 94 of each class come before.
    const listed = (files.root.attributes['/'] as { layer_names: string[] }).layer_names
      .filter((layer) => /^(conv2d|batch_normalization|predictions)/.test(layer))
      .map((layer) => {
        if (layer === 'predictions') return layer;
        const number = nameSuffix(layer) - 94;
        return number === 0 ? nameStem(layer) : `${nameStem(layer)}_${number}`;
      });
    expect(written).to.deep.equal(listed);
  });

  describe('refuses', () => {
    const refusal = async (change: (file: Structure) => void) => {
      const file = structuredClone(files.layers);
      change(file);
      return rejection(parseKeras(await kerasFile(file), 'x.h5'));
    };

    it('a missing normalization', async () => {
      const error = await refusal((file) => {
        delete file.datasets['/layers/batch_normalization_93/vars/2'];
      });
      expect(error.code).to.equal('KERAS_WEIGHTS');
      expect(error.message).to.contain(
        'weights do not fit inception_v3: 1 missing (mixed10_pool_bn.running_var)',
      );
    });

    it('layers whose numbers contradict the order that is counted on', async () => {
      const [a, b] = ['/layers/conv2d_50/vars', '/layers/conv2d_51/vars'] as const;
      const error = await refusal((file) => {
        const groups = file.attributes;
        [groups[a], groups[b]] = [groups[b] ?? {}, groups[a] ?? {}];
      });
      expect(error.code).to.equal('KERAS_LAYOUT');
      expect(error.message).to.match(/is named conv2d_\d+, expected a number above that of conv2d_\d+/);
    });
  });
});

describe('.keras archives', function () {
  this.timeout(60_000);
  const archive = async (entries: Readonly<Record<string, Uint8Array | string>>, compress = false) => {
    const zip = new ZipFile();
    for (const [name, contents] of Object.entries(entries))
      zip.addBuffer(Buffer.from(contents), name, { compress });
    zip.end();
    return new Uint8Array(await buffer(zip.outputStream));
  };
  const normalization = (more: object) => ({
    class_name: 'BatchNormalization',
    config: { axis: 3, ...more },
  });
  const config = (...layers: object[]) => JSON.stringify({ class_name: 'Functional', config: { layers } });
  let weights: Uint8Array;
  before(async () => {
    weights = await kerasFile(recorded.files.layers as Structure);
  });

  for (const compress of [false, true]) {
    it(`are read, ${compress ? 'compressed' : 'stored'}`, async () => {
      const json = config(normalization({ epsilon: 0.001, momentum: 0.99 }));
      const bytes = await archive(
        { 'metadata.json': '{}', 'config.json': json, 'model.weights.h5': weights },
        compress,
      );
      const read = await parseKerasArchive(bytes);
      expect(read).to.deep.include({ arch: 'xception', classes: recorded.classes, options: {} });
      expect(difference(ourWeights(recorded.classes), read.tensors)).to.equal(undefined);
    });
  }

  it('tell the rules of a model that is not that of Keras Applications', async () => {
    const other = config(normalization({ epsilon: 1e-5, momentum: 0.9 }), normalization({ epsilon: 1e-5 }));
    const read = await parseKerasArchive(
      await archive({ 'config.json': other, 'model.weights.h5': weights }),
    );
    expect(read.options).to.deep.equal({ epsilon: 1e-5, batchNormMomentum: 0.9 });
    const mixed = config(normalization({ epsilon: 1e-5 }), normalization({ epsilon: 1e-3 }));
    const error = await rejection(
      parseKerasArchive(await archive({ 'config.json': mixed, 'model.weights.h5': weights })),
    );
    expect(error.code).to.equal('KERAS_CONFIG');
    expect(error.message).to.contain('epsilon 0.00001 and 0.001, expected one value');
  });

  it('are refused without weights, cut, or with any flipped bit, by name', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keras-archive-'));
    try {
      const file = join(folder, 'x.keras');
      const refusal = async (bytes: Uint8Array) => {
        await writeFile(file, bytes);
        const error = await rejection(readWeights(file));
        expect(error.message).to.contain(file).and.not.contain('\n');
        return error;
      };
      expect((await refusal(await archive({ 'config.json': '{}' }))).message).to.contain(
        'no model.weights.h5',
      );
      const small = await archive({ 'model.weights.h5': 'not HDF5, but long enough to be damaged' });
      expect((await refusal(small)).code).to.equal('H5_FORMAT');
      expect((await refusal(weights)).code).to.equal('KERAS_ARCHIVE');
      for (const { bytes } of damages(small, 200, 5)) {
        if (bytes.length === 0) continue;
        expect((await refusal(bytes)).code).to.match(/^(KERAS_ARCHIVE|H5_FORMAT)$/);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
