// Forward parity from Keras' files by the command line, as a user has it: each layout of Keras' weights, an array of
// images in, Keras' probabilities and logits out.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readNpy, writeNpy } from '../../lib/interop/npy.ts';
import { runCommand } from '../cli/runCommand.ts';
import { type ForwardCase, forwardFixture, recordedXception } from '../support/fixtures.ts';
import { kerasFile, recorded, type Structure } from '../support/kerasFiles.ts';

describe("predict with Keras' files", function () {
  this.timeout(600_000);
  const weights = recordedXception({ gain: 40 });
  const elementsOf = (name: string) => {
    const { data } = weights.get(name) as { data: Float32Array };
    return (i: number) => data[i] as number;
  };
  const { size, images, ...expected } = forwardFixture().find((it) => it.size === 71) as ForwardCase;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'depthwise-keras-'));
    const data = images();
    const shape = [data.length / (size * size * 3), size, size, 3];
    await writeNpy(join(folder, 'x.npy'), { dtype: 'f32', shape, data });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const outputs = async (file: string, ...flags: string[]): Promise<Float32Array> => {
    const [input, output] = [join(folder, 'x.npy'), join(folder, 'y.npy')];
    const { code, stderr } = await runCommand(
      ...['predict', '--input', input, '--output', output, '--weights', file, ...flags],
    );
    expect(code, stderr).to.equal(0);
    const { dtype, shape, data } = await readNpy(output);
    expect([dtype, shape]).to.deep.equal(['f32', [8, recorded.classes]]);
    return data as Float32Array;
  };
  const largest = (values: Float32Array) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const furthest = (a: Float32Array, b: Float32Array) => largest(a.map((v, i) => v - (b[i] as number)));

  for (const [layout, ending, ...flags] of [
    ['root', '.h5'],
    ['root', '.h5', '--eager'],
    ['model_weights', '.h5'],
    ['layers', '.weights.h5'],
  ] as const) {
    it(`gives Keras' answers: ${[layout, ...flags].join(' ')}`, async () => {
      const file = join(folder, layout + ending);
      await writeFile(file, await kerasFile(recorded.files[layout] as Structure, elementsOf));
      expect(furthest(await outputs(file, ...flags), expected.probabilities)).to.be.at.most(5e-5);
      const logits = await outputs(file, '--logits', ...flags);
      expect(furthest(logits, expected.logits) / largest(expected.logits)).to.be.at.most(1e-4);
    });
  }
});
