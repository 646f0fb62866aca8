// Weights with timm's and torchvision's names: held against the names that the libraries have, by values, there and back
// with the same bits, and what is refused.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { imagenetLabels, imagenetSynsets } from '../../lib/interop/imagenet.ts';
import { readSafetensors, writeSafetensors } from '../../lib/interop/safetensors.ts';
import { elementCount, type StoredTensor, type StoredTensors } from '../../lib/interop/storedTensor.ts';
import { parseTorch, toTorchTensors } from '../../lib/interop/torchWeights.ts';
import { readWeights, writeWeights } from '../../lib/interop/weights.ts';
import { readJson } from '../support/fixtures.ts';
import { rejection } from './corruption.ts';

type Shapes = Readonly<Record<string, readonly number[]>>;

const recorded = readJson<{ timm: Shapes; torchvision: Shapes }>('torch_structure.json');

/** Elements that tell every place of every tensor apart, nearly always. */
function elements(name: string, count: number): Float32Array {
  let hash = 0x811c9dc5;
  for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  const data = new Float32Array(count);
  for (let i = 0; i < count; i++) data[i] = ((Math.imul(i + 1, 0x9e3779b1) ^ hash) >>> 8) / 2 ** 24 - 0.5;
  return data;
}

/** What a state dict of these shapes holds. */
function stateDict(shapes: Shapes, batchesTracked = 0): StoredTensors {
  const stored: StoredTensors = new Map();
  for (const [name, shape] of Object.entries(shapes)) {
    stored.set(
      name,
      name.endsWith('num_batches_tracked')
        ? { dtype: 'i64', shape, data: BigInt64Array.of(BigInt(batchesTracked)) }
        : { dtype: 'f32', shape, data: elements(name, elementCount(shape)) },
    );
  }
  return stored;
}

/** The first tensor in which two sets differ in type, shape or bits; undefined: none. */
function difference(a: StoredTensors, b: StoredTensors): string | undefined {
  const bytes = ({ data }: StoredTensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    const [x, y] = [a.get(name), b.get(name)];
    if (x?.dtype !== y?.dtype || x?.shape.join() !== y?.shape.join()) return name;
    if (x === undefined || y === undefined || Buffer.compare(bytes(x), bytes(y)) !== 0) return name;
  }
  return undefined;
}

const plain = new Map([['format', 'pt']]);
const sources = ['timm', 'torchvision'] as const;
const archs = { timm: 'xception', torchvision: 'inception_v3' } as const;
const withoutSide = (stored: StoredTensors): StoredTensors =>
  new Map([...stored].filter(([name]) => !name.startsWith('AuxLogits.')));

describe("weights with PyTorch's names", function () {
  this.timeout(60_000);
  let folder: string;
  const at = (name: string) => join(folder, name);
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'torch-weights-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  for (const source of sources) {
    describe(source, () => {
      const stored = stateDict(recorded[source], 7);
      const changed = (change: (tensors: StoredTensors) => void): StoredTensors => {
        const tensors = new Map(stored);
        change(tensors);
        return tensors;
      };

      it('are all found, each element in its place', () => {
        const read = parseTorch(stored, plain);
        expect(read).to.include({
          source,
          arch: archs[source],
          classes: 10,
          preprocessing: source,
          batchesTracked: 7,
        });
        const counters = Object.keys(recorded[source]).filter((name) => name.endsWith('tracked'));
        expect(read.matched).to.have.length(stored.size - counters.length);
        expect(read.tensors.size).to.equal(read.matched.length);
        for (const { name, shape, source: torchName, sourceShape } of read.matched) {
          const { data } = read.tensors.get(name)!;
          const theirs = (stored.get(torchName) as StoredTensor).data as Float32Array;
          expect(data.length, name).to.equal(theirs.length);
          if (shape.length !== 4) {
            expect(Buffer.compare(Buffer.from(data.buffer), Buffer.from(theirs.buffer)), name).to.equal(0);
            continue;
          }
          const [out = 1, inner = 1, height = 1, width = 1] = sourceShape;
          expect(shape, name).to.deep.equal([out, height, width, inner]);
          for (const place of [0, 1, 12345, 999_331, data.length - 1]) {
            const k = place % data.length;
            const [o, rest] = [Math.floor(k / (inner * height * width)), k % (inner * height * width)];
            const [i, y, x] = [
              Math.floor(rest / (height * width)),
              Math.floor(rest / width) % height,
              rest % width,
            ];
            expect(data[((o * height + y) * width + x) * inner + i], `${name} ${k}`).to.equal(theirs[k]);
          }
        }
      });

      it('come back with the same bits, as tensors and as files', async () => {
        const { arch, tensors, batchesTracked } = parseTorch(stored, plain);
        expect(difference(toTorchTensors(arch, tensors, batchesTracked), stored)).to.equal(undefined);
        await writeSafetensors(at('theirs.safetensors'), stored, plain, { checksum: false });
        await writeWeights(at('ours.safetensors'), await readWeights(at('theirs.safetensors')));
        const ours = await readWeights(at('ours.safetensors'));
        expect(ours.source).to.equal('depthwise');
        await writeWeights(at(`again.${source}.safetensors`), ours);
        const [theirs, again] = await Promise.all(
          ['theirs.safetensors', `again.${source}.safetensors`].map((name) => readFile(at(name))),
        );
        expect((theirs as Buffer).equals(again as Buffer)).to.equal(true);
      });

      it('keep counts of batches that differ, and that there are none', () => {
        const [first] = Object.keys(recorded[source]).filter((name) => name.endsWith('tracked'));
        const other = changed((tensors) =>
          tensors.set(first as string, { dtype: 'i64', shape: [], data: BigInt64Array.of(9n) }),
        );
        const none = new Map([...stored].filter(([name]) => !name.endsWith('tracked')));
        for (const variant of [other, none]) {
          const { arch, tensors, batchesTracked } = parseTorch(variant, plain);
          expect(difference(toTorchTensors(arch, tensors, batchesTracked), variant)).to.equal(undefined);
        }
      });

      it('take counts of batches of any type of number, and refuse what is no count', () => {
        const counters = Object.keys(recorded[source]).filter((name) => name.endsWith('tracked'));
        const counted = (tensor: StoredTensor) =>
          parseTorch(
            changed((tensors) => {
              for (const name of counters) tensors.set(name, tensor);
            }),
            plain,
            'x.safetensors',
          ).batchesTracked;
        expect(counted({ dtype: 'f32', shape: [], data: Float32Array.of(12) })).to.equal(12);
        expect(counted({ dtype: 'f16', shape: [], data: Uint16Array.of(0x4a00) })).to.equal(12);
        for (const count of [Number.NaN, 0.5, -1, Number.POSITIVE_INFINITY]) {
          expect(() => counted({ dtype: 'f64', shape: [], data: Float64Array.of(count) }))
            .to.throw(`num_batches_tracked is ${count}, expected a whole number from 0`)
            .with.property('code', 'TORCH_DTYPE');
        }
        const large = BigInt64Array.of(2n ** 60n);
        expect(() => counted({ dtype: 'i64', shape: [], data: large })).to.throw(/expected a whole number/);
      });

      it('are refused with a classifier without classes', () => {
        const none: StoredTensor = { dtype: 'f32', shape: [0, 2048], data: new Float32Array() };
        const empty = changed((tensors) => tensors.set('fc.weight', none));
        expect(() => parseTorch(empty, plain)).to.throw(
          /its classifier has 0 classes, expected 1 to 100000$/,
        );
      });

      it('may lack the classifier', async () => {
        const bare = changed((tensors) => {
          for (const name of [...tensors.keys()]) if (/^(fc|AuxLogits)\./.test(name)) tensors.delete(name);
        });
        await writeSafetensors(at('bare.safetensors'), bare, plain);
        const read = await readWeights(at('bare.safetensors'));
        expect(read).not.to.have.property('classes');
        expect(read.tensors.has('predictions.weight')).to.equal(false);
      });

      it('are refused with what is missing, unexpected, of another shape or type', () => {
        const refused = (change: (tensors: StoredTensors) => void, code: string, words: RegExp) => {
          const tensors = changed(change);
          expect(() => parseTorch(tensors, plain, 'x.safetensors'))
            .to.throw(words)
            .with.property('code', code);
        };
        const [kernel, ...others] = Object.keys(recorded[source]) as [string, ...string[]];
        const shape = recorded[source][kernel]!;
        const misfit = new RegExp(`^x\\.safetensors: weights do not fit ${source}'s ${archs[source]}: 1 `);
        refused((it) => it.delete(kernel), 'TORCH_WEIGHTS', misfit);
        refused((it) => it.delete(kernel), 'TORCH_WEIGHTS', /1 missing \(.*weight\)$/);
        const extra: StoredTensor = { dtype: 'f32', shape: [1], data: Float32Array.of(1) };
        refused((it) => it.set('head.bias', extra), 'TORCH_WEIGHTS', /1 unexpected \(head\.bias\)$/);
        refused(
          (it) => it.set(kernel, extra),
          'TORCH_WEIGHTS',
          /1 of another shape \(.* \[1\], expected \[32,3,3,3\]\)$/,
        );
        const integers: StoredTensor = { dtype: 'i32', shape, data: new Int32Array(elementCount(shape)) };
        refused((it) => it.set(kernel, integers), 'TORCH_DTYPE', /is i32, expected f64, f32, f16, bf16$/);
        expect(others.length).to.be.greaterThan(100);
      });
    });
  }

  it('carry the rules of their source', () => {
    const timm = parseTorch(stateDict(recorded.timm), plain);
    expect(timm.options).to.deep.equal({
      samePadding: 'symmetric',
      epsilon: 1e-5,
      unbiasedVariance: true,
      batchNormMomentum: 0.9,
    });
    const inception = stateDict(recorded.torchvision);
    const rules = { scale: true, countPadding: true, unbiasedVariance: true, batchNormMomentum: 0.9 };
    expect(parseTorch(inception, plain).options).to.deep.equal({ ...rules, auxiliary: true });
    expect(parseTorch(withoutSide(inception), plain).options).to.deep.equal(rules);
    const noted = (value: string) =>
      parseTorch(withoutSide(inception), new Map([['transform_input', value]]));
    expect(noted('True')).to.deep.include({
      options: { ...rules, transformInput: true },
      preprocessing: 'imagenet',
    });
    expect(noted('False')).to.deep.include({ options: rules, preprocessing: 'imagenet' });
  });

  it('note what their tensors do not say, so that it is read again', async () => {
    const inception = parseTorch(withoutSide(stateDict(recorded.torchvision)), plain);
    const timm = parseTorch(stateDict(recorded.timm), plain);
    const cases = [
      [inception, { transformInput: true }, 'imagenet', { transform_input: 'True' }],
      [inception, {}, 'imagenet', { transform_input: 'False' }],
      [inception, {}, 'torchvision', {}],
      // What the file would be taken for is another rule.
      [inception, { transformInput: true }, 'keras', { transform_input: 'True', preprocessing: 'keras' }],
      [inception, {}, 'timm', { preprocessing: 'timm' }],
      [timm, {}, 'timm', {}],
      [timm, {}, 'imagenet', { preprocessing: 'imagenet' }],
    ] as const;
    for (const [{ classes = 0, ...weights }, options, preprocessing, noted] of cases) {
      const file = at(`x.${weights.source}.safetensors`);
      const changed = { ...weights, classes, preprocessing, options: { ...weights.options, ...options } };
      await writeWeights(file, changed);
      expect(Object.fromEntries((await readSafetensors(file)).metadata)).to.deep.equal({
        format: 'pt',
        ...noted,
      });
      const again = await readWeights(file);
      expect(again).to.deep.include({ preprocessing, options: changed.options });
    }
    const odd = new Map([['transform_input', 'perhaps\u001b[2J']]);
    expect(() => parseTorch(withoutSide(stateDict(recorded.torchvision)), odd)).to.throw(
      'its transform_input is "perhaps\\u001b[2J", expected true or false',
    );
  });

  it('of 16 bits are read exactly', () => {
    const stored = stateDict(recorded.timm);
    stored.set('fc.bias', { dtype: 'bf16', shape: [10], data: new Uint16Array(10).fill(0x3fc0) });
    expect([...parseTorch(stored, plain).tensors.get('predictions.bias')!.data]).to.deep.equal(
      new Array(10).fill(1.5),
    );
  });

  it('of a thousand classes have the labels of ImageNet, which ours keep', async () => {
    const shapes = { ...recorded.timm, 'fc.weight': [1000, 2048], 'fc.bias': [1000] };
    await writeSafetensors(at('x.safetensors'), stateDict(shapes), plain);
    const read = await readWeights(at('x.safetensors'));
    expect(read.labels).to.equal(imagenetLabels);
    await writeWeights(at('y.safetensors'), read);
    const { labels, classes } = await readWeights(at('y.safetensors'));
    expect(classes).to.equal(1000);
    expect(labels?.[340]).to.equal('zebra');
    expect(new Set(imagenetLabels).size).to.equal(1000);
    expect(imagenetSynsets).to.deep.equal([...new Set(imagenetSynsets)].sort());
    expect(imagenetSynsets).to.have.length(1000);
  });

  it('are not written for a program that computes something else, which is said', async () => {
    const { arch, tensors, options, preprocessing } = parseTorch(stateDict(recorded.timm), plain);
    const timm = { source: 'timm', arch, options, preprocessing, tensors } as const;
    const refusal = async (name: string, weights: Parameters<typeof writeWeights>[1]) => {
      const error = await rejection(writeWeights(at(name), weights));
      expect(await readFile(at(name)).catch(() => undefined)).to.equal(undefined);
      return `${error.code}: ${error.message.replace(`${at(name)}: `, '')}`;
    };
    expect(await refusal('x.h5', timm)).to.equal(
      'KERAS_WEIGHTS: Keras has no xception with samePadding: "symmetric" (Keras: "tensorflow"), epsilon: 0.00001 ' +
        '(Keras: 0.001), unbiasedVariance: true (Keras: false); expected .safetensors',
    );
    expect(await refusal('x.timm.safetensors', { ...timm, options: { dropout: 0.2 } })).to.match(
      /^TIMM_WEIGHTS: timm has no xception with samePadding: "tensorflow" \(timm: "symmetric"\), epsilon/,
    );
    expect(await refusal('x.torchvision.safetensors', timm)).to.match(
      /^TORCHVISION_WEIGHTS: torchvision has no xception/,
    );
    const inception = parseTorch(withoutSide(stateDict(recorded.torchvision)), plain);
    const transformed = {
      ...inception,
      classes: 10,
      options: { ...inception.options, transformInput: true },
    };
    expect(await refusal('y.timm.safetensors', transformed)).to.match(
      /timm has no inception_v3 with transformInput: true/,
    );
    expect(await refusal('y.weights.h5', transformed)).to.match(
      /scale: true \(Keras: false\), countPadding: true/,
    );
    await writeWeights(at('y.torchvision.safetensors'), { ...transformed, preprocessing: 'imagenet' });
    const again = await readWeights(at('y.torchvision.safetensors'));
    expect(again.options).to.deep.equal(transformed.options);
  });

  it('that are cut or of another network are refused', async () => {
    await writeSafetensors(at('x.safetensors'), stateDict(recorded.timm), plain, { checksum: false });
    const whole = await readFile(at('x.safetensors'));
    await writeFile(at('cut.safetensors'), whole.subarray(0, whole.length >> 1));
    const cut = await rejection(readWeights(at('cut.safetensors')));
    expect(cut.code).to.match(/^SAFETENSORS_/);
    expect(cut.message).to.contain(at('cut.safetensors'));
    const resnet: StoredTensors = new Map([
      ['conv1.weight', { dtype: 'f32', shape: [64, 3, 7, 7], data: new Float32Array(64 * 147) }],
      ['fc.weight', { dtype: 'f32', shape: [10, 2048], data: new Float32Array(20480) }],
    ]);
    await writeSafetensors(at('resnet.safetensors'), resnet, plain);
    const other = await rejection(readWeights(at('resnet.safetensors')));
    expect(other.code).to.equal('WEIGHTS_FOREIGN');
    expect(other.message).to.contain('neither').and.contain('conv1.weight');
  });
});
