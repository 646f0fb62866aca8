// Keras' files as kerasFiles.ts writes them: read back with h5wasm, every layout the same weights.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Dataset, File, Group } from 'h5wasm/node';
import { after, before, describe, it } from 'mocha';
import { xceptionWeights } from './generator.ts';
import { kerasDatasets, kerasLayouts, type LayoutName, writeKerasFile } from './kerasFiles.ts';

describe('support: Keras files', () => {
  const weights = xceptionWeights();
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const layouts = Object.keys(kerasLayouts()) as LayoutName[];
  for (const layout of layouts) {
    it(`${layout}: every weight has one dataset`, () => {
      const datasets = kerasDatasets(layout, weights);
      expect(datasets).to.have.length(weights.size);
      for (const { shape, data } of datasets) {
        expect(data.length).to.equal(shape.reduce((product, d) => product * d, 1));
      }
    });
  }

  it('moves axes to Keras: element [o, h, w, i] is at [h, w, i, o]', () => {
    const dataset = kerasDatasets('published/first', weights).find(({ path }) =>
      path.endsWith('block1_conv2/kernel'),
    )!;
    const ours = weights.get('block1_conv2.weight')!.data;
    const [o, h, w, i] = [5, 2, 1, 30];
    expect(dataset.data[((h * 3 + w) * 32 + i) * 64 + o]).to.equal(ours[((o * 3 + h) * 3 + w) * 32 + i]);
  });

  it('writes structure, attributes and values', async () => {
    const layout = 'whole_model/second';
    const path = join(folder, 'whole.h5');
    await writeKerasFile(path, layout, weights);
    const file = new File(path, 'r');
    try {
      const root = file.get('model_weights');
      expect(root).to.be.instanceOf(Group);
      const names = (root as Group).attrs.layer_names!.value as string[];
      expect(names).to.include('conv2d_7').and.to.include('block1_conv1');
      const kernel = file.get('model_weights/conv2d_4/conv2d_4/kernel') as Dataset;
      expect(kernel.shape).to.deep.equal([1, 1, 64, 128]);
      const ours = weights.get('block2_shortcut.weight')!.data;
      expect((kernel.value as Float32Array)[1]).to.equal(ours[64]);
      for (const entry of kerasLayouts()[layout])
        if (entry.path !== '') expect(file.get(entry.path)).not.to.equal(null);
    } finally {
      file.close();
    }
  });
});
