// Every op on 20 random cases; and the list of ops, which exists in TypeScript, in C and in the tests.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { loadAddon } from '../../lib/backend/load.ts';
import { kernels } from '../../lib/backend/reference/kernels.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { devices } from '../support/devices.ts';
import { Random } from '../support/random.ts';
import { skip } from '../support/skip.ts';
import { testOp } from '../support/testOp.ts';
import { cases } from './cases.ts';

const names = Object.keys(allOps) as OpName[];

describe('the list of ops', () => {
  const header = readFileSync(new URL('../../native/include/depthwise_ops.h', import.meta.url), 'utf8');
  const declared = [...header.matchAll(/^\s*X\((\d+), (\w+)\)/gm)].map(
    ([, code, name]) => [name!, Number(code)] as const,
  );
  const sorted = [...names].sort();

  it('is the same in lib/ops, in the native header, in the reference backend and in the tests', () => {
    expect(declared.map(([name]) => name).sort(), 'native/include/depthwise_ops.h').to.deep.equal(sorted);
    expect([...kernels.keys()].sort(), 'lib/backend/reference').to.deep.equal(sorted);
    expect(Object.keys(cases).sort(), 'test/ops/cases.ts').to.deep.equal(sorted);
  });

  it('has every name and every code once', () => {
    expect(new Set(declared.map(([, code]) => code)).size).to.equal(declared.length);
    for (const name of names) expect(allOps[name].name).to.equal(name);
  });

  it('encodes the attributes that the native header names', () => {
    const table = header.slice(header.indexOf('#define DW_OPS(X)'));
    // `  [window, groups]` before X(code, name); `window` is six numbers, `conv`
    // nine, `shape...` any number.
    for (const [, comment, name] of table.matchAll(/((?:(?!X\().)*)X\(\d+, (\w+)\)/gs)) {
      const attributes =
        / {2}\[([^\]]+)\]/
          .exec(comment!)?.[1]
          ?.replace('conv', 'window,1,2,3')
          .replace('window', '1,2,3,4,5,6')
          .split(',') ?? [];
      const op = allOps[name as OpName];
      const { length } = op.encode(cases[name as OpName](new Random(name!), 0).attributes);
      const open = attributes.filter((attribute) => attribute.includes('...')).length;
      if (open === 0) expect(length, name).to.equal(attributes.length);
      else expect(length, name).to.be.at.least(attributes.length - open);
    }
  });

  it('is what the native module was built with', function () {
    // Or test/support/devices.ts has made it a failure.
    if (devices.length === 0) skip(this, 'there is no native module');
    expect(loadAddon().addon.opTable()).to.deep.equal(Object.fromEntries(declared));
  });
});

for (const name of names) testOp(name, cases[name]);
