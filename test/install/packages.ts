// The packed packages, installed as a stranger does: from a registry, without scripts, on a machine without a compiler
// and without oneDNN. No part of `npm test`: it needs what `npm run package` has packed.
//
//   npm run test:install        prints times from `npm install` to the first prediction

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { type Answer, Machine } from './machine.ts';
import { type Registry, serveRegistry } from './registry.ts';

const root = resolve(import.meta.dirname, '../..');
const packages = join(root, 'dist/packages');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const platform = `${process.platform}-${process.arch}`;
const mainTarball = join(packages, `depthwise-${version}.tgz`);
const platformTarball = join(packages, `depthwise-${platform}-${version}.tgz`);
const clothing = join(root, 'examples/data/clothing');

/** Other versions of Node, publint and attw: their folder in node_modules. */
function installTools(): string {
  const wanted = join(import.meta.dirname, 'tools');
  const folder = join(root, 'build/install-tools');
  const lock = readFileSync(join(wanted, 'package-lock.json'), 'utf8');
  const stamp = join(folder, 'installed-lock.json');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
    mkdirSync(folder, { recursive: true });
    for (const name of ['package.json', 'package-lock.json'])
      copyFileSync(join(wanted, name), join(folder, name));
    const words = [
      'ci',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
      '--loglevel=error',
    ];
    execFileSync('npm', words, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
    writeFileSync(stamp, lock);
  }
  return join(folder, 'node_modules');
}

/** Says which files of a name are open in the process that runs it. */
const saysMapped = `const mapped = readFileSync('/proc/self/maps', 'utf8')
  .match(/\\/\\S*(?:libdnnl|libgomp|libOpenCL|libjpeg|libdepthwise_\\w+|depthwise\\.node)\\S*/g);`;

const predicting = `import { readFileSync } from 'node:fs';
import { xception } from 'depthwise';
const model = xception({ classes: ['hat', 'shoes'], size: 96 });
const [best] = await model.predict([process.argv[2]], { top: 1 });
${saysMapped}
console.log(JSON.stringify({ node: process.versions.node, label: best[0].label, mapped: [...new Set(mapped)] }));
`;

const requiring = `const { readFileSync } = require('node:fs');
const { openDevice, openScope, ops, setDefaultBackend, tensor } = require('depthwise');
setDefaultBackend(openDevice('cpu'));
const scope = openScope();
const sum = ops.add(tensor([1, 2], [2]), tensor([3, 4], [2])).dataSync();
scope.dispose();
${saysMapped}
console.log(JSON.stringify({ sum: [...sum], mapped: [...new Set(mapped)] }));
`;

const typed = `import { type Classifier, imageFolder, ops, sgd, ShapeError, tensor, Trainer, xception } from 'depthwise';
import { cudnnLibrary } from 'depthwise/cudnn';
const model: Classifier = xception({ classes: 10, dropout: 0.5 });
const trainer = new Trainer(model, { optimizer: sgd({ momentum: 0.9 }), polyak: 0.9999 });
export async function run(): Promise<string> {
  await trainer.fit(imageFolder('train', { size: 299 }), { epochs: 1 });
  const y = ops.relu(tensor([1], [1]));
  const found: string = cudnnLibrary().version;
  return y.dtype + found + ShapeError.name;
}
// @ts-expect-error a number is no list of classes or their count
xception({ classes: 'ten' });
`;

const untyped = `import depthwise = require('depthwise');
export const model: depthwise.Classifier = depthwise.xception({ classes: 10 });
// @ts-expect-error there is no such function
depthwise.xceptoin();
`;

const compilerOptions = {
  strict: true,
  noEmit: true,
  target: 'es2022',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
  skipLibCheck: false,
};

describe('packed packages', function () {
  this.timeout(300000);
  let machine: Machine;
  let registry: Registry;
  let tools: string;
  let photo: string;
  let installing: Answer;
  const times: string[] = [];
  const nodes = new Map<string, string>();

  before(async () => {
    for (const tarball of [mainTarball, platformTarball]) {
      if (!existsSync(tarball)) throw new Error(`there is no ${tarball}: npm run package`);
    }
    tools = installTools();
    machine = new Machine();
    registry = await serveRegistry([mainTarball, platformTarball], machine.upstream);
    nodes.set(process.versions.node, process.execPath);
    for (const name of ['node22', 'node24']) {
      const path = join(tools, name, 'bin/node');
      nodes.set(execFileSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim(), path);
    }
    for (const set of ['train', 'validation']) {
      for (const label of ['hat', 'shoes']) {
        mkdirSync(machine.at('photos', set, label), { recursive: true });
        const files = readdirSync(join(clothing, set, label)).sort();
        for (const file of files.slice(0, set === 'train' ? 6 : 2)) {
          copyFileSync(join(clothing, set, label, file), machine.at('photos', set, label, file));
        }
      }
    }
    photo = machine.at(
      'photos/validation/hat',
      readdirSync(machine.at('photos/validation/hat'))[0] as string,
    );
    machine.write('package.json', '{ "name": "stranger", "private": true }');
    machine.write('predict.mjs', predicting);
    machine.write('ops.cjs', requiring);
    installing = await install(['depthwise']);
    times.push(`npm install: ${installing.seconds.toFixed(1)} s`);
  });

  after(async () => {
    await registry?.close();
    machine?.dispose();
    for (const line of times) console.log(`    ${line}`);
  });

  /** Installs from our registry, without scripts. */
  function install(words: readonly string[], folder = ''): Promise<Answer> {
    const fixed = [
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
      '--registry',
      registry.url,
    ];
    return machine.run(['npm', 'install', ...fixed, ...words], { folder });
  }

  const run = async (...command: string[]): Promise<string> => {
    const { code, stdout, stderr } = await machine.run(command);
    expect(code, `${command.join(' ')}\n${stdout}${stderr}`).to.equal(0);
    return stdout;
  };

  /** Fails with what is said where a file open in a process is not of the installed package. */
  function expectOurs(mapped: readonly string[]): void {
    const folder = machine.at('node_modules/@depthwise', platform);
    const names = ['depthwise.node', 'libdepthwise_cpu.so', 'libdnnl.so.2', 'libgomp.so.1', 'libOpenCL.so.1'];
    expect(mapped).to.include.members(names.map((name) => join(folder, name)));
    expect(mapped.filter((path) => !path.startsWith(folder))).to.deep.equal([]);
  }

  it('are installed with what they need, and nothing else', () => {
    expect(installing.code, installing.stderr).to.equal(0);
    if (!machine.bare) console.log('      not root: the libraries of this system stay in sight');
    expect(existsSync(machine.at('node_modules/depthwise/lib'))).to.equal(false);
    const lock = JSON.parse(readFileSync(machine.at('package-lock.json'), 'utf8')) as {
      packages: Record<
        string,
        { version?: string; optional?: boolean; os?: string[]; hasInstallScript?: boolean }
      >;
    };
    const ours = lock.packages[`node_modules/@depthwise/${platform}`];
    expect(ours).to.include({ version, optional: true });
    expect(ours?.os).to.deep.equal([process.platform]);
    const scripts = Object.entries(lock.packages).filter(([, { hasInstallScript }]) => hasInstallScript);
    expect(scripts.map(([name]) => name)).to.deep.equal([]);
    expect(
      statSync(machine.at('node_modules/@depthwise', platform, 'depthwise_probe')).mode & 0o111,
    ).not.to.equal(0);
    for (const name of ['cc', 'gcc', 'g++', 'make', 'cmake', 'python3']) {
      expect(existsSync(join(machine.folder, 'bin', name)), name).to.equal(false);
    }
  });

  it('predict in an ES module and compute in CommonJS, with every Node, on libraries of their own', async () => {
    expect([...nodes.keys()].map((each) => each.split('.')[0])).to.include.members(['22', '24']);
    for (const [node, path] of nodes) {
      const started = performance.now();
      const said = JSON.parse(await run(path, 'predict.mjs', photo)) as { node: string; mapped: string[] };
      if (path === process.execPath) {
        times.push(
          `first prediction (Node ${node}): ${((performance.now() - started) / 1000).toFixed(1)} s later`,
        );
      }
      expect(said.node).to.equal(node);
      expectOurs(said.mapped);
      const computed = JSON.parse(await run(path, 'ops.cjs')) as { sum: number[]; mapped: string[] };
      expect(computed.sum).to.deep.equal([4, 6]);
      expectOurs(computed.mapped);
    }
  });

  it('train, evaluate and predict on the command line', async () => {
    const started = performance.now();
    const words = ['--size', '71', '--epochs', '1', '--batch', '6', '--device', 'cpu', '--out', 'runs/a'];
    await run('npx', '--no', '--', 'depthwise', 'train', 'photos', ...words);
    times.push(`train, 12 photographs: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    const line = await run(
      'npx',
      '--no',
      '--',
      'depthwise',
      'predict',
      photo,
      '--weights',
      'runs/a',
      '--json',
    );
    const { predictions } = JSON.parse(line) as { predictions: { label: string }[] };
    expect(predictions.map(({ label }) => label)).to.have.members(['hat', 'shoes']);
    expect(await run('npx', '--no', '--', 'depthwise', '--version')).to.equal(`${version}\n`);
    expect(await run('npx', '--no', '--', 'depthwise', 'doctor')).to.match(/^device: cpu \(oneDNN/);
  });

  it('have types for nodenext, in ES modules and CommonJS, and for bundlers', () => {
    // Types of Node are a stranger's own.
    for (const name of ['@types/node', 'undici-types']) {
      cpSync(join(root, 'node_modules', name), machine.at('node_modules', name), { recursive: true });
    }
    machine.write('types/a.mts', typed);
    machine.write('types/b.cts', untyped);
    machine.write('types/c.ts', typed);
    const tsc = join(root, 'node_modules/.bin/tsc');
    for (const [module, files] of [
      ['nodenext', ['a.mts', 'b.cts']],
      ['preserve', ['c.ts']],
    ] as const) {
      const moduleResolution = module === 'preserve' ? 'bundler' : module;
      const project = { compilerOptions: { ...compilerOptions, module, moduleResolution }, files };
      machine.write(`types/${module}.json`, JSON.stringify(project));
      try {
        execFileSync(tsc, ['-p', machine.at(`types/${module}.json`)], { encoding: 'utf8' });
      } catch (error) {
        expect.fail(`${module}: ${String((error as { stdout?: string }).stdout)}`);
      }
    }
  });

  it('have nothing that publint or attw complains of', () => {
    const publint = (file: string): string =>
      execFileSync(join(tools, '.bin/publint'), ['--strict', file], { encoding: 'utf8' });
    for (const file of [mainTarball, platformTarball]) expect(publint(file)).to.match(/All good!/);
    // What is not ES modules is asked of Node itself, above: since 20.19 it requires them.
    execFileSync(join(tools, '.bin/attw'), ['--profile', 'esm-only', '--quiet', mainTarball], {
      stdio: 'pipe',
    });
  });

  describe('without their platform', () => {
    const installed = (): string => machine.at('node_modules/@depthwise', platform);
    const aside = (): string => machine.at('aside');

    /** What the command line says where the device cannot be used. */
    async function refusal(env: Record<string, string> = {}): Promise<string[]> {
      const { code, stderr } = await machine.run(
        ['npx', '--no', '--', 'depthwise', 'predict', photo, '--weights', 'runs/a'],
        { env },
      );
      expect(code, stderr).to.equal(3);
      return stderr.trimEnd().split('\n');
    }

    it('say that it was left out', async () => {
      renameSync(installed(), aside());
      try {
        const said = await refusal();
        expect(said).to.deep.equal([
          `depthwise: --device auto cannot be used: the native module for ${platform} (Node ${process.versions.node}) cannot be loaded (BACKEND_MISSING)`,
          `  @depthwise/${platform}: not installed, though package-lock.json names it: optional dependencies were left out, or node_modules is of another system`,
          'To mend it, one of:',
          '  1. Install with optional dependencies: npm install --include=optional (without --omit=optional, --no-optional, or omit=optional in .npmrc and npm_config_omit)',
          '  2. Where node_modules came from another system: rm -r node_modules && npm install',
          '  3. Build it in a clone of the repository: npm run setup, and name its build/Release with DEPTHWISE_NATIVE_DIR',
        ]);
      } finally {
        renameSync(aside(), installed());
      }
    });

    it('of another machine, say for which node_modules was made', async () => {
      const other = machine.at('node_modules/@depthwise/linux-arm64');
      renameSync(installed(), other);
      try {
        const said = await refusal();
        expect(said[1]).to.equal(
          `  @depthwise/${platform}: not installed; @depthwise/linux-arm64 is: node_modules was made for linux-arm64`,
        );
        expect(said[3]).to.equal('  1. Install on this machine: rm -r node_modules && npm install');
      } finally {
        renameSync(other, installed());
      }
    });

    /** Runs a body while a file of the platform's package has other contents. */
    async function changed(
      name: string,
      change: (bytes: Buffer) => Buffer,
      body: () => Promise<void>,
    ): Promise<void> {
      const file = join(installed(), name);
      const bytes = readFileSync(file);
      writeFileSync(file, change(bytes));
      try {
        await body();
      } finally {
        writeFileSync(file, bytes);
      }
    }

    it('of another version, name the one that belongs to them', () =>
      changed(
        'package.json',
        (bytes) => Buffer.from(bytes.toString().replace(`"version": "${version}"`, '"version": "99.0.0"')),
        async () => {
          const said = await refusal();
          expect(said[1]).to.equal(
            `  @depthwise/${platform} is version 99.0.0, depthwise ${version} needs ${version}`,
          );
          expect(said[3]).to.equal(
            `  1. Install the version that belongs to it: npm install @depthwise/${platform}@${version}`,
          );
        },
      ));

    it('damaged, name the file: cut off, or with other bytes', async () => {
      await changed(
        'libdnnl.so.2',
        (bytes) => bytes.subarray(0, 1000),
        async () => {
          expect((await refusal())[1]).to.match(/libdnnl\.so\.2: damaged: 1000 bytes, expected \d+$/);
        },
      );
      await changed(
        'libdepthwise_cpu.so',
        (bytes) => Buffer.concat([Buffer.from('no library'), bytes.subarray(10)]),
        async () => {
          const said = (await refusal()).join('\n');
          expect(said).to.match(/libdepthwise_cpu\.so: invalid ELF header/);
          expect(said).to.match(/libdepthwise_cpu\.so: damaged: its checksum is wrong/);
          expect(said).to.include(`1. Install it again: rm -r ${installed()} && npm install`);
        },
      );
    });
  });
});
