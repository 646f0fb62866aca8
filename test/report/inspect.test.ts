// What a report shows of a model's mistakes: the right ones, the worst first, with pictures of them.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { Classifier } from '../../lib/classify/classifier.ts';
import { imageFolder } from '../../lib/data/imageFolder.ts';
import { globalAvgPool, Linear, relu, Sequential } from '../../lib/nn/layers.ts';
import { inspect } from '../../lib/report/inspect.ts';
import { inspectionSection } from '../../lib/report/inspectionSections.ts';
import { reference } from '../support/devices.ts';

/** The mean of each colour as its class's logit, ten times. */
function colorClassifier(): Classifier {
  const linear = new Linear(3, 3);
  linear.weight.give(Float32Array.of(10, 0, 0, 0, 10, 0, 0, 0, 10));
  return new Classifier(new Sequential(relu(), globalAvgPool(), ['predictions', linear]), {
    arch: 'colors',
    classes: 3,
    labels: ['red', 'green', 'blue'],
    size: 8,
    preprocessing: 'keras',
    options: {},
  });
}

/** Pictures by name, of a colour each; the folder is the class. */
const pictures = {
  'red/right.png': '#ff0000',
  'red/a-little-green.png': '#c0d000',
  'red/all-blue.png': '#8080ff',
  'green/right.png': '#00ff00',
  'blue/right.png': '#0000ff',
  'blue/taken-for-red.png': '#ff80c0',
} as const;

describe('inspecting a classifier', () => {
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-inspect-'));
    for (const [name, background] of Object.entries(pictures)) {
      const file = join(folder, name);
      mkdirSync(join(file, '..'), { recursive: true });
      await sharp({ create: { width: 40, height: 20, channels: 3, background } })
        .png()
        .toFile(file);
    }
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('finds what is wrong, the worst first', async () => {
    using model = colorClassifier().to(reference);
    const data = imageFolder(folder, { size: 8, classes: ['red', 'green', 'blue'] });
    const found = await inspect(model, data, { batchSize: 4 });
    expect(found.evaluation).to.include({ images: 6, top1: 0.5 });
    expect(found.wrong).to.equal(3);
    const names = found.mistakes.map(({ file }) => file);
    expect(names).to.deep.equal(['red/all-blue.png', 'blue/taken-for-red.png', 'red/a-little-green.png']);
    const [worst] = found.mistakes;
    expect([worst?.label, worst?.answer]).to.deep.equal([0, 2]);
    expect(worst?.answerProbability).to.be.above(0.9);
    expect(await sharp(worst?.picture as Uint8Array).metadata()).to.include({ format: 'jpeg', width: 40 });
    expect(await sharp(worst?.explained as Uint8Array).metadata()).to.include({ width: 40, height: 20 });
    expect((await inspect(model, data, { mistakes: 1 })).mistakes).to.have.length(1);

    const page = String(inspectionSection('Answers', found, 'by the weights'));
    expect(page).to.include('title="red as blue: 1 of 3 (33.3 %)"');
    expect(page).to.include('3 of 6 images are taken for something else');
    expect(page.match(/<img src="data:image\/jpeg;base64,/g)).to.have.length(6);
  });
});
