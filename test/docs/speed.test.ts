// The README's speed is what bench/results says.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { speedPicture, withSpeedTable } from '../../scripts/readme-speed.ts';
import { root } from '../support/builtPackage.ts';

describe('the speed in the README', () => {
  it('is the table of the results that are kept', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    expect(withSpeedTable(readme)).to.equal(readme);
  });

  it('is drawn from the results that are kept', async () => {
    expect(await speedPicture()).to.equal(readFileSync(join(root, 'docs/speed.svg'), 'utf8'));
  });
});
