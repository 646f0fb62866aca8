// The loader: where it looks, and what it says when there is nothing.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { findAddon, pluginPath } from '../../lib/backend/load.ts';
import { LoadError } from '../../lib/core/errors.ts';
import { skip } from '../support/skip.ts';
import { addonPath, folder as native } from './support.ts';

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

  it('needs no newer C library than it says, and brings its C++ library', function () {
    const tool = spawnSync('readelf', ['--version']);
    if (tool.error !== undefined) skip(this, 'there is no readelf');
    if (native.includes('sanitize')) skip(this, 'sanitizers want the shared C++ library');
    const shipped = ['depthwise.node', 'depthwise_probe', 'libdepthwise_cuda.so', 'libdepthwise_cudnn.so'];
    const present = shipped.filter((name) => existsSync(join(native, name)));
    expect(present).to.include('depthwise.node');
    for (const name of present) {
      const { stdout } = spawnSync('readelf', ['-VW', join(native, name)], { encoding: 'utf8' });
      const versions = [...stdout.matchAll(/Name: (GLIBC|GLIBCXX|CXXABI)_([\d.]+)/g)];
      expect(versions, name).not.to.be.empty;
      for (const [, library, version] of versions) {
        expect(library, `${name}: C++ library`).to.equal('GLIBC');
        const [major = 0, minor = 0] = (version as string).split('.').map(Number);
        expect(major * 100 + minor, `${name}: GLIBC_${version}`).to.be.at.most(234);
      }
    }
  });

  it('names the file of a backend that is not installed', () => {
    expect(() => pluginPath('nonsense')).to.throw(LoadError, 'libdepthwise_nonsense.so');
  });
});
