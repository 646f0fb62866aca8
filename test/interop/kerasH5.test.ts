// Keras' files: every layout by values, files written as they were read, other networks, missing and damaged
// parts.

import { spawnSync } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { buildH5, type H5Reader, readH5 } from '../../lib/interop/h5File.ts';
import { parseKeras } from '../../lib/interop/kerasH5.ts';
import { type KerasWriteFormat, serializeKeras } from '../../lib/interop/kerasWrite.ts';
import { xceptionWeights } from '../../lib/interop/xceptionNames.ts';
import { kerasFile, ourWeights, recorded, type Structure } from '../support/kerasFiles.ts';
import { damages, rejection } from './corruption.ts';

/** The first weight in which two sets differ, or undefined. */
function difference(a: ReturnType<typeof ourWeights>, b: ReturnType<typeof ourWeights>): string | undefined {
  if (a.size !== b.size) return `${a.size} and ${b.size} weights`;
  for (const [name, { shape, data }] of a) {
    const other = b.get(name);
    if (other === undefined) return `${name} is missing`;
    if (shape.join() !== other.shape.join()) return `${name} is [${other.shape}], expected [${shape}]`;
    const bytes = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
    if (Buffer.compare(bytes(data), bytes(other.data)) !== 0) return `${name} has other values`;
  }
  return undefined;
}

const structure = (name: string): Structure => structuredClone(recorded.files[name] as Structure);
const withTop = ourWeights(recorded.classes);
const layoutOf = (name: string) => name.replace('no_top_', '');

describe('Keras files of Xception', () => {
  it('has the parameters that Keras counts', () => {
    const count = (names: (name: string) => boolean) =>
      xceptionWeights(1000)
        .filter(({ name }) => names(name))
        .reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
    expect(count((name) => !name.includes('running'))).to.equal(22_855_952);
    expect(count(() => true)).to.equal(22_910_480);
  });

  for (const [name, recordedStructure] of Object.entries(recorded.files)) {
    it(`reads every weight to its place: ${name}`, async () => {
      const classes = name.startsWith('no_top') ? undefined : recorded.classes;
      const read = await parseKeras(await kerasFile(recordedStructure));
      expect(read.layout).to.equal(layoutOf(name));
      expect(read.classes).to.equal(classes);
      const expected = ourWeights(classes);
      expect(difference(expected, read.tensors)).to.equal(undefined);
      expect(read.arch).to.equal('xception');
      expect(read.options).to.deep.equal({});
    });
  }

  for (const format of ['h5', 'weights.h5'] as KerasWriteFormat[]) {
    it(`gives back what was written as .${format}, and the same bytes at another time`, async () => {
      const bytes = await serializeKeras(withTop, format);
      // HDF5 keeps times in whole seconds.
      await setTimeout(1100);
      const again = await serializeKeras(new Map([...withTop].reverse()), format);
      expect(Buffer.compare(bytes, again)).to.equal(0);
      expect(difference(withTop, (await parseKeras(bytes)).tensors)).to.equal(undefined);
    });
  }

  it('writes the paths and shapes that Keras writes', async () => {
    const paths = (bytes: Uint8Array, expected: Structure) =>
      readH5(bytes, 'x.h5', (h5) => {
        for (const [path, { shape }] of Object.entries(expected.datasets)) {
          expect(h5.dataset(path)?.shape, path).to.deep.equal(shape);
        }
      });
    await paths(await serializeKeras(withTop, 'weights.h5'), structure('layers'));
    // The layout of the published files from a first model: as in the whole model, but at the root and with
    // ":0".
    const first = structure('model_weights');
    const atRoot = Object.entries(first.datasets).map(([path, dataset]) => [
      `${path.replace('/model_weights', '')}:0`,
      dataset,
    ]);
    await paths(await serializeKeras(withTop, 'h5'), { ...first, datasets: Object.fromEntries(atRoot) });
  });

  it('refuses to write weights that are not those of Xception', async () => {
    const refused = async (change: (weights: typeof withTop) => void) => {
      const weights = new Map(withTop);
      change(weights);
      return rejection(serializeKeras(weights, 'h5', { file: 'out.h5' }));
    };
    const missing = await refused((weights) => weights.delete('block5_sepconv2.pointwise.weight'));
    expect(missing.code).to.equal('KERAS_WEIGHTS');
    expect(missing.message).to.contain('out.h5').and.contain('block5_sepconv2.pointwise.weight is missing');
    const extra = await refused((weights) =>
      weights.set('fc.bias', { shape: [1], data: new Float32Array(1) }),
    );
    expect(extra.message).to.contain('fc.bias has no place');
    const shape = { shape: [31], data: new Float32Array(31) };
    const other = await refused((weights) => weights.set('block1_conv1_bn.beta', shape));
    expect(other.message).to.contain('block1_conv1_bn.beta is [31], expected [32]');
  });

  describe('refuses', () => {
    const refusal = async (change: (file: Structure) => void, from = 'root') => {
      const file = structure(from);
      change(file);
      const error = await rejection(parseKeras(await kerasFile(file), 'x.h5'));
      expect(error.message).to.match(/^x\.h5: [^\n]{10,400}$/);
      return error;
    };

    it('a missing weight and an unexpected layer, each by name', async () => {
      const error = await refusal((file) => {
        delete file.datasets['/layers/separable_conv2d_7/vars/1'];
        file.datasets['/layers/dense_1/vars/0'] = { shape: [3], weight: 'x' };
      }, 'layers');
      expect(error.code).to.equal('KERAS_WEIGHTS');
      expect(error.message).to.contain('1 missing (block5_sepconv2.pointwise.weight)');
      expect(error.message).to.contain('1 unexpected (dense_1)');
    });

    it('a weight of another shape', async () => {
      const error = await refusal((file) => {
        (file.datasets['/layers/batch_normalization_3/vars/2'] as { shape: number[] }).shape = [127];
      }, 'layers');
      expect(error.code).to.equal('KERAS_WEIGHTS');
      expect(error.message).to.contain(
        '1 of another shape (/layers/batch_normalization_3/vars/2 [127], expected [128])',
      );
    });

    it('an order that the noted names contradict', async () => {
      const error = await refusal((file) => {
        const groups = file.attributes;
        const [a, b] = ['/layers/separable_conv2d_9/vars', '/layers/separable_conv2d_10/vars'] as const;
        [groups[a], groups[b]] = [groups[b] ?? {}, groups[a] ?? {}];
      }, 'layers');
      expect(error.code).to.equal('KERAS_LAYOUT');
      expect(error.message).to.contain('is named block6_sepconv2, expected block6_sepconv1');
    });

    it('a shortcut too few', async () => {
      const error = await refusal((file) => {
        const names = file.attributes['/'] as { layer_names: string[] };
        names.layer_names = names.layer_names.filter((name) => name !== 'conv2d_10');
      });
      expect(error.code).to.equal('KERAS_WEIGHTS');
      expect(error.message).to.contain('block13_shortcut.weight');
    });

    it('a weight that is listed and not there', async () => {
      const error = await refusal((file) => {
        delete file.datasets['/predictions/predictions/bias:0'];
      });
      expect(error.code).to.equal('KERAS_LAYOUT');
      expect(error.message).to.contain('predictions/bias:0');
    });

    it('another network, with what it has instead', async () => {
      const counted = await buildH5((h5) => {
        for (let i = 0; i < 20; i++) {
          h5.group(`/layers/conv2d_${i}/vars`);
          h5.dataset(`/layers/conv2d_${i}/vars/0`, [1, 1, 4, 4], new Float32Array(16));
        }
      });
      const named = await buildH5((h5) => {
        h5.strings('/', 'layer_names', ['conv1_conv']);
        h5.group('/conv1_conv/conv1_conv');
        h5.strings('/conv1_conv', 'weight_names', ['conv1_conv/kernel:0']);
        h5.dataset('/conv1_conv/conv1_conv/kernel:0', [7, 7, 3, 2], new Float32Array(294));
      });
      for (const [bytes, evidence] of [
        [counted, '20 conv2d'],
        [named, 'its layers are conv1_conv'],
      ] as const) {
        const error = await rejection(parseKeras(bytes, 'resnet.h5'));
        expect(error.code).to.equal('KERAS_OTHER_NETWORK');
        expect(error.message).to.contain('weights of another network').and.contain(evidence);
      }
    });

    it('an HDF5 file that is not of Keras, and a file that is not HDF5', async () => {
      const data = await buildH5((h5) => h5.dataset('/images', [2], new Float32Array(2)));
      const error = await rejection(parseKeras(data, 'x.h5'));
      expect(error.code).to.equal('KERAS_LAYOUT');
      expect(error.message).to.contain('found images');
      expect((await rejection(parseKeras(new TextEncoder().encode('weights!'), 'x.h5'))).code).to.equal(
        'H5_FORMAT',
      );
    });

    it('a file that is cut', async () => {
      const whole = await kerasFile(structure('layers'));
      for (const size of [100, 5000, whole.length >> 1, whole.length - 1]) {
        const error = await rejection(parseKeras(whole.slice(0, size), 'x.h5'));
        expect(error.code).to.equal('H5_DAMAGED');
        expect(error.message).to.match(/^x\.h5: damaged: truncated file: [^\n]*$/);
      }
    });
  });
});

describe('HDF5 files', () => {
  const small = () =>
    buildH5((h5) => {
      h5.strings('/', 'layer_names', ['a', 'bcd']);
      for (const name of ['a', 'bcd']) {
        h5.group(`/${name}/vars`);
        h5.strings(`/${name}`, 'name', 'one string');
        h5.dataset(`/${name}/vars/0`, [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
      }
    });
  const everything = (h5: H5Reader) => ({
    names: h5.strings('/', 'layer_names'),
    layers: h5.children('/').map((layer) => ({
      name: h5.strings(`/${layer}`, 'name'),
      sets: h5.children(`/${layer}/vars`).map((set) => {
        const dataset = h5.dataset(`/${layer}/vars/${set}`);
        // A damaged shape may ask for any amount of memory.
        if (dataset === undefined || dataset.shape.reduce((n, d) => n * d, 1) > 1000) return dataset?.shape;
        return [dataset.shape, [...h5.read(dataset).data]];
      }),
    })),
  });
  const sets = [
    [
      [2, 3],
      [1, 2, 3, 4, 5, 6],
    ],
  ];
  const layer = { name: ['one string'], sets };
  const expected = { names: ['a', 'bcd'], layers: [layer, layer] };

  it('give back what was written', async () => {
    expect(await readH5(await small(), 'x.h5', everything)).to.deep.equal(expected);
  });

  it('say what is not there', async () => {
    await readH5(await small(), 'x.h5', (h5) => {
      expect(h5.dataset('/a')).to.equal(undefined);
      expect(h5.dataset('/b/c/d')).to.equal(undefined);
      expect(h5.strings('/a', 'other')).to.equal(undefined);
      expect(h5.children('/nowhere')).to.deep.equal([]);
    });
  });

  it('that are cut print nothing of their own', () => {
    // The library writes its error stacks to stderr; only another process can tell whether any gets there.
    const code = `
      import { buildH5, readH5 } from './lib/interop/h5File.ts';
      const whole = await buildH5((h5) => h5.dataset('/a', [2], new Float32Array(2)));
      await readH5(whole.slice(0, 1000), 'x.h5', () => 0).catch((error) => console.log(error.code));
      await readH5(whole, 'x.h5', (h5) => console.log(h5.dataset('/a').shape.join()));`;
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const flags = ['--import', 'tsx', '--input-type=module', '-e', code];
    const child = spawnSync(process.execPath, flags, { cwd: root, encoding: 'utf8' });
    expect(child.stdout).to.equal('H5_DAMAGED\n2\n');
    expect(child.stderr).to.equal('');
  });

  it('never do worse than a typed error when damaged, and do not disturb the next file', async () => {
    const whole = await small();
    let refusals = 0;
    for (const { what, bytes } of damages(whole, 400, 3)) {
      const { error, result } = await readH5(bytes, 'x.h5', everything).then(
        (value) => ({ error: undefined, result: value }),
        (reason: unknown) => ({ error: reason, result: undefined }),
      );
      if (result === undefined) {
        expect(error, what).to.have.property('name', 'CheckpointError');
        refusals += 1;
      }
      if (refusals % 10 === 1)
        expect(await readH5(whole.slice(), 'x.h5', everything)).to.deep.equal(expected);
    }
    expect(refusals).to.be.above(200);
  });
});
