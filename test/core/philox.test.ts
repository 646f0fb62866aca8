// Tests of lib/core/philox.ts: Random123's known answers, and that words become numbers as documented.
import { expect } from 'chai';
import { ArgumentError } from '../../lib/core/errors.ts';
import { philox4x32, seedKey, uniform, unitInterval } from '../../lib/core/philox.ts';

describe('philox4x32', () => {
  // kat_vectors of Random123 1.14, lines "philox4x32 10".
  const known = [
    {
      counter: [0, 0, 0, 0],
      key: [0, 0],
      block: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    },
    {
      counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      key: [0xffffffff, 0xffffffff],
      block: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    },
    {
      counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      key: [0xa4093822, 0x299f31d0],
      block: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    },
  ] as const;
  for (const { counter, key, block } of known) {
    it(`gives the known answer for counter ${counter[0].toString(16)}…`, () => {
      expect([...philox4x32(counter, key)]).to.deep.equal([...block]);
    });
  }
});

describe('uniform', () => {
  it('takes the upper 24 bits of the first word', () => {
    expect(unitInterval(0)).to.equal(0);
    expect(unitInterval(0xffffffff)).to.equal(1 - 2 ** -24);
    expect(uniform(0)).to.equal((0x6627e8d5 >>> 8) / 2 ** 24);
    expect(Math.fround(uniform(7, 1, 2, 3, 4))).to.equal(uniform(7, 1, 2, 3, 4));
  });

  it('depends on every counter and on both halves of the seed', () => {
    const values = [
      uniform(1),
      uniform(1 + 2 ** 32),
      ...[0, 1, 2, 3].map((at) => uniform(1, ...[0, 0, 0, 0].map((_, i) => (i === at ? 1 : 0)))),
    ];
    expect(new Set(values).size).to.equal(values.length);
    expect(seedKey(2 ** 32 + 5)).to.deep.equal([5, 1]);
  });

  it('has the mean and the variance of the uniform distribution', () => {
    const n = 20_000;
    const values = Array.from({ length: n }, (_, i) => uniform(3, i));
    const mean = values.reduce((sum, x) => sum + x, 0) / n;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n;
    expect(mean).to.be.closeTo(0.5, 0.01);
    expect(variance).to.be.closeTo(1 / 12, 0.003);
  });

  it('refuses a seed that is not a whole number from 0 on', () => {
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53])
      expect(() => uniform(seed)).to.throw(ArgumentError, /seed/);
    expect(() => uniform(0, 1, 2, 3, 4, 5)).to.throw(ArgumentError, /4 counters/);
  });
});
