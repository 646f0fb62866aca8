// Files of weights by their ending, run and checkpoint folders, atomic writing.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { CheckpointError } from '../../lib/core/errors.ts';
import { makeFolder, removeTemporaryFiles, writeFileAtomic } from '../../lib/interop/atomic.ts';
import { readNpy, writeNpy } from '../../lib/interop/npy.ts';
import { serializeSafetensors, writeSafetensors } from '../../lib/interop/safetensors.ts';
import type { StoredTensors } from '../../lib/interop/storedTensor.ts';
import { readWeights, type WeightFile, writeWeights } from '../../lib/interop/weights.ts';
import { ourWeights } from '../support/kerasFiles.ts';
import { damages, rejection } from './corruption.ts';

/** Weights of a network of one layer, told apart by `value`. */
const tiny = (value = 1): WeightFile => ({
  source: 'depthwise',
  arch: 'tiny',
  classes: 2,
  labels: ['cat', 'dog "small"'],
  preprocessing: 'keras',
  size: 96,
  options: { dropout: 0.5, nested: { b: [1, 2], a: null } },
  batchesTracked: { 'bn1.num_batches_tracked': 3 },
  tensors: new Map([
    ['fc.weight', { shape: [2, 3], data: new Float32Array(6).fill(value) }],
    ['fc.bias', { shape: [2], data: Float32Array.of(value, -value) }],
  ]),
});

describe('files of weights', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weights-test-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const at = (...names: string[]) => join(folder, ...names);

  it('.safetensors keeps everything', async () => {
    await writeWeights(at('a.safetensors'), tiny());
    expect(await readWeights(at('a.safetensors'))).to.deep.equal({ ...tiny(), file: at('a.safetensors') });
  });

  it('.safetensors is written as it is serialized, checksum and all', async () => {
    const stored = new Map([
      ['a', { dtype: 'f32', shape: [2 ** 21], data: new Float32Array(2 ** 21) } as const],
    ]);
    const metadata = new Map([['key', 'value']]);
    await writeSafetensors(at('a.safetensors'), stored, metadata);
    const written = await readFile(at('a.safetensors'));
    expect(written.equals(Buffer.concat(serializeSafetensors(stored, metadata)))).to.equal(true);
  });

  it('.safetensors has no time, no path and no order of making in it', async () => {
    await writeWeights(at('a.safetensors'), tiny());
    const { options, tensors, ...rest } = tiny();
    const reordered = Object.fromEntries(Object.entries(options).reverse());
    await writeWeights(at('b.safetensors'), {
      tensors: new Map([...tensors].reverse()),
      options: reordered,
      ...rest,
      file: 'elsewhere',
    });
    const [a, b] = await Promise.all([readFile(at('a.safetensors')), readFile(at('b.safetensors'))]);
    expect(a.equals(b)).to.equal(true);
  });

  for (const ending of ['h5', 'weights.h5']) {
    it(`.${ending} keeps the tensors of Xception`, async () => {
      const file = at(`x.${ending}`);
      const tensors = ourWeights(3);
      await writeWeights(file, { ...tiny(), arch: 'xception', options: { dropout: 0.5 }, tensors });
      const read = await readWeights(file);
      expect({ ...read, tensors: undefined, matched: read.matched?.length }).to.deep.equal({
        source: 'keras',
        arch: 'xception',
        classes: 3,
        preprocessing: 'keras',
        options: {},
        tensors: undefined,
        matched: tensors.size,
        file,
      });
      expect(read.tensors.get('predictions.weight')).to.deep.equal(tensors.get('predictions.weight'));
    });
  }

  it('refuses a network for Keras that Keras does not have, also where the tensors fit', async () => {
    const options = { dropout: 0.5, intermediateActivation: 'elu' };
    const weights = { ...tiny(), arch: 'xception', options, tensors: ourWeights(3) };
    const error = await writeWeights(at('elu.h5'), weights).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(CheckpointError);
    expect((error as Error).message).to.include('Keras has no xception with intermediateActivation: "elu"');
  });

  it('finds every flipped bit and every cut', async () => {
    await writeWeights(at('a.safetensors'), tiny());
    const whole = new Uint8Array(await readFile(at('a.safetensors')));
    for (const { what, bytes } of damages(whole, 1000, 4)) {
      if (Buffer.compare(bytes, whole) === 0) continue;
      await writeFile(at('b.safetensors'), bytes);
      const error = await rejection(
        readWeights(at('b.safetensors')).then(() => Promise.reject(new Error(what))),
      );
      expect(error.code, what).to.match(/^(SAFETENSORS_|WEIGHTS_|FILE_EMPTY)/);
    }
  });

  const refusals: [code: string, name: string, contents: string | undefined, words: RegExp][] = [
    ['FILE_MISSING', 'none.safetensors', undefined, /no such file/],
    ['FILE_EMPTY', 'empty.safetensors', '', /empty/],
    ['FILE_EMPTY', 'empty.weights.h5', '', /empty/],
    ['WEIGHTS_FORMAT', 'model.pt', 'x', /expected \.safetensors, \.h5, \.weights\.h5 or \.keras/],
    ['KERAS_ARCHIVE', 'model.keras', 'PK', /not a \.keras file, or damaged/],
    ['H5_FORMAT', 'text.h5', 'this is text', /not an HDF5 file/],
    ['SAFETENSORS_HEADER_SIZE', 'text.safetensors', 'this is text', /not a safetensors file/],
  ];
  for (const [code, name, contents, words] of refusals) {
    it(`refuses ${name} as ${code}`, async () => {
      if (contents !== undefined) await writeFile(at(name), contents);
      const error = await rejection(readWeights(at(name)));
      expect(error.code).to.equal(code);
      expect(error.message).to.match(words).and.contain(at(name)).and.not.contain('\n');
    });
  }

  it('refuses safetensors of other programs, and unknown configurations', async () => {
    const tensors: StoredTensors = new Map([
      ['conv1.weight', { dtype: 'f32', shape: [1], data: new Float32Array(1) } as const],
    ]);
    const refused = async (metadata: Record<string, string>) => {
      await writeSafetensors(at('a.safetensors'), tensors, new Map(Object.entries(metadata)));
      return rejection(readWeights(at('a.safetensors')));
    };
    const foreign = await refused({ format: 'pt' });
    expect(foreign.code).to.equal('WEIGHTS_FOREIGN');
    expect(foreign.message).to.contain('conv1.weight');
    tensors.set('\u001b[2J', { dtype: 'f32', shape: [1], data: new Float32Array(1) });
    expect((await refused({ format: 'pt' })).message).to.contain('\\u001b[2J');
    tensors.delete('\u001b[2J');
    expect((await refused({ format: 'depthwise', version: '2' })).code).to.equal('WEIGHTS_VERSION');
    const ours = { format: 'depthwise', version: '1' };
    const config = { arch: 'x', preprocessing: 'keras', options: {} };
    for (const wrong of [
      '',
      '[]',
      { ...config, arch: 3 },
      { ...config, classes: 2.5 },
      { ...config, classes: 2, labels: ['a'] },
      { ...config, batchesTracked: 0.5 },
      `{"arch":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    ]) {
      const text = typeof wrong === 'string' ? wrong : JSON.stringify(wrong);
      expect((await refused({ ...ours, config: text })).code, text.slice(0, 80)).to.equal('WEIGHTS_CONFIG');
    }
  });

  it('refuses to write an unknown ending', async () => {
    expect((await rejection(writeWeights(at('a.onnx'), tiny()))).code).to.equal('ARGUMENT');
    expect(await readdir(folder)).to.deep.equal([]);
  });

  describe('of a run', () => {
    const checkpoint = (step: number) => at('run', 'checkpoints', `step-${String(step).padStart(8, '0')}`);
    const valueIn = ({ tensors }: WeightFile) => tensors.get('fc.bias')?.data[0];

    beforeEach(async () => {
      for (const step of [5, 20, 100]) {
        await mkdir(checkpoint(step), { recursive: true });
        await writeWeights(join(checkpoint(step), 'model.safetensors'), tiny(step));
      }
      await writeWeights(join(checkpoint(100), 'average.safetensors'), tiny(99));
    });

    it('are the average of the newest checkpoint, or with raw the weights themselves', async () => {
      const read = await readWeights(at('run'));
      expect(valueIn(read)).to.equal(99);
      expect(read.file).to.equal(join(checkpoint(100), 'average.safetensors'));
      expect(valueIn(await readWeights(at('run'), { raw: true }))).to.equal(100);
      expect(valueIn(await readWeights(checkpoint(20)))).to.equal(20);
    });

    it('are those of the checkpoint before a damaged one, which is said', async () => {
      const file = join(checkpoint(100), 'average.safetensors');
      await writeFile(file, (await readFile(file)).subarray(0, 200));
      const said: string[] = [];
      const read = await readWeights(at('run'), { warn: (message) => said.push(message) });
      expect(valueIn(read)).to.equal(20);
      expect(said).to.have.length(1);
      expect(said[0]).to.contain(file).and.contain('step-00000020');
    });

    it('cannot be read when all are damaged, or when there is none', async () => {
      for (const step of [5, 20, 100]) await rm(join(checkpoint(step), 'model.safetensors'));
      const error = await rejection(readWeights(at('run'), { raw: true, warn: () => {} }));
      expect(error.message).to.contain('step-00000100');
      await rm(at('run', 'checkpoints'), { recursive: true });
      expect((await rejection(readWeights(at('run')))).code).to.equal('WEIGHTS_FOLDER');
    });
  });

  describe('written atomically', () => {
    it('replace what was there, and leave nothing beside it', async () => {
      await writeFile(at('x.bin'), 'old');
      await writeFileAtomic(at('x.bin'), [Buffer.from('ne'), Buffer.from('w')]);
      expect(await readFile(at('x.bin'), 'utf8')).to.equal('new');
      expect(await readdir(folder)).to.deep.equal(['x.bin']);
    });

    it('leave what was there when they cannot be written', async () => {
      await mkdir(at('x.bin'));
      const error = await rejection(writeFileAtomic(at('x.bin'), [Buffer.from('new')]));
      expect(error.name).to.equal('CheckpointError');
      expect(error.message).to.contain('unchanged');
      expect(await readdir(folder)).to.deep.equal(['x.bin']);
      expect((await rejection(writeFileAtomic(at('no', 'x.bin'), []))).code).to.equal('NO_FOLDER');
    });

    it('let what a killed process left be removed', async () => {
      await writeFile(at('.model.safetensors.12-0-3.tmp'), 'half');
      await writeFile(at('model.safetensors'), 'whole');
      await writeFile(at('notes.tmp'), 'mine');
      expect(await removeTemporaryFiles(folder)).to.deep.equal(['.model.safetensors.12-0-3.tmp']);
      expect((await readdir(folder)).sort()).to.deep.equal(['model.safetensors', 'notes.tmp']);
    });
  });

  describe('folders', () => {
    it('are made with those above them, once or twice', async () => {
      await makeFolder(at('a', 'b', 'c'));
      await makeFolder(at('a', 'b', 'c'));
      expect(await readdir(at('a', 'b'))).to.deep.equal(['c']);
    });

    it('that cannot be made are an error, also where the system says that the one above is not there', async function () {
      await writeFile(at('file'), '');
      const inFile = await rejection(makeFolder(at('file', 'a')));
      expect(inFile.message).to.contain(
        `${at('file', 'a')}: cannot be written: a part of its path is a file`,
      );
      if (!existsSync('/proc/self')) this.skip();
      const refused = await rejection(makeFolder('/proc/x/y'));
      expect(refused.code).to.equal('READ_ONLY');
      expect(refused.message).to.equal(
        '/proc/x/y: cannot be written: its file system lets nobody make folders there',
      );
    });
  });

  it('.npy files go to disk and back', async () => {
    const array = { dtype: 'f32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } as const;
    await writeNpy(at('x.npy'), array);
    expect(await readNpy(at('x.npy'))).to.deep.equal(array);
    expect((await rejection(readNpy(at('y.npy')))).message).to.equal(`${at('y.npy')}: no such file`);
  });
});
