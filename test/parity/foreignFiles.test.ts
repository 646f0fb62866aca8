// Parity from files of other programs by the command line, as a user has them: Keras' Inception V3, timm's and
// torchvision's networks; and our files in those programs, where they are here.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readNpy, writeNpy } from '../../lib/interop/npy.ts';
import { writeSafetensors } from '../../lib/interop/safetensors.ts';
import { toTorchTensors } from '../../lib/interop/torchWeights.ts';
import { readWeights, writeWeights } from '../../lib/interop/weights.ts';
import { jsonLines, runCommand } from '../cli/runCommand.ts';
import {
  type ForwardCase,
  forwardFixture,
  isRecorded,
  type RecordedName,
  readJson,
  recordedOptions,
} from '../support/fixtures.ts';
import { kerasFile, recordedInception } from '../support/kerasFiles.ts';
import { runPeer } from '../support/peers.ts';

const largest = (values: Float32Array) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
const furthest = (a: Float32Array, b: Float32Array) => largest(a.map((v, i) => v - (b[i] as number)));

/** The smallest recorded images of a network. */
const smallest = (name: RecordedName): ForwardCase => forwardFixture(name).at(-1) as ForwardCase;

describe('files of other programs', function () {
  this.timeout(600_000);
  let folder: string;
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'depthwise-foreign-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** Writes the images of a case, and gives their file. */
  async function imagesOf({ size, images }: ForwardCase): Promise<string> {
    const data = images();
    await writeNpy(at('x.npy'), {
      dtype: 'f32',
      shape: [data.length / (size * size * 3), size, size, 3],
      data,
    });
    return at('x.npy');
  }

  async function logitsOf(file: string, input: string): Promise<Float32Array> {
    const ended = await runCommand(
      'predict',
      '--input',
      input,
      '--output',
      at('y.npy'),
      '--weights',
      file,
      '--logits',
    );
    expect(ended.code, ended.stderr).to.equal(0);
    return (await readNpy(at('y.npy'))).data as Float32Array;
  }

  it("of Keras' Inception V3 give its answers", async () => {
    const recorded = smallest('inception_v3');
    const weights = recorded.weights();
    const elementsOf = (name: string) => (i: number) => weights.get(name)?.data[i] as number;
    const input = await imagesOf(recorded);
    for (const [layout, file] of [
      ['layers', 'x.weights.h5'],
      ['root', 'x.h5'],
    ] as const) {
      await writeFile(at(file), await kerasFile(recordedInception.files[layout], elementsOf));
      const logits = await logitsOf(at(file), input);
      expect(furthest(logits, recorded.logits) / largest(recorded.logits), layout).to.be.at.most(1e-4);
    }
  });

  for (const name of (['timm', 'torchvision'] as const).filter(isRecorded)) {
    it(`of ${name} give its answers, convert with a table, and go on as ONNX`, async () => {
      const recorded = smallest(name);
      const { arch } = recordedOptions(name);
      const stored = toTorchTensors(arch, recorded.weights());
      await writeSafetensors(at('theirs.safetensors'), stored, new Map([['format', 'pt']]), {
        checksum: false,
      });
      const input = await imagesOf(recorded);
      const logits = await logitsOf(at('theirs.safetensors'), input);
      expect(furthest(logits, recorded.logits) / largest(recorded.logits)).to.be.at.most(1e-4);

      const converted = await runCommand(
        'convert',
        at('theirs.safetensors'),
        at('ours.safetensors'),
        '--json',
      );
      expect(converted.code, converted.stderr).to.equal(0);
      const [line] = jsonLines(converted);
      expect(line).to.include({ source: name, arch, classes: 10, preprocessing: name });
      expect(line?.matched).to.have.length(recorded.weights().size);
      expect(line?.matched).to.deep.include({
        source: name === 'timm' ? 'conv1.weight' : 'Conv2d_1a_3x3.conv.weight',
        source_shape: [32, 3, 3, 3],
        name: name === 'timm' ? 'block1_conv1.weight' : 'conv1.weight',
        shape: [32, 3, 3, 3],
      });
      expect(await logitsOf(at('ours.safetensors'), input)).to.deep.equal(logits);
      const people = await runCommand('convert', at('theirs.safetensors'), at(`again.${name}.safetensors`));
      expect(people.stdout)
        .to.match(/^in the file \(\w+\) +shape +here +shape\n/)
        .and.match(/fc\.bias +\[10\] +predictions\.bias/);

      const refused = await runCommand('convert', at('ours.safetensors'), at('no.h5'));
      expect(refused.code).to.equal(1);
      expect(refused.stderr).to.match(/^depthwise: .*no\.h5: Keras has no \w+ with [^\n]+\n$/);
      const onnx = await runCommand(
        'convert',
        at('ours.safetensors'),
        at('x.onnx'),
        '--size',
        String(recorded.size),
      );
      expect(onnx.code, onnx.stderr).to.equal(0);
    });
  }

  it("of torchvision with transform_input do in the network what torchvision's does", async function () {
    if (!isRecorded('torchvision')) this.skip();
    const recorded = smallest('torchvision');
    const { sizes } = readJson<{ sizes: { transformed: number[][] }[] }>('torchvision/forward.json');
    const expected = Float32Array.from(sizes.at(-1)!.transformed.flat());
    const metadata = new Map([['transform_input', 'True']]);
    await writeSafetensors(at('t.safetensors'), toTorchTensors('inception_v3', recorded.weights()), metadata);
    const logits = await logitsOf(at('t.safetensors'), await imagesOf(recorded));
    expect(furthest(logits, expected) / largest(expected)).to.be.at.most(1e-4);
    // The same by a flag, for a file that does not say it.
    await writeSafetensors(at('u.safetensors'), toTorchTensors('inception_v3', recorded.weights()));
    const flags = ['--arch-option', 'transformInput=true', '--json'];
    const [line] = jsonLines(await runCommand('convert', at('u.safetensors'), at('v.safetensors'), ...flags));
    expect(line).to.deep.include({ preprocessing: 'imagenet' });
    expect((await readWeights(at('v.safetensors'))).options).to.have.property('transformInput', true);
  });

  describe('written by us', () => {
    for (const [name, format] of [
      ['xception', '.h5'],
      ['xception', '.weights.h5'],
      ['inception_v3', '.h5'],
      ['inception_v3', '.weights.h5'],
      ['timm', '.timm.safetensors'],
      ['torchvision', '.torchvision.safetensors'],
    ] as const) {
      it(`are loaded by the program they are for, which then gives its recorded answers: ${name}${format}`, async function () {
        if (!isRecorded(name)) this.skip();
        const recorded = smallest(name);
        const { arch, options } = recordedOptions(name);
        const file = at(`w${format}`);
        const rules = { ...options.variant, batchNormMomentum: options.batchNormMomentum };
        await writeWeights(file, {
          source: 'depthwise',
          ...{ arch, classes: 10, preprocessing: 'keras', options: rules, tensors: recorded.weights() },
        });
        const arrays = ['--input', await imagesOf(recorded), '--output', at('z.npy')];
        const keras = format.endsWith('h5');
        const flags = keras ? ['--logits', '--arch', arch] : ['--network', name];
        runPeer(this, keras ? 'keras_load.py' : 'torch_load.py', file, ...arrays, ...flags);
        const logits = (await readNpy(at('z.npy'))).data as Float32Array;
        expect(furthest(logits, recorded.logits) / largest(recorded.logits)).to.be.at.most(1e-6);
        if (format !== '.h5') return;
        runPeer(this, 'keras_load.py', file, ...arrays, ...flags, '--in-order');
        expect((await readNpy(at('z.npy'))).data).to.deep.equal(logits);
      });
    }
  });
});
