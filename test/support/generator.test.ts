// The generator against its Python twin (known answers of scripts/record/known_answers.py) and the fixtures'
// loaders.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { bits, generate, sketch, smoothImages, xceptionShapes, xceptionWeights } from './generator.ts';

interface KnownAnswers {
  bits: { name: string; seed: number; values: number[] }[];
  generate: { name: string; seed: number; limit: number; offset: number; values: number[] }[];
  images: { size: number; sha256: string }[];
  weights: { seed: number; classes: number; sha256: string };
  sketch: { name: string; buckets: number; values: number[] };
}

const known = JSON.parse(
  readFileSync(new URL('../fixtures/known_answers.json', import.meta.url), 'utf8'),
) as KnownAnswers;

const digest = (...arrays: Float32Array[]): string => {
  const hash = createHash('sha256');
  for (const array of arrays) hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return hash.digest('hex');
};

describe('support: generator', () => {
  for (const { name, seed, values } of known.bits) {
    it(`draws the bits of '${name}', seed ${seed}`, () => {
      const draw = bits(name, seed);
      expect(values.map((_, i) => draw(i))).to.deep.equal(values);
    });
  }

  for (const { name, seed, limit, offset, values } of known.generate) {
    it(`generates '${name}', seed ${seed}, limit ${limit}, offset ${offset} bit for bit`, () => {
      const got = generate(name, [values.length], seed, { limit, offset });
      expect([...got]).to.deep.equal([...Float32Array.from(values)]);
    });
  }

  it('stays in [-1, 1), with the mean and deviation of a uniform distribution', () => {
    const values = generate('moments', [1 << 20], 7);
    let sum = 0;
    let squares = 0;
    for (const v of values) {
      if (!(v >= -1 && v < 1)) throw new Error(`${v} is out of range`);
      sum += v;
      squares += v * v;
    }
    // Four standard deviations of the estimates.
    expect(Math.abs(sum / values.length)).to.be.lessThan(4 * Math.sqrt(1 / 3 / values.length));
    expect(Math.abs(squares / values.length - 1 / 3)).to.be.lessThan(4 * Math.sqrt(4 / 45 / values.length));
  });

  for (const { size, sha256 } of known.images) {
    it(`makes the smooth images of ${size} pixels bit for bit`, () => {
      expect(digest(smoothImages(8, size))).to.equal(sha256);
    });
  }

  it('makes a whole Xception bit for bit', () => {
    const { seed, classes, sha256 } = known.weights;
    const weights = xceptionWeights({ seed, classes });
    expect(digest(...[...weights.values()].map((w) => w.data))).to.equal(sha256);
  });

  it('has the published number of parameters at 1,000 classes', () => {
    let trainable = 0;
    let all = 0;
    for (const [name, shape] of xceptionShapes(1000)) {
      const count = shape.reduce((product, d) => product * d, 1);
      all += count;
      if (!name.includes('.running_')) trainable += count;
    }
    expect([trainable, all]).to.deep.equal([22_855_952, 22_910_480]);
  });

  it('sketches as the twin does', () => {
    const { name, buckets, values } = known.sketch;
    const got = sketch(name, generate(name, [3, 3, 64, 32], 1), buckets);
    expect(got.length).to.equal(values.length);
    got.forEach((v, i) => {
      expect(v).to.be.closeTo(values[i]!, 1e-12);
    });
  });

  it('tells the norm of a difference by sketches, and sees a permutation', () => {
    const a = generate('a', [500_000], 1);
    const b = a.map((v, i) => v + 1e-3 * generate('noise', [1], i)[0]!);
    const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((s, v) => s + v * v, 0));
    const difference = norm(a.map((v, i) => v - b[i]!));
    const [sketchA, sketchB] = [sketch('t', a, 1024), sketch('t', b, 1024)];
    const told = norm(sketchA.map((v, i) => v - sketchB[i]!));
    expect(told / difference).to.be.within(0.9, 1.1);
    const reversed = sketch('t', a.slice().reverse(), 1024);
    expect(norm(sketchA.map((v, i) => v - reversed[i]!)) / norm(sketchA)).to.be.greaterThan(1);
  });
});
