// The search for cuDNN 9 and what it needs. cuDNN is a dispatcher that opens its parts by bare name, and parts of two
// versions crash at the first convolution: so one folder that has the complete set, and never two.

import { basename, dirname, join, resolve } from 'node:path';
import type { CudnnReport } from './probe.ts';
import type { CudaSystem } from './system.ts';

/** What the CUDA backend was built for. */
export interface CudaBuild {
  /** Major version of CUDA. */
  readonly cuda: number;
  /** The oldest cuDNN that it works with, as `cudnnGetVersion` counts: 90800 for 9.8. */
  readonly cudnn: number;
  /** The oldest compute capability that it has code for, times 10. */
  readonly capability: number;
}

/** The libraries chosen. */
export interface CudaLibraries {
  /** The folder of all of cuDNN. */
  readonly folder: string;
  /** As `cudnnGetVersion` says. */
  readonly version: number;
  /** Everything to open, in this order; the last is cuDNN's dispatcher. */
  readonly paths: readonly string[];
}

export type LibraryCode = 'CUDNN_NOT_FOUND' | 'CUDNN_INCOMPLETE' | 'CUDNN_TOO_OLD';

/** A place that was searched in vain. */
export interface Miss {
  /** The folder, or the place's name where none of its folders has anything of cuDNN's. */
  readonly where: string;
  readonly problem: string;
  readonly code: LibraryCode;
  /** Whether some of cuDNN is there, so that this is probably the place that was meant. */
  readonly something: boolean;
  /** A library other than cuDNN's that is all that is missing. */
  readonly companion?: string;
}

export type LibrarySearch =
  | { readonly found: CudaLibraries }
  /** `only`: the place beside which no other was searched. */
  | { readonly misses: readonly Miss[]; readonly only: 'DEPTHWISE_CUDA_DIR' | 'mapped' | undefined };

/** What has to be asked of other processes. */
export interface LibraryQuestions {
  cudnn(paths: readonly string[]): CudnnReport;
  locate(names: readonly string[]): ReadonlyMap<string, string>;
}

/** Parts that every cuDNN 9 has. Later ones have more, which their dispatcher names. */
const parts = ['adv', 'cnn', 'engines_precompiled', 'engines_runtime_compiled', 'graph', 'heuristic', 'ops'];

const dispatcher = 'libcudnn.so.9';

/** Milliseconds for Python to start and say where its packages are: seconds where nothing of it was read from disk yet. */
const pythonPatience = 15_000;

/** `9.24` or `9.24.1` */
export function showCudnnVersion(version: number): string {
  const [major, minor, patch] = [Math.floor(version / 10000), Math.floor(version / 100) % 100, version % 100];
  // Until version 8 it counted in steps of 1000.
  if (version < 10000) return `${Math.floor(version / 1000)}.${Math.floor(version / 100) % 10}`;
  return `${major}.${minor}${patch === 0 ? '' : `.${patch}`}`;
}

/** Folders that may hold cuDNN, found one after the other: the later ones cost a process each. */
interface Place {
  readonly name: string;
  readonly folders: readonly string[];
  /** Set where no other place may be searched. */
  readonly only?: 'DEPTHWISE_CUDA_DIR' | 'mapped';
}

/** Where NVIDIA's wheels lie below a folder of Python packages. */
const wheelFolder = (packages: string): string => join(packages, 'nvidia', 'cudnn', 'lib');

/** Folders of Python packages below an environment's prefix. */
const packagesIn = (system: CudaSystem, prefix: string): string[] =>
  system
    .list(join(prefix, 'lib'))
    .filter((name) => /^python3/.test(name))
    .map((name) => join(prefix, 'lib', name, 'site-packages'));

/** CUDA's folders below /usr/local, the newest first. */
const toolkits = (system: CudaSystem): string[] =>
  system
    .list('/usr/local')
    .filter((name) => /^cuda(-\d|$)/.test(name))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((name) => join('/usr/local', name));

const librariesOf = (toolkit: string): string[] => [join(toolkit, 'lib64'), join(toolkit, 'lib')];

/** Folders from which parts of cuDNN 9 are mapped into this process. */
function mappedFolders(system: CudaSystem): string[] {
  const maps = system.read('/proc/self/maps') ?? '';
  const paths = maps.matchAll(/(\/\S*\/libcudnn(?:_[a-z_]+)?\.so\.9)[.\d]*$/gm);
  return [...new Set([...paths].map((match) => dirname(match[1] as string)))];
}

function pythonPackages(system: CudaSystem): string[] {
  const folders = (system.env.PATH ?? '').split(':').filter((folder) => folder !== '');
  const python = folders.map((folder) => join(folder, 'python3')).find((path) => system.stamp(path));
  if (python === undefined) return [];
  const { stdout } = system.run(
    python,
    ['-c', 'import sys; print("\\n".join(sys.path[1:]))'],
    pythonPatience,
  );
  return stdout.split('\n').filter((path) => path.startsWith('/'));
}

function* places(system: CudaSystem, questions: LibraryQuestions): Generator<Place> {
  const { DEPTHWISE_CUDA_DIR, VIRTUAL_ENV, CONDA_PREFIX, CUDA_HOME, CUDA_PATH } = system.env;
  if (DEPTHWISE_CUDA_DIR) {
    const given = resolve(DEPTHWISE_CUDA_DIR);
    yield {
      name: `DEPTHWISE_CUDA_DIR=${DEPTHWISE_CUDA_DIR}`,
      folders: [given, ...librariesOf(given), wheelFolder(given)],
      only: 'DEPTHWISE_CUDA_DIR',
    };
    return;
  }
  const mapped = mappedFolders(system);
  if (mapped.length > 0) {
    yield { name: 'this process', folders: mapped, only: 'mapped' };
    return;
  }
  if (VIRTUAL_ENV) {
    yield { name: 'VIRTUAL_ENV', folders: packagesIn(system, VIRTUAL_ENV).map(wheelFolder) };
  }
  if (CONDA_PREFIX) {
    // conda's own package puts cuDNN beside every other library.
    const folders = [...packagesIn(system, CONDA_PREFIX).map(wheelFolder), join(CONDA_PREFIX, 'lib')];
    yield { name: 'CONDA_PREFIX', folders };
  }
  yield { name: 'python3', folders: pythonPackages(system).map(wheelFolder) };
  for (const [name, toolkit] of Object.entries({ CUDA_HOME, CUDA_PATH })) {
    if (toolkit) yield { name, folders: librariesOf(toolkit) };
  }
  const located = [...questions.locate([dispatcher, 'libcudnn.so.8']).values()];
  yield { name: 'loader', folders: [...new Set(located.map((path) => dirname(path)))] };
  const folders = toolkits(system).flatMap(librariesOf);
  if (folders.length > 0) yield { name: '/usr/local/cuda*', folders };
}

/** Everything of cuDNN 9 in a folder, in the order of opening, or what is wrong; undefined where there is nothing. */
function examine(
  system: CudaSystem,
  folder: string,
): { readonly paths: readonly string[] } | Omit<Miss, 'where'> | undefined {
  const names = system.list(folder);
  const set = names.filter((name) => /^libcudnn(_[a-z_]+)?\.so\.9$/.test(name));
  if (set.length === 0) {
    if (!names.some((name) => /^libcudnn\.so\.[1-8]$/.test(name))) return undefined;
    const [old] = names.filter((name) => /^libcudnn\.so\.[1-8]$/.test(name)).reverse();
    return { problem: `cuDNN ${old?.at(-1)}`, code: 'CUDNN_TOO_OLD', something: true };
  }
  const named = (system.read(join(folder, dispatcher)) ?? '').matchAll(/libcudnn_([a-z_]+)(?=\.so)/g);
  const needed = new Set([...parts, ...[...named].map((match) => match[1] as string)]);
  const missing = [dispatcher, ...[...needed].sort().map((part) => `libcudnn_${part}.so.9`)].filter(
    (name) => !set.includes(name),
  );
  if (missing.length > 0) {
    return { problem: `missing ${missing.join(', ')}`, code: 'CUDNN_INCOMPLETE', something: true };
  }
  // What the others need, first; the dispatcher, which finds them all open, last.
  const first = ['libcudnn_graph.so.9', 'libcudnn_ops.so.9'];
  const rest = set.filter((name) => name !== dispatcher && !first.includes(name));
  return { paths: [...first, ...rest, dispatcher].map((name) => join(folder, name)) };
}

/** cuBLASLt, the CUDA run time and its compiler, each from the first folder that has it. Only the first is needed. */
function companions(
  system: CudaSystem,
  questions: LibraryQuestions,
  folder: string,
  cuda: number,
): { readonly paths: readonly string[] } | { readonly missing: string } {
  const needed = `libcublasLt.so.${cuda}`;
  const names = [`libcudart.so.${cuda}`, `libnvrtc.so.${cuda}`, needed];
  const { CUDA_HOME, CUDA_PATH } = system.env;
  const wheels = basename(dirname(folder)) === 'cudnn' ? dirname(dirname(folder)) : undefined;
  const siblings = [`cu${cuda}`, 'cublas', 'cuda_runtime', 'cuda_nvrtc'];
  const near = [
    folder,
    ...(wheels === undefined ? [] : siblings.map((name) => join(wheels, name, 'lib'))),
    ...[CUDA_HOME, CUDA_PATH].flatMap((toolkit) => (toolkit ? librariesOf(toolkit) : [])),
  ];
  const found = new Map<string, string>();
  const look = (folders: readonly string[]): void => {
    for (const name of names) {
      const home = folders.find((candidate) => system.stamp(join(candidate, name)) !== undefined);
      if (home !== undefined && !found.has(name)) found.set(name, join(home, name));
    }
  };
  look(near);
  const absent = names.filter((name) => !found.has(name));
  if (absent.length > 0) {
    for (const [name, path] of questions.locate(absent)) found.set(name, path);
    look(toolkits(system).flatMap(librariesOf));
  }
  if (!found.has(needed)) return { missing: needed };
  return { paths: names.flatMap((name) => found.get(name) ?? []) };
}

/** Whether the complete set in `folder` can be used. */
function tryFolder(
  system: CudaSystem,
  questions: LibraryQuestions,
  folder: string,
  build: CudaBuild,
): CudaLibraries | Omit<Miss, 'where'> | undefined {
  const set = examine(system, folder);
  if (set === undefined || 'problem' in set) return set;
  const miss = (code: LibraryCode, problem: string) => ({ code, problem, something: true });
  const others = companions(system, questions, folder, build.cuda);
  if ('missing' in others) {
    const { missing } = others;
    return { ...miss('CUDNN_INCOMPLETE', `complete, but there is no ${missing}`), companion: missing };
  }
  const paths = [...others.paths, ...set.paths];
  const report = questions.cudnn(paths);
  if ('words' in report) return miss('CUDNN_INCOMPLETE', `cannot be opened: ${report.words}`);
  const { version, cudart } = report;
  if (version < build.cudnn) return miss('CUDNN_TOO_OLD', `cuDNN ${showCudnnVersion(version)}`);
  const cuda = Math.floor(cudart / 1000);
  if (cuda !== build.cuda)
    return miss('CUDNN_NOT_FOUND', `cuDNN ${showCudnnVersion(version)} for CUDA ${cuda}`);
  return { folder, version, paths };
}

/**
 * The libraries that the CUDA backend opens, from the first of these places that has them: `DEPTHWISE_CUDA_DIR` (no
 * other if it is set), what is mapped in this process (no other either), `VIRTUAL_ENV`, `CONDA_PREFIX`, the packages of
 * the `python3` on PATH, `CUDA_HOME` or `CUDA_PATH`, the system's loader, `/usr/local/cuda*`.
 */
export function findLibraries(
  system: CudaSystem,
  questions: LibraryQuestions,
  build: CudaBuild,
): LibrarySearch {
  const misses: Miss[] = [];
  for (const { name, folders, only } of places(system, questions)) {
    const before = misses.length;
    for (const folder of folders) {
      if (only === 'mapped' && folders.length > 1) {
        misses.push({
          where: folders.join(' and '),
          problem: 'parts of cuDNN from both are open in this process',
          code: 'CUDNN_INCOMPLETE',
          something: true,
        });
        break;
      }
      const result = tryFolder(system, questions, folder, build);
      if (result === undefined) continue;
      if ('paths' in result) return { found: result };
      misses.push({ where: folder, ...result });
    }
    if (misses.length === before) {
      const nowhere = only === 'DEPTHWISE_CUDA_DIR' && system.stamp(folders[0] as string) === undefined;
      const problem = nowhere ? 'there is no such folder' : `no ${dispatcher}`;
      misses.push({ where: name, problem, code: 'CUDNN_NOT_FOUND', something: false });
    }
    if (only !== undefined) return { misses, only };
  }
  return { misses, only: undefined };
}
