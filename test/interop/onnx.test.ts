// ONNX files: what is in them, for every network that can be built, and that ONNX Runtime answers as we do.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { openDevice } from '../../lib/backend/devices.ts';
import type { Classifier } from '../../lib/classify/classifier.ts';
import { createClassifier } from '../../lib/classify/load.ts';
import { toOnnx } from '../../lib/classify/onnx.ts';
import { aval } from '../../lib/core/aval.ts';
import { UnsupportedError } from '../../lib/core/errors.ts';
import type { AnyOp } from '../../lib/core/op.ts';
import { readNpy, writeNpy } from '../../lib/interop/npy.ts';
import { decodeOnnx } from '../../lib/interop/onnx/schema.ts';
import { writeGraph } from '../../lib/interop/onnx/writer.ts';
import { opTable } from '../../lib/ops/index.ts';
import { generate, networkWeights, smoothImages } from '../support/generator.ts';
import { runPeer } from '../support/peers.ts';

const size = 80;

/** Networks that between them have every op and option of inference. */
const networks = [
  ['xception', {}],
  ['xception', { samePadding: 'symmetric', epsilon: 1e-5 }],
  ['xception', { residual: false, intermediateActivation: 'elu' }],
  ['xception', { segments: 4, intermediateActivation: 'relu' }],
  ['xception', { style: 'vgg', fullyConnected: [64, 32] }],
  ['inception_v3', {}],
  ['inception_v3', { scale: true, countPadding: true, transformInput: true }],
] as const;

/** A network whose answers differ between images: generated weights, a classifier that amplifies. */
function network(arch: string, variant: Readonly<Record<string, unknown>>): Classifier {
  const model = createClassifier(arch, { classes: 10, variant, size });
  const shapes = new Map([...model.network.state()].map(([name, { shape }]) => [name, shape]));
  const weights = networkWeights(shapes, { gain: 40 });
  for (const [name, { shape }] of weights) {
    // Small variances let the signal live through networks without recorded statistics.
    if (!name.endsWith('running_var')) continue;
    weights.set(name, { shape, data: generate(name, shape, 1, { limit: 0.05, offset: 0.1 }) });
  }
  model.loadWeights(weights);
  return model;
}

interface Graph {
  readonly node: readonly { readonly opType: string; readonly input: readonly string[] }[];
  readonly initializer: readonly { readonly name: string; readonly dims: readonly number[] }[];
  readonly input: readonly object[];
  readonly output: readonly object[];
}

const tensorType = (...dim: (number | string)[]) => ({
  tensorType: {
    elemType: 1,
    shape: {
      dim: dim.map((extent) => (typeof extent === 'number' ? { dimValue: extent } : { dimParam: extent })),
    },
  },
});

describe('onnx', function () {
  this.timeout(600_000);

  for (const [arch, variant] of networks) {
    describe(`${arch} ${JSON.stringify(variant)}`, () => {
      let model: Classifier;
      before(() => {
        model = network(arch, variant);
      });
      after(() => model.dispose());

      it('is a graph without normalization, of free batch', async () => {
        const bytes = await toOnnx(model);
        expect(Buffer.compare(bytes, await toOnnx(model))).to.equal(0);
        const { graph, opsetImport } = decodeOnnx(bytes) as {
          graph: Graph;
          opsetImport: { version: number }[];
        };
        expect(opsetImport[0]?.version).to.equal(17);
        expect(graph.input).to.have.length(1);
        expect(graph.input[0]).to.deep.include({
          name: 'images',
          type: tensorType('batch', size, size, 3),
        });
        expect(graph.output).to.have.length(1);
        expect(graph.output[0]).to.deep.include({ name: 'probabilities', type: tensorType('batch', 10) });
        // A normalization that is not folded multiplies; so does what `transformInput` does first.
        const multiplications = graph.node.filter(({ opType }) => opType === 'Mul');
        expect(multiplications).to.have.length('transformInput' in variant ? 1 : 0);
        const operations = new Set(graph.node.map(({ opType }) => opType));
        expect([...operations]).not.to.include('BatchNormalization');
        // What is left beside filters and biases are the matrices at the end, and what `transformInput` does first.
        const parameters = [...model.network.parameters().keys()];
        const convolutions = parameters.filter((name) => /weight$/.test(name)).length;
        expect(graph.node.filter(({ opType }) => opType === 'Conv' || opType === 'Gemm')).to.have.length(
          convolutions,
        );
        const used = new Set(graph.node.flatMap(({ input }) => input));
        for (const { name } of graph.initializer) expect(used.has(name), name).to.equal(true);
      });

      it('is accepted by the checker, and gives our answers in ONNX Runtime at batch 1 and 7', async function () {
        const folder = await mkdtemp(join(tmpdir(), 'depthwise-onnx-'));
        try {
          const at = (name: string) => join(folder, name);
          const images = smoothImages(7, size);
          const array = { data: images, shape: [7, size, size, 3] } as const;
          await writeNpy(at('x.npy'), { dtype: 'f32', ...array });
          for (const name of ['probabilities', 'logits'] as const) {
            await writeFile(at('model.onnx'), await toOnnx(model, { outputs: [name] }));
            runPeer(this, 'onnx_run.py', at('model.onnx'), '--input', at('x.npy'), '--output', at('y.npy'));
            const { shape, data } = await readNpy(at('y.npy'));
            expect(shape).to.deep.equal([8, 10]);
            const ours = await model.outputs(array, { logits: name === 'logits' });
            const expected = [...ours.subarray(0, 10), ...ours];
            const largest = Math.max(...expected.map(Math.abs));
            const bar = name === 'logits' ? 1e-4 * largest : 5e-5;
            for (const [i, value] of expected.entries())
              expect(data[i], `${name} ${i}`).to.be.closeTo(value, bar);
          }
        } finally {
          await rm(folder, { recursive: true });
        }
      });
    });
  }

  it('has logits, a sigmoid, labels and another size, if asked', async () => {
    const labels = ['cat', 'dog'];
    using model = createClassifier('xception', { classes: labels, size: 96, variant: { style: 'vgg' } });
    model.configure({ activation: 'sigmoid' });
    const bytes = await toOnnx(model, { size: 71, outputs: ['logits', 'probabilities'] });
    const { graph, metadataProps } = decodeOnnx(bytes) as {
      graph: Graph;
      metadataProps: { key: string; value: string }[];
    };
    expect(graph.input[0]).to.deep.include({ type: tensorType('batch', 71, 71, 3) });
    expect(graph.output.map((it) => (it as { name: string }).name)).to.deep.equal([
      'logits',
      'probabilities',
    ]);
    expect(graph.node.map(({ opType }) => opType))
      .to.include('Sigmoid')
      .and.not.include('Softmax');
    const metadata = Object.fromEntries(metadataProps.map(({ key, value }) => [key, value]));
    expect(JSON.parse(metadata.labels as string)).to.deep.equal(labels);
    expect(JSON.parse(metadata.preprocessing as string)).to.deep.include({
      rule: 'keras',
      shift: [-1, -1, -1],
    });
  });

  it('has the same bytes wherever the classifier is, since nothing is computed there', async () => {
    const reference = openDevice('reference');
    const elsewhere: Backend = new Proxy(reference, {
      get: (target, key) => {
        if (key === 'run') return () => expect.fail('computed where the classifier is');
        const member: unknown = Reflect.get(target, key);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
    const bytes: Uint8Array[] = [];
    for (const backend of [openDevice('cpu'), elsewhere]) {
      using model = network('xception', { style: 'vgg' });
      model.to(backend);
      bytes.push(await toOnnx(model));
    }
    expect(Buffer.compare(bytes[0] as Uint8Array, bytes[1] as Uint8Array)).to.equal(0);
  });

  it('refuses sizes, outputs and ops that cannot be written', async () => {
    using model = createClassifier('xception', { classes: 2, variant: { style: 'vgg' } });
    for (const options of [
      { size: 0 },
      { size: 7.5 },
      { outputs: [] },
      { outputs: ['logits', 'logits'] as const },
    ]) {
      const error = await toOnnx(model, options).catch((reason: unknown) => reason);
      expect(error).to.have.property('code', 'ARGUMENT');
    }
    const values = [aval([1, 4, 4, 1], 'f32'), aval([1, 4, 4, 1], 'f32')];
    const instruction = { op: opTable.square as AnyOp, attributes: {}, inputs: [0], outputs: [1] };
    const draft = { values, inputs: [0], outputs: [1], instructions: [instruction] };
    expect(() =>
      writeGraph({
        draft,
        constants: new Map(),
        input: { value: 0, name: 'x' },
        outputs: [{ value: 1, name: 'y' }],
      }),
    ).to.throw(UnsupportedError, /square .* cannot be written/);
  });
});
