// Whose libraries travel with ours, and the texts of their licences, which Debian's packages carry. A library that is
// not in the table is not shipped.

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

interface Work {
  readonly name: string;
  readonly licence: string;
  /** Where the text is: the Debian package of the file, or one that is named, or CUDA's toolkit. */
  readonly text: 'of the file' | 'of CUDA' | { readonly package: string };
}

/** Libraries that lie beside ours, by the beginning of their file's name. */
const beside: readonly (readonly [string, Work])[] = [
  ['libdnnl.so.', { name: 'oneDNN', licence: 'Apache-2.0', text: 'of the file' }],
  [
    'libgomp.so.',
    { name: "GCC's OpenMP", licence: 'GPL-3.0-or-later WITH GCC-exception-3.1', text: 'of the file' },
  ],
  ['libOpenCL.so.', { name: 'ocl-icd', licence: 'BSD-2-Clause', text: 'of the file' }],
  ['libjpeg.so.', { name: 'libjpeg-turbo', licence: 'IJG AND BSD-3-Clause AND Zlib', text: 'of the file' }],
  [
    'libturbojpeg.so.',
    { name: 'libjpeg-turbo', licence: 'IJG AND BSD-3-Clause AND Zlib', text: 'of the file' },
  ],
];

/** Libraries that are linked into ours. */
const inside: readonly (readonly [string, Work])[] = [
  [
    'depthwise.node',
    {
      name: "GCC's C++ library",
      licence: 'GPL-3.0-or-later WITH GCC-exception-3.1',
      text: { package: 'libstdc++6' },
    },
  ],
  [
    'libdepthwise_cuda.so',
    { name: 'the CUDA runtime', licence: 'NVIDIA CUDA Toolkit EULA (attachment A)', text: 'of CUDA' },
  ],
];

/** Where Debian keeps licences that many packages have. */
const common = '/usr/share/common-licenses';

const ask = (command: string, ...words: string[]): string =>
  execFileSync(command, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();

function packageOf(file: string): string {
  // A file of /lib may be known by its name in /usr/lib, and the other way round.
  for (const path of [file, file.replace(/^\/usr/, ''), `/usr${file}`]) {
    try {
      return ask('dpkg', '-S', path).split(':')[0] as string;
    } catch {
      // Known by another name, or by none.
    }
  }
  throw new Error(`${file} is of no Debian package: its licence is not known, so it is not shipped`);
}

/** NVIDIA's terms, as they came with the toolkit. */
function termsOfCuda(): string {
  const roots = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'];
  for (const name of existsSync('/usr/local') ? readdirSync('/usr/local') : []) {
    if (name.startsWith('cuda-')) roots.push(join('/usr/local', name));
  }
  for (const root of roots) {
    if (root === undefined || !existsSync(root)) continue;
    const packages = join(root, 'dist-info');
    const runtime = existsSync(packages)
      ? readdirSync(packages).find((name) => name.startsWith('nvidia_cuda_runtime'))
      : undefined;
    for (const path of [
      join(root, 'EULA.txt'),
      ...(runtime === undefined ? [] : [join(packages, runtime, 'licenses', 'License.txt')]),
    ]) {
      if (existsSync(path)) return path;
    }
  }
  throw new Error("the terms of CUDA's runtime are not found: name the toolkit's folder in CUDA_HOME");
}

/**
 * Writes `LICENSES.md` and `licenses/` into a tree that is to be published.
 * @param libraries name and path of what lies beside our own files
 * @param own names of our own files
 */
export function writeLicences(
  tree: string,
  libraries: ReadonlyMap<string, string>,
  own: readonly string[],
): void {
  const folder = join(tree, 'licenses');
  mkdirSync(folder, { recursive: true });
  const rows: string[] = [];
  const referred = new Set<string>();
  const add = (file: string, work: Work, how: string, path: string): void => {
    const debian =
      work.text === 'of CUDA' ? undefined : work.text === 'of the file' ? packageOf(path) : work.text.package;
    const from =
      debian === undefined ? termsOfCuda() : realpathSync(join('/usr/share/doc', debian, 'copyright'));
    const text = `${(debian ?? 'cuda-runtime').replace(/[^\w.+-]/g, '-')}.txt`;
    copyFileSync(from, join(folder, text));
    for (const [, name] of readFileSync(from, 'utf8').matchAll(
      /\/usr\/share\/common-licenses\/([\w.+-]*\w)/g,
    )) {
      if (name !== undefined && existsSync(join(common, name))) referred.add(name);
    }
    const source =
      debian === undefined
        ? ''
        : ` Debian's source package ${ask('dpkg-query', '-W', '-f=${source:Package} ${source:Version}\n', debian).split('\n')[0]}.`;
    rows.push(
      `| \`${file}\` | ${how}${work.name}, unchanged.${source} | ${work.licence} | licenses/${text} |`,
    );
  };
  for (const [name, path] of libraries) {
    const work = beside.find(([start]) => name.startsWith(start))?.[1];
    if (work === undefined)
      throw new Error(`${name}: whose is it, under which licence? Say it in ${import.meta.filename}`);
    add(name, work, '', path);
  }
  for (const [file, work] of inside) if (own.includes(file)) add(file, work, 'holds ', file);
  for (const name of referred) copyFileSync(join(common, name), join(folder, `${name}.txt`));
  const page = [
    '# Licences',
    '',
    "depthwise's own files are under the MIT licence, in LICENSE. With them travel, or in them are:",
    '',
    '| file | what | licence | text |',
    '|---|---|---|---|',
    ...rows,
    '',
    'The texts name licences that many packages have, which are beside them: ' +
      `${[...referred]
        .sort()
        .map((name) => `licenses/${name}.txt`)
        .join(', ')}. The sources of Debian's packages are at ` +
      'https://snapshot.debian.org.',
    '',
  ];
  writeFileSync(join(tree, 'LICENSES.md'), page.join('\n'));
}
