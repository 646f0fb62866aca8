// The bundle for machines that have nothing (scripts/bundle.sh): which packages go into it, and how its `run` unpacks and
// starts what it holds, tried on a bundle of a few small files.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { skip } from '../support/skip.ts';

const root = resolve(import.meta.dirname, '../..');
const output = (program: string, ...words: string[]) =>
  execFileSync(program, words, { encoding: 'utf8' }).trim();
const has = (program: string) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

describe('bundle: packages', () => {
  const packages = (...names: string[]) =>
    spawnSync(process.execPath, [join(root, 'scripts/bundle/packages.mjs'), ...names], {
      cwd: root,
      encoding: 'utf8',
    });

  it('are those named and all that they need', () => {
    const found = packages('mocha', 'bindings', 'chai').stdout.trim().split('\n');
    const folders = ['mocha', 'debug', 'ms', 'bindings', 'file-uri-to-path', 'chai'];
    expect(found).to.include.members(folders.map((name) => `node_modules/${name}`));
    expect(found).not.to.include('node_modules/typescript');
    expect(new Set(found).size).to.equal(found.length);
  });

  it('leave out what is of other platforms, and nothing else', () => {
    const found = packages('sharp').stdout.trim().split('\n');
    expect(found.filter((name) => name.includes('@img/sharp-linux'))).not.to.have.length(0);
    expect(found.join()).not.to.contain('win32');
    const missing = packages('nowhere-to-be-found');
    expect(missing.status).not.to.equal(0);
    expect(missing.stderr).to.contain('nowhere-to-be-found is not installed');
  });
});

describe('bundle: run', function () {
  this.timeout(60_000);
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);

  before(function () {
    for (const program of ['bash', 'tar', 'xz', 'sha256sum', 'python3']) {
      if (!has(program)) skip(this, `there is no ${program}`);
    }
    folder = mkdtempSync(join(tmpdir(), 'depthwise-bundle-'));
    mkdirSync(at('stage', 'system'), { recursive: true });
    // In place of Node: says what it was started with.
    const node = '#!/bin/sh\necho "$@"\necho "LD_LIBRARY_PATH=$LD_LIBRARY_PATH"\npwd\n';
    writeFileSync(at('stage', 'node'), node, { mode: 0o755 });
    // The C library is everywhere; the other nowhere.
    for (const name of ['libc.so.6', 'libnowhere.so.7']) writeFileSync(at('stage', 'system', name), '');
    mkdirSync(at('bundle'));
    execFileSync('sh', ['-c', 'tar -C stage -cf - . | xz -0 > bundle/depthwise.tar.xz'], { cwd: folder });
    execFileSync('sh', ['-c', 'sha256sum depthwise.tar.xz > depthwise.tar.xz.sha256'], { cwd: at('bundle') });
    copyFileSync(join(root, 'scripts/bundle/run'), at('bundle', 'run'));
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  const run = (words: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    mkdirSync(at('tmp'), { recursive: true });
    const given = { PATH: process.env.PATH ?? '', TMPDIR: at('tmp'), ...env };
    return spawnSync('bash', [at('bundle', 'run'), ...words], {
      env: given,
      cwd: folder,
      encoding: 'utf8',
    });
  };
  const unpacked = () => readdirSync(at('tmp')).map((name) => at('tmp', name));

  it('unpacks once, and starts a phase with the folder that is asked for', () => {
    const first = run(['ops']);
    expect(first.stderr).to.contain('unpacking into');
    expect(first.status, first.stderr).to.equal(0);
    const [home, ...others] = unpacked();
    expect(others).to.deep.equal([]);
    expect(first.stdout.split('\n')[0]).to.equal(`${home}/bench/gpu.js ops --out ./out`);
    const words = (...given: Parameters<typeof run>) =>
      run(...given)
        .stdout.split('\n')[0]
        ?.split(' ')
        .slice(1);
    expect(words(['train'], { OUT: '/results' })).to.deep.equal(['train', '--out', '/results']);
    expect(words(['train', 'mine', '--batch', '8'], { OUT: '/results' })).to.deep.equal(
      ['train', '--out', 'mine', '--batch', '8'], // biome-ignore format: one list
    );
    expect(words(['kernels', '--device', 'cuda:1'])).to.deep.equal([
      'kernels',
      '--out',
      './out',
      '--device',
      'cuda:1',
    ]);
    expect(words(['test'])).to.deep.equal(['ops', '--out', './out']);
    expect(run(['infer']).stderr).to.equal('');
    expect(unpacked()).to.have.length(1);
  });

  it('runs both phases of a benchmark, and ends as the first that fails', () => {
    const phases = (text: string) => [...text.matchAll(/gpu\.js (\w+)/g)].map(([, phase]) => phase);
    const fine = run(['bench', 'mine']);
    expect([phases(fine.stdout), fine.status]).to.deep.equal([['train', 'infer'], 0]);
    const [home] = unpacked();
    const node = join(home as string, 'node');
    const before = readFileSync(node);
    writeFileSync(node, '#!/bin/sh\necho "$@"\ncase "$2" in train) exit 3;; *) exit 1;; esac\n');
    const failing = run(['bench']);
    expect([phases(failing.stdout), failing.status]).to.deep.equal([['train', 'infer'], 3]);
    writeFileSync(node, before);
  });

  it('says which C library it needs, where there is an older one', () => {
    mkdirSync(at('old'));
    writeFileSync(at('old', 'getconf'), '#!/bin/sh\necho "glibc 2.31"\n', { mode: 0o755 });
    const { status, stderr } = run(['test'], { PATH: `${at('old')}:${process.env.PATH}` });
    expect([status, stderr.trim()]).to.deep.equal([1, 'run: this needs glibc 2.34 or later; here is 2.31']);
  });

  it('brings the libraries that the machine lacks, and no others', () => {
    const lines = run(['depthwise', 'doctor'], { LD_LIBRARY_PATH: '/mine' }).stdout.split('\n');
    const [home] = unpacked();
    expect(lines[0]).to.equal(`${home}/bin/depthwise.js doctor`);
    expect(lines[1]).to.equal(`LD_LIBRARY_PATH=${home}/libraries:/mine`);
    expect(readdirSync(join(home as string, 'libraries'))).to.deep.equal(['libnowhere.so.7']);
  });

  it('runs tests and scripts in its own folder', () => {
    const [home] = unpacked();
    for (const [what, first] of [
      ['mocha', 'node_modules/mocha/bin/mocha.js a.js'],
      ['node', 'a.js'],
    ] as const) {
      const lines = run([what, 'a.js']).stdout.trim().split('\n');
      expect([lines[0], lines.at(-1)]).to.deep.equal([first, home]);
    }
  });

  it('unpacks by Python where there is no xz', () => {
    mkdirSync(at('bin'));
    for (const name of [
      'bash',
      'dirname',
      'getconf',
      'head',
      'id',
      'sha256sum',
      'sort',
      'mkdir',
      'mktemp',
      'ln',
      'mv',
      'ls',
      'rm',
    ]) {
      symlinkSync(output('sh', '-c', `command -v ${name}`), at('bin', name));
    }
    // `python3` may be a script that looks for it.
    symlinkSync(output('python3', '-c', 'import sys; print(sys.executable)'), at('bin', 'python3'));
    const home = { PATH: at('bin'), DEPTHWISE_BUNDLE_DIR: at('elsewhere') };
    const { status, stdout, stderr } = run(['ops'], home);
    expect(status, stderr).to.equal(0);
    expect(stdout).to.contain('/bench/gpu.js ops');
    expect(existsSync(at('elsewhere'))).to.equal(true);
  });

  it('refuses a damaged archive, and a phase that there is not', () => {
    const dance = run(['dance']);
    expect([dance.status, dance.stderr.split('\n')[0]]).to.deep.equal([2, 'run: there is no phase dance']);
    expect(run([]).stdout).to.contain('./run test|bench|kernels');
    writeFileSync(at('bundle', 'depthwise.tar.xz'), 'damaged');
    const damaged = run(['ops'], { DEPTHWISE_BUNDLE_DIR: at('new') });
    expect(damaged.status).to.equal(1);
    expect(damaged.stderr).to.contain('depthwise.tar.xz is damaged');
    expect(existsSync(at('new'))).to.equal(false);
  });
});
