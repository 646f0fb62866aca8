// The short form of the fuzzing of every parser of foreign files; `npm run fuzz` is the long one.

import { expect } from 'chai';
import { fuzz } from './fuzz.ts';
import { targets } from './targets.ts';

const each = 400; // milliseconds

describe('mutated files give a value or an error with a code', () => {
  for (const name of Object.keys(targets)) {
    it(name, async () => {
      const { inputs, values, codes, grown } = await fuzz(name, each, 1);
      expect(inputs).to.be.greaterThan(0);
      expect(values + [...codes.values()].reduce((sum, count) => sum + count, 0)).to.equal(inputs);
      // No header has anything allocated for what it only claims.
      expect(grown, 'MB').to.be.lessThan(128);
    });
  }
});
