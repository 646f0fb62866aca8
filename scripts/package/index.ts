// Packs what is published, from what is built, into dist/packages: `depthwise` and the platform's package. Prints each
// size, and fails where one is over its limit. The same on a laptop and in CI. Publishes nothing.
//
//   npm run package [-- --native <folder>] [--platform linux-x64] [--release]
//
//   --native      built files; default build/Release, where `npm run build:native` puts them
//   --release     as it must be to be published: with a CUDA backend for every architecture, from a clean work tree

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { mainTree, platformTree, root, version } from './trees.ts';

const { values } = parseArgs({
  options: {
    native: { type: 'string', default: join(root, 'build/Release') },
    platform: { type: 'string', default: `${process.platform}-${process.arch}` },
    release: { type: 'boolean', default: false },
  },
});
const native = resolve(values.native);

/** In MB. Unpacked for JavaScript, which is compared with what npm says; packed for what a registry takes. */
const limits = { main: 5, platform: 150 };

/** What CI compiles the kernels for (scripts/check-cuda.sh). */
const architectures = [75, 80, 86, 89, 90, 100, 120];

const say = (line: string): unknown => process.stdout.write(`${line}\n`);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2).padStart(7)} MB`;

function cudaArchitectures(): readonly number[] {
  try {
    const text = readFileSync(join(native, 'libdepthwise_cuda.json'), 'utf8');
    return (JSON.parse(text) as { architectures: number[] }).architectures;
  } catch {
    return [];
  }
}

function sizes(folder: string): { name: string; bytes: number }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return { name: path.slice(folder.length + 1), bytes: statSync(path).size };
    });
}

/** Packs a tree; its size packed and unpacked. */
function pack(tree: string): { file: string; packed: number; unpacked: number } {
  const answer = execFileSync(
    'npm',
    ['pack', '--json', '--loglevel=error', '--pack-destination', out, tree],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const [packed] = JSON.parse(answer) as [{ filename: string; size: number; unpackedSize: number }];
  return { file: packed.filename, packed: packed.size, unpacked: packed.unpackedSize };
}

const problems: string[] = [];
const built = cudaArchitectures();
const missing = architectures.filter((each) => !built.includes(each));
if (values.release) {
  if (missing.length > 0) {
    problems.push(
      `the CUDA backend lacks sm_${missing.join(', sm_')}: DEPTHWISE_CUDA_ARCHITECTURES='${architectures.join(';')}' npm run build:native`,
    );
  }
  const changed = execFileSync('git', ['status', '--porcelain'], { cwd: root, encoding: 'utf8' });
  if (changed !== '') problems.push('there are changes that are not committed');
}

const out = join(root, 'dist/packages');
rmSync(out, { recursive: true, force: true });
const trees = join(out, 'trees');
mkdirSync(trees, { recursive: true });
const main = join(trees, 'depthwise');
const platform = join(trees, values.platform);
mainTree(main);
platformTree(platform, values.platform, native);

say(`depthwise ${version}, native code of ${native}`);
say(built.length === 0 ? 'without a CUDA backend' : `CUDA backend for sm_${built.join(', sm_')}`);
for (const tree of [platform, main]) {
  const { file, packed, unpacked } = pack(tree);
  say(`${megabytes(packed)}  ${file} (${megabytes(unpacked).trim()} unpacked)`);
  const parts = new Map<string, number>();
  for (const { name, bytes } of sizes(tree)) {
    const part = tree === main ? (name.split('/')[0] as string) : name;
    parts.set(part, (parts.get(part) ?? 0) + bytes);
  }
  for (const [part, bytes] of [...parts].sort((a, b) => b[1] - a[1])) say(`  ${megabytes(bytes)}  ${part}`);
  const limit = tree === main ? limits.main : limits.platform;
  const size = tree === main ? unpacked : packed;
  if (size > limit * 1e6) problems.push(`${file}: ${megabytes(size).trim()}, the limit is ${limit} MB`);
}
for (const problem of problems) say(`package: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
