// Tests of examples/data: the committed photographs are complete, readable and small.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { decodeImage } from '../../lib/data/decode.ts';
import { imageFolder } from '../../lib/data/imageFolder.ts';
import { collect } from './collect.ts';

const examples = join(import.meta.dirname, '..', '..', 'examples', 'data');

describe('example photographs', () => {
  it('are 60 and 10 per class, all of them readable, within 3 MB', async () => {
    let bytes = 0;
    for (const [part, perClass] of [
      ['train', 60],
      ['validation', 10],
    ] as const) {
      const set = imageFolder(join(examples, 'clothing', part), { size: 32, onBadImage: 'fail' });
      const counts = new Array<number>(10).fill(0);
      for (const { labels } of await collect(set, { batchSize: 64 }))
        for (const label of labels) counts[label]!++;
      expect(counts).to.deep.equal(new Array(10).fill(perClass));
      for (const file of set.files) bytes += statSync(file).size;
    }
    const heldOut = join(examples, 'held-out');
    const { classes } = imageFolder(join(examples, 'clothing', 'train'), { size: 32 });
    expect(readdirSync(heldOut).sort()).to.deep.equal(classes.map((name) => `${name}.jpg`));
    for (const name of readdirSync(heldOut)) {
      expect(await decodeImage(join(heldOut, name), { height: 32, width: 32 })).to.have.length(32 * 32 * 3);
      bytes += statSync(join(heldOut, name)).size;
    }
    expect(bytes).to.be.below(3_000_000);
  });
});
