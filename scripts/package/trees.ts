// The folders that are packed: of `depthwise` (JavaScript and types) and of a platform's package (native code and the
// libraries that it needs). Only these are published, never the repository itself.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { published } from '../../lib/backend/platformPackage.ts';
import { closure, newest, readElf } from './elf.ts';
import { writeLicences } from './licences.ts';

export const root = resolve(import.meta.dirname, '../..');

/** The newest glibc and the newest symbols of the C++ library that a package may ask for: Debian 12's oneDNN does. */
const limits = { GLIBC: '2.34', GLIBCXX: '3.4.29' };

type Json = { [key: string]: unknown };

const readJson = (path: string): Json => JSON.parse(readFileSync(path, 'utf8')) as Json;
const writeJson = (path: string, value: object): void =>
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

/** What `depthwise` and its platform packages have in common. */
const own = readJson(join(root, 'package.json'));
export const version = String(own.version);

/** Fields of package.json that the published one has too; what is for building and testing stays behind. */
const kept = [
  'name',
  'version',
  'description',
  'keywords',
  'license',
  'type',
  'engines',
  'exports',
  'bin',
  'dependencies',
];

/** Assembles `depthwise`. */
export function mainTree(tree: string): void {
  mkdirSync(tree, { recursive: true });
  const tsc = join(root, 'node_modules/.bin/tsc');
  const options = [
    '-p',
    join(root, 'tsconfig.build.json'),
    '--outDir',
    join(tree, 'dist'),
    '--sourceMap',
    'false',
  ];
  execFileSync(tsc, options, { stdio: 'inherit' });
  cpSync(join(root, 'bin'), join(tree, 'bin'), { recursive: true });
  for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md']) {
    if (existsSync(join(root, file))) copyFileSync(join(root, file), join(tree, file));
  }
  // The README refers to these pages.
  mkdirSync(join(tree, 'docs'));
  for (const file of readdirSync(join(root, 'docs'))) {
    if (file.endsWith('.md')) copyFileSync(join(root, 'docs', file), join(tree, 'docs', file));
  }
  const fields = kept.filter((key) => key in own).map((key) => [key, own[key]]);
  writeJson(join(tree, 'package.json'), {
    ...Object.fromEntries(fields),
    // Exactly this version: the two are built from the same sources.
    optionalDependencies: Object.fromEntries(
      published.map((platform) => [`@depthwise/${platform}`, version]),
    ),
    files: ['bin', 'dist', 'docs'],
  });
}

/** Where a platform's compiler and loader look for libraries, and what its compiler's tools are called. */
const triplets: Readonly<Record<string, string>> = {
  'linux-x64': 'x86_64-linux-gnu',
  'linux-arm64': 'aarch64-linux-gnu',
};

/** What is built and not shipped: it is for tests. */
const forTests = new Set(['libdepthwise_fake.so', 'libdepthwise_cudasim.so']);

/** What of a build is shipped, by name: the addon, the probe, every backend, and what backends wrote down. */
export function shippedFiles(native: string): string[] {
  const files = readdirSync(native).filter(
    (name) =>
      /^(depthwise\.node|depthwise_probe|libdepthwise_\w+\.(so|json))$/.test(name) && !forTests.has(name),
  );
  for (const name of ['depthwise.node', 'depthwise_probe', 'libdepthwise_cpu.so']) {
    if (!files.includes(name)) throw new Error(`there is no ${join(native, name)}: npm run build:native`);
  }
  return files.sort();
}

/** Assembles `@depthwise/<platform>` from a folder with built files. */
export function platformTree(tree: string, platform: string, native: string): void {
  const triplet = triplets[platform];
  if (triplet === undefined)
    throw new Error(`${platform}: expected one of ${Object.keys(triplets).join(', ')}`);
  mkdirSync(tree, { recursive: true });
  const files = shippedFiles(native);
  const elves = files.filter((name) => !name.endsWith('.json'));
  const folders = ['', 'usr/'].flatMap((place) => [`/${place}lib/${triplet}`, `/${place}lib64`]);
  const libraries = closure(
    elves.map((name) => join(native, name)),
    [native, ...folders, '/usr/local/lib', `/usr/${triplet}/lib`],
  );
  for (const name of files) copyFileSync(join(native, name), join(tree, name));
  for (const [name, path] of libraries) copyFileSync(path, join(tree, name));
  const strip = process.arch === platform.split('-')[1] ? 'strip' : `${triplet}-strip`;
  for (const name of [...elves, ...libraries.keys()]) {
    execFileSync(strip, ['--strip-unneeded', join(tree, name)]);
    chmodSync(join(tree, name), name === 'depthwise_probe' ? 0o755 : 0o644);
  }
  checkElves(tree, elves, [...libraries.keys()]);

  copyFileSync(join(root, 'LICENSE'), join(tree, 'LICENSE'));
  copyFileSync(join(root, 'npm', platform, 'README.md'), join(tree, 'README.md'));
  writeLicences(tree, libraries, files);
  const all = [...elves, ...libraries.keys()];
  const described = all.map((name) => readElf(join(tree, name)));
  const contents = [...files, ...libraries.keys()].sort().map((name) => {
    const bytes = readFileSync(join(tree, name));
    return [name, { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }];
  });
  const { name, ...fields } = readJson(join(root, 'npm', platform, 'package.json'));
  writeJson(join(tree, 'package.json'), {
    name,
    version,
    ...fields,
    // Read by lib/backend/platformPackage.ts.
    depthwise: {
      glibc: newest('GLIBC', described),
      glibcxx: newest('GLIBCXX', described),
      files: Object.fromEntries(contents),
    },
  });
}

/** What is shipped must find what travels with it, and nothing of the machine that built it. */
function checkElves(tree: string, files: readonly string[], libraries: readonly string[]): void {
  const machine = readElf(join(tree, files[0] as string)).machine;
  for (const file of [...files, ...libraries]) {
    const elf = readElf(join(tree, file));
    if (elf.machine !== machine) throw new Error(`${file} is for ${elf.machine}, others are for ${machine}`);
    const strange = [...elf.rpath, ...elf.runpath].filter((folder) => folder !== '$ORIGIN');
    if (strange.length > 0) throw new Error(`${file} looks for libraries in ${strange.join(', ')}`);
    const brought = elf.needed.filter((name) => libraries.includes(name));
    // What a brought library needs in turn is found by DT_RPATH only: that of who needs the library holds for it.
    const inTurn = brought.some((name) =>
      readElf(join(tree, name)).needed.some((each) => libraries.includes(each)),
    );
    const searched = inTurn ? elf.rpath : [...elf.rpath, ...elf.runpath];
    if (files.includes(file) && brought.length > 0 && !searched.includes('$ORIGIN')) {
      throw new Error(`${file} needs ${brought.join(', ')} beside it, and has no RPATH of $ORIGIN`);
    }
    for (const [prefix, limit] of Object.entries(limits)) {
      const asked = newest(prefix, [elf]);
      if (asked !== undefined && asked.localeCompare(limit, 'en', { numeric: true }) > 0) {
        throw new Error(`${file} asks for ${prefix}_${asked}; the limit is ${limit}`);
      }
    }
  }
}
