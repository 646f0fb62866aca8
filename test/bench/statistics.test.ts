// Numbers about numbers: means, spreads, and what samples let one tell. Expected quantiles are those of tables.

import { expect } from 'chai';
import { median, sample, studentQuantile, welch } from '../../bench/support/statistics.ts';

describe('bench: statistics', () => {
  it('gives means, and deviations of samples', () => {
    expect(sample([1, 2, 3])).to.deep.equal({ mean: 2, deviation: 1 });
    expect(sample([5]).deviation).to.be.NaN;
    expect(median([4, 1, 3, 2])).to.equal(2.5);
  });

  it('has quantiles of the t distribution, rounded to the cautious side', () => {
    expect([1, 2, 2.9, 4, 10, 30].map(studentQuantile)).to.deep.equal([
      12.706, 4.303, 4.303, 2.776, 2.228, 2.042,
    ]);
    for (const [degrees, quantile] of [[40, 2.0211] as const, [120, 1.9799] as const]) {
      expect(studentQuantile(degrees)).to.be.within(quantile, quantile + 0.003);
    }
  });

  it('compares samples of different variance', () => {
    // Equal sizes and variances: 4 degrees of freedom, standard error sqrt(2 / 3).
    const even = welch([4, 5, 6], [1, 2, 3]);
    expect(even.difference).to.equal(3);
    expect(even.margin).to.be.closeTo(2.776 * Math.sqrt(2 / 3), 1e-12);
    // One sample without variance: 2 degrees of freedom, those of the other.
    expect(welch([4, 5, 6], [2, 2, 2]).margin).to.be.closeTo(4.303 * Math.sqrt(1 / 3), 1e-12);
    expect(welch([4, 4], [2, 2])).to.deep.equal({ difference: 2, margin: 0 });
    expect(welch([4], [2, 3]).margin).to.be.NaN;
  });
});
