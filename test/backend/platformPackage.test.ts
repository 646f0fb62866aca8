// The loader in installations that are described: no package for the platform, one of another version, damaged, of
// another machine. Every error says what was found, and gives fixes that were computed for it.

import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { findAddon } from '../../lib/backend/load.ts';
import { damaged, findPackage, type Host, thisHost } from '../../lib/backend/platformPackage.ts';
import { LoadError } from '../../lib/core/errors.ts';
import { addonPath } from '../native/support.ts';

const host = (changes: Partial<Omit<Host, 'glibc'>> = {}, glibc: string | undefined = '2.36'): Host => ({
  platform: 'linux',
  arch: 'x64',
  node: '20.20.2',
  glibc: () => glibc,
  ...changes,
});
const musl: Host = { ...host(), glibc: () => undefined };

describe('the package of the platform', () => {
  let project: string;
  let root: string;
  beforeEach(() => {
    project = mkdtempSync(join(tmpdir(), 'depthwise-installed-'));
    root = join(project, 'node_modules', 'depthwise');
    write('node_modules/depthwise/package.json', { name: 'depthwise', version: '1.2.3' });
  });
  afterEach(() => rmSync(project, { recursive: true }));

  function write(file: string, contents: object): void {
    mkdirSync(dirname(join(project, file)), { recursive: true });
    writeFileSync(join(project, file), JSON.stringify(contents));
  }

  const lock = (...packages: string[]): void =>
    write('package-lock.json', { packages: Object.fromEntries(packages.map((name) => [name, {}])) });

  /** Installs a package of the platform with these files; `depthwise.node` is a text, unless it is given. */
  function install({
    platform = 'linux-x64',
    version = '1.2.3',
    glibc = '2.34',
    addon,
  }: {
    platform?: string;
    version?: string;
    glibc?: string;
    addon?: string;
  } = {}): string {
    const folder = join(project, 'node_modules', '@depthwise', platform);
    mkdirSync(folder, { recursive: true });
    const path = join(folder, 'depthwise.node');
    if (addon === undefined) writeFileSync(path, 'text');
    else copyFileSync(addon, path);
    const text = 'text';
    const files = {
      'depthwise.node': { bytes: text.length, sha256: createHash('sha256').update(text).digest('hex') },
    };
    write(`node_modules/@depthwise/${platform}/package.json`, {
      name: `@depthwise/${platform}`,
      version,
      depthwise: { glibc, files: addon === undefined ? files : {} },
    });
    return folder;
  }

  function failure(on: Host): LoadError {
    try {
      findAddon(undefined, { root, host: on });
    } catch (error) {
      if (error instanceof LoadError) return error;
      throw error;
    }
    throw new Error('expected a LoadError');
  }

  const clone =
    'Build it in a clone of the repository: npm run setup, and name its build/Release with DEPTHWISE_NATIVE_DIR';

  it('is loaded where it is whole and of this version', () => {
    const folder = install({ addon: addonPath });
    const found = findAddon(undefined, { root, host: thisHost });
    expect(found.folder).to.equal(folder);
    expect(found.package?.version).to.equal('1.2.3');
    expect(found.addon.opTable()).to.include.keys('conv2d');
  });

  it('comes after what was built in the folder, by cmake-js first and then by node-gyp', () => {
    install({ addon: addonPath });
    const built = join(root, 'build', 'Release');
    const gyp = join(root, 'build', 'gyp', 'build', 'Release');
    for (const folder of [gyp, built]) {
      mkdirSync(folder, { recursive: true });
      copyFileSync(addonPath, join(folder, 'depthwise.node'));
      expect(findAddon(undefined, { root, host: thisHost }).folder).to.equal(folder);
    }
  });

  it('is found also beside depthwise in the folders of pnpm', () => {
    const store = join(project, 'node_modules/.pnpm/depthwise@1.2.3/node_modules');
    write('node_modules/.pnpm/depthwise@1.2.3/node_modules/depthwise/package.json', { version: '1.2.3' });
    write('node_modules/.pnpm/depthwise@1.2.3/node_modules/@depthwise/linux-x64/package.json', {
      version: '1.2.3',
    });
    expect(findPackage(join(store, 'depthwise'), 'linux-x64')?.folder).to.equal(
      join(store, '@depthwise/linux-x64'),
    );
  });

  it('where it is missing, is to be installed', () => {
    const { message, code, fixes, details } = failure(host());
    expect(code).to.equal('BACKEND_MISSING');
    expect(details).to.deep.equal(['@depthwise/linux-x64: not installed']);
    expect(fixes).to.deep.equal([
      'Install with optional dependencies: npm install --include=optional',
      clone,
    ]);
    expect(message).to.equal(
      [
        'the native module for linux-x64 (Node 20.20.2) cannot be loaded (BACKEND_MISSING)',
        '  @depthwise/linux-x64: not installed',
        'To mend it, one of:',
        '  1. Install with optional dependencies: npm install --include=optional',
        `  2. ${clone}`,
      ].join('\n'),
    );
  });

  it('where a lock file names it and it is missing, was left out', () => {
    lock('', 'node_modules/depthwise', 'node_modules/@depthwise/linux-x64');
    const { details, fixes } = failure(host());
    expect(details[0]).to.match(/package-lock\.json names it: optional dependencies were left out/);
    expect(fixes[0]).to.match(/--include=optional \(without --omit=optional/);
  });

  it('where a lock file does not name it, the lock file is to be made anew', () => {
    lock('', 'node_modules/depthwise');
    const { details, fixes } = failure(host());
    expect(details[0]).to.match(/not installed, and package-lock\.json does not name it/);
    expect(fixes[1]).to.match(/rm -r node_modules package-lock\.json && npm install/);
  });

  it('where there is the one of another machine, node_modules was made for that', () => {
    install({ platform: 'linux-arm64' });
    const { details, fixes } = failure(host());
    expect(details[0]).to.match(/@depthwise\/linux-arm64 is: node_modules was made for linux-arm64/);
    expect(fixes.slice(0, 2)).to.deep.equal([
      'Install on this machine: rm -r node_modules && npm install',
      'Where it is made for this one: npm install --os=linux --cpu=x64',
    ]);
  });

  it('of another version is refused, with the command that brings the right one', () => {
    install({ version: '1.2.4', addon: addonPath });
    const { details, fixes } = failure(host());
    expect(details).to.deep.equal(['@depthwise/linux-x64 is version 1.2.4, depthwise 1.2.3 needs 1.2.3']);
    expect(fixes[0]).to.match(/npm install @depthwise\/linux-x64@1\.2\.3$/);
  });

  it('says which file is missing, cut off, or has other bytes, and how it is installed again', () => {
    const folder = install();
    const again = `Install it again: rm -r ${folder} && npm install`;
    const addon = join(folder, 'depthwise.node');
    // As long as it should be: the system's loader refuses it, and then the checksum tells.
    writeFileSync(addon, 'TEXT');
    expect(failure(host()).details.at(-1)).to.equal(`${addon}: damaged: its checksum is wrong`);
    expect(failure(host()).fixes[0]).to.equal(again);
    writeFileSync(addon, 'te');
    expect(failure(host()).details).to.deep.equal([`${addon}: damaged: 2 bytes, expected 4`]);
    rmSync(addon);
    expect(failure(host()).details).to.deep.equal([`${addon}: missing`]);
    expect(failure(host()).fixes[0]).to.equal(again);
    writeFileSync(join(folder, 'package.json'), '{ "version": "1.2.3"');
    expect(failure(host()).details).to.deep.equal([`${join(folder, 'package.json')}: damaged`]);
    expect(failure(host()).fixes[0]).to.equal(again);
  });

  it('where its bytes are right and it cannot be opened, gives the words of the system', () => {
    const folder = install();
    expect(damaged(findPackage(root, 'linux-x64')!)).to.equal(undefined);
    expect(failure(host()).details).to.have.lengthOf(1);
    expect(failure(host()).details[0]).to.match(/depthwise\.node: .*(invalid ELF header|file too short)/);
    expect(failure(host()).details[0]).to.include(folder);
  });

  it('is not for an older C library than it was built with, nor for musl', () => {
    install({ addon: addonPath });
    expect(failure(host({}, '2.31')).details).to.deep.equal([
      '@depthwise/linux-x64 needs glibc 2.34 or newer',
    ]);
    expect(failure(host({}, '2.31')).fixes[0]).to.equal(
      'Use a system with glibc 2.34 or newer (Debian 12, Ubuntu 22.04, RHEL 9): this one has 2.31',
    );
    expect(failure(musl).fixes[0]).to.match(/^Use a system with glibc .*: there is no build for musl$/);
    // 2.4 is older than 2.34.
    expect(failure(host({}, '2.4')).fixes[0]).to.match(/this one has 2\.4$/);
  });

  it('is left out by npm on musl and on an old C library: that is said, and not to install it', () => {
    expect(failure(musl).details).to.deep.equal(['@depthwise/linux-x64: not for this C library']);
    expect(failure(musl).fixes.join()).not.to.include('npm install');
    expect(failure(host({}, '2.17')).fixes[0]).to.match(/this one has 2\.17$/);
  });

  for (const [platform, arch] of [
    ['darwin', 'arm64'],
    ['win32', 'x64'],
  ] as const) {
    it(`does not exist for ${platform}-${arch}: that needs Linux`, () => {
      const { message, fixes } = failure(host({ platform, arch }));
      expect(message).to.include(`the native module for ${platform}-${arch}`);
      expect(message).to.include(`@depthwise/${platform}-${arch}: there is no such package`);
      expect(fixes).to.deep.equal([
        `Use Linux (or WSL 2, or a container): there is no native code for ${platform}`,
      ]);
    });
  }

  it('is not published for every Linux: there it can be built', () => {
    const { details, fixes } = failure(host({ arch: 'riscv64' }));
    expect(details).to.deep.equal(['@depthwise/linux-riscv64: there is no such package']);
    expect(fixes).to.deep.equal([clone]);
  });
});
