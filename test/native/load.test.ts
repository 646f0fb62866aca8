// The loader: where it looks, and what it says when there is nothing.

import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { findAddon, pluginPath } from '../../lib/backend/load.ts';
import { LoadError } from '../../lib/core/errors.ts';
import { addonPath } from './support.ts';

describe('native loader', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-load-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const failure = (): LoadError => {
    try {
      findAddon(folder);
    } catch (error) {
      if (error instanceof LoadError) return error;
    }
    throw new Error('expected a LoadError');
  };

  it('takes a folder that it is told of', () => {
    copyFileSync(addonPath, join(folder, 'depthwise.node'));
    expect(findAddon(folder).folder).to.equal(folder);
  });

  it('says what is wrong with an empty folder, and how to mend it', () => {
    expect(failure().code).to.equal('BACKEND_MISSING');
    expect(failure().message).to.match(/depthwise\.node: not there\n.*\n {2}1\. Unset DEPTHWISE_NATIVE_DIR/s);
  });

  it('gives the words of the system for a file that is no library', () => {
    writeFileSync(join(folder, 'depthwise.node'), 'text');
    expect(failure().message).to.match(/depthwise\.node: .*(invalid ELF header|file too short)/);
  });

  it('names the file of a backend that is not installed', () => {
    expect(() => pluginPath('nonsense')).to.throw(LoadError, 'libdepthwise_nonsense.so');
  });
});
