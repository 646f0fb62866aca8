// The layers of the code: imports point only downwards, as the table in CONTRIBUTING.md and docs/decisions.md say.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect } from 'chai';

const lib = resolve(import.meta.dirname, '../lib');

/** From top to bottom; folders on one line may not import each other unless listed in `allowed`. */
const order = [
  'cli', // only index.ts: see below
  'report',
  'train',
  'classify',
  'interop',
  'models',
  'data',
  'optim',
  'nn',
  'cudnn', // the entry depthwise/cudnn: nothing imports it
  'ops',
  'core',
  'backend',
];

/** What the table alone would forbid, with the reason. */
const allowed = new Map([
  ['backend/core', 'a backend speaks of avals, ops and programs, whose types are core'],
]);

/** What the table alone would allow, and the design forbids. */
const forbidden = [
  ['models', 'backend'],
  ['models', 'data'],
  ['nn', 'data'],
  ['interop', 'models'],
  ['interop', 'nn'],
  ['data', 'ops'],
  ['data', 'nn'],
  ['train', 'cudnn'],
  ['classify', 'cudnn'],
  ['nn', 'cudnn'],
  ['report', 'ops'],
  ['report', 'nn'],
  ['report', 'models'],
] as const;

const files = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)],
  );

describe('layers', () => {
  const imports = files(lib).flatMap((file) => {
    const from = relative(lib, file).split('/')[0] as string;
    const text = readFileSync(file, 'utf8');
    return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)].map((match) => ({
      file: relative(lib, file),
      from,
      to: relative(lib, resolve(file, '..', match[1] as string)).split('/')[0] as string,
    }));
  });

  it('finds the imports', () => {
    expect(imports.length).to.be.greaterThan(100);
  });

  it('points downwards', () => {
    const wrong = imports.filter(({ from, to }) => {
      if (from === to || from === 'index.ts' || allowed.has(`${from}/${to}`)) return false;
      if (from === 'cli' && to === 'index.ts') return false;
      return !order.includes(to) || order.indexOf(to) < order.indexOf(from);
    });
    expect(wrong).to.deep.equal([]);
  });

  it('keeps apart what must not know each other', () => {
    const wrong = imports.filter(({ from, to }) => forbidden.some(([a, b]) => a === from && b === to));
    expect(wrong).to.deep.equal([]);
  });

  it('lets the command line know the public API alone', () => {
    const wrong = imports.filter(({ from, to }) => from === 'cli' && to !== 'cli' && to !== 'index.ts');
    expect(wrong).to.deep.equal([]);
  });

  it('names every folder', () => {
    const folders = readdirSync(lib, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map((entry) => entry.name).sort()).to.deep.equal([...order].sort());
  });
});
