// Evaluation: what is counted, against counts made by hand.

import { expect } from 'chai';
import { uniform } from '../../lib/core/philox.ts';
import { bestOf, evaluate, Tally } from '../../lib/train/evaluate.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { modes } from '../support/modes.ts';
import { brightDataset, tinyClassifier } from './tiny.ts';

const row = (...values: number[]): Float32Array => Float32Array.from(values);

describe('bestOf', () => {
  it('gives the largest first and the lower index of equal ones', () => {
    expect(bestOf(row(1, 5, 3, 5, 4), 3)).to.deep.equal([1, 3, 4]);
    expect(bestOf(row(2, 2, 2), 2)).to.deep.equal([0, 1]);
    expect(bestOf(row(-3, -1, -2), 3)).to.deep.equal([1, 2, 0]);
  });

  it('agrees with a full sort', () => {
    const values = Float32Array.from({ length: 50 }, (_, i) => (i * 7919) % 23);
    const sorted = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
    expect(bestOf(values, 9)).to.deep.equal(sorted.slice(0, 9));
  });
});

describe('Tally', () => {
  it('counts one label per image', () => {
    const tally = new Tally(['a', 'b', 'c', 'd', 'e', 'f'], 'softmax');
    tally.add(row(9, 0, 0, 0, 0, 0, /* */ 5, 4, 3, 2, 1, 0), Int32Array.of(0, 5));
    tally.add(row(1, 2, 0, 0, 0, 0), Int32Array.of(0));
    const found = tally.result();
    expect(found.images).to.equal(3);
    expect(found.top1).to.equal(1 / 3);
    expect(found.top5).to.equal(2 / 3); // the sixth of six is not among the best five
    expect(found.confusion[0]).to.deep.equal([1, 1, 0, 0, 0, 0]);
    expect(found.confusion[5]).to.deep.equal([1, 0, 0, 0, 0, 0]);
    expect(found.perClass[0]).to.deep.equal({ class: 'a', images: 2, top1: 0.5, top5: 1, precision: 0.5 });
    expect(found.perClass[2]?.top1).to.equal(undefined);
    const loss = (logits: number[], label: number) =>
      Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0)) - logits[label]!;
    const expected = loss([9, 0, 0, 0, 0, 0], 0) + loss([5, 4, 3, 2, 1, 0], 5) + loss([1, 2, 0, 0, 0, 0], 0);
    expect(found.loss).to.be.closeTo(expected / 3, 1e-12);
  });

  it('gives the mean average precision for many labels', () => {
    const tally = new Tally(['a', 'b', 'c', 'd'], 'sigmoid');
    // Answers in order: a b c d. Labels a and c: precisions 1 and 2/3, of two labels.
    tally.add(row(4, 3, 2, 1), Uint8Array.of(1, 0, 1, 0));
    // Only b is right, and it is the second answer.
    tally.add(row(4, 3, 2, 1), Uint8Array.of(0, 1, 0, 0));
    const { map, top1, confusion } = tally.result();
    expect(map?.k).to.equal(4);
    expect(map?.value).to.be.closeTo(((1 + 2 / 3) / 2 + 1 / 2) / 2, 1e-12);
    expect(map?.weighted).to.be.closeTo(((1 + 2 / 3) / 2 + 1 / 2) / 2, 1e-12); // all labels are equally common
    expect(top1).to.equal(0.5);
    expect(confusion).to.deep.equal([]);
  });

  it('gives the mean average precision at 100, plain and weighted, of an independent implementation', () => {
    const [classes, images, k] = [130, 40, 100];
    const names = Array.from({ length: classes }, (_, i) => `${i}`);
    const random = (name: string, size: number) =>
      Array.from({ length: size }, (_, i) => uniform(7, i, name.length));
    // Logits in steps of 1/50, so that many are equal: the lower index is then first.
    const logits = random('logits', images * classes).map((value) => Math.round(value * 50) / 50);
    const labels = random('a label', images * classes).map((value, i) => Number(value < (i % classes) / 800));
    const importance = random('importance', classes).map((value, i) => (i % 9 === 0 ? 0 : value));

    /** By the definition: a list of answers, cut at k, walked from the best on. */
    const expected = (weight: (label: number) => number) => {
      const precisions: number[] = [];
      for (let image = 0; image < images; image++) {
        const at = (label: number) => image * classes + label;
        const right = names.map((_, label) => label).filter((label) => labels[at(label)] === 1);
        const best = right.map(weight).sort((a, b) => b - a);
        const ideal = best.slice(0, k).reduce((sum, value) => sum + value, 0);
        if (ideal === 0) continue;
        const answers = names
          .map((_, label) => ({ label, value: Math.fround(logits[at(label)] as number) }))
          .sort((a, b) => b.value - a.value || a.label - b.label)
          .slice(0, k);
        let [hits, sum] = [0, 0];
        answers.forEach(({ label }, rank) => {
          if (!right.includes(label)) return;
          hits += 1;
          sum += (weight(label) * hits) / (rank + 1);
        });
        precisions.push(sum / ideal);
      }
      return precisions.reduce((sum, value) => sum + value, 0) / precisions.length;
    };
    const common = names.map(
      (_, label) => labels.filter((one, i) => one === 1 && i % classes === label).length,
    );

    for (const [given, weight] of [
      [undefined, common],
      [importance, importance],
    ] as const) {
      const tally = new Tally(names, 'sigmoid', given);
      tally.add(Float32Array.from(logits), Uint8Array.from(labels));
      const { map } = tally.result();
      expect(map?.k).to.equal(k);
      expect(map?.value).to.be.closeTo(
        expected(() => 1),
        1e-12,
      );
      expect(map?.weighted).to.be.closeTo(
        expected((label) => weight[label] as number),
        1e-12,
      );
      expect(Math.abs((map?.weighted ?? 0) - (map?.value ?? 0))).to.be.greaterThan(1e-4);
    }
    expect(() => new Tally(names, 'sigmoid', [1])).to.throw(/130 numbers of at least 0, got 1 numbers/);
    expect(() => new Tally(['a'], 'sigmoid', [-1])).to.throw(/1 numbers of at least 0, got -1/);
  });

  it('refuses many labels for a softmax, a label out of range, and nothing at all', () => {
    expect(() => new Tally(['a', 'b'], 'softmax').add(row(1, 2), Uint8Array.of(1, 1))).to.throw(/sigmoid/);
    expect(() => new Tally(['a', 'b'], 'softmax').add(row(1, 2), Int32Array.of(2))).to.throw(/out of range/);
    expect(() => new Tally(['a', 'b'], 'softmax').result()).to.throw(/no readable image/);
  });
});

describe('evaluate', () => {
  for (const mode of modes) {
    it(`counts every image once, whatever the batch size, ${mode}`, async () => {
      using model = tinyClassifier();
      using trainer = new Trainer(model, { device: 'reference', batchSize: 4, mode });
      const data = brightDataset(103, 3);
      const found = await trainer.evaluate(data);
      expect(found.images).to.equal(103);
      expect(found.confusion.flat().reduce((a, b) => a + b)).to.equal(103);
      for (const batchSize of [1, 10, 103, 500]) {
        const other = await evaluate(model, data, { batchSize, mode });
        expect(other.confusion).to.deep.equal(found.confusion);
        expect(other.loss).to.be.closeTo(found.loss, 1e-6);
      }
    });
  }

  it('refuses data with another number of classes', async () => {
    using model = tinyClassifier({ classes: 4 });
    using trainer = new Trainer(model, { device: 'reference' });
    let message = '';
    await trainer.evaluate(brightDataset(4)).catch((error: Error) => {
      message = error.message;
    });
    expect(message).to.equal('evaluation: the model has 4 classes, the data 3');
  });
});
