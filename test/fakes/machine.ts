// A machine of fakes: a driver, libraries and backends in a folder of its own, compiled from this folder's sources, and
// programs run on it.

import { execFile, execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { loadAddon } from '../../lib/backend/load.ts';

const sources = import.meta.dirname;
const root = resolve(sources, '../..');

/** Why there are no fakes here: the name of what is missing. */
export function noCompiler(): string | undefined {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'there is no C compiler (cc)';
  }
}

/** The parts of cuDNN 9.24 that the fake dispatcher names or that every cuDNN 9 has. */
const parts = [
  ...['adv', 'cnn', 'engines_precompiled', 'engines_runtime_compiled', 'ext', 'graph', 'heuristic', 'ops'],
];

export type Macros = Readonly<Record<string, string | number>>;

/** What a fake cuDNN is like; by default 9.24 for CUDA 13, complete. */
export interface FakeCudnn {
  readonly version?: number;
  readonly cudart?: number;
  /** Parts that it lacks. */
  readonly without?: readonly string[];
  /** Ends the process that opens it. */
  readonly aborts?: boolean;
}

/** How a program on the machine ended. */
export interface Answer {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Removed with everything in it by `dispose`. */
export class FakeMachine {
  readonly folder = mkdtempSync(join(tmpdir(), 'depthwise-fake-'));
  /** Environment of the programs, beside what finding Node's files needs. */
  readonly env: Record<string, string> = {};

  constructor() {
    for (const name of ['bin', 'home', 'native', 'driver']) mkdirSync(join(this.folder, name));
    const native = loadAddon().folder;
    for (const name of ['depthwise.node', 'depthwise_probe', 'libdepthwise_cpu.so']) {
      symlinkSync(join(native, name), join(this.folder, 'native', name));
    }
    this.env.PATH = join(this.folder, 'bin');
    this.env.HOME = join(this.folder, 'home');
    this.env.LD_LIBRARY_PATH = join(this.folder, 'driver');
    this.env.DEPTHWISE_NATIVE_DIR = join(this.folder, 'native');
    this.env.DEPTHWISE_FAKE_LOG = this.at('log');
  }

  at(...names: string[]): string {
    return join(this.folder, ...names);
  }

  /** Compiles a fake to this path. */
  #compile(source: string, to: string, macros: Macros): void {
    mkdirSync(dirname(to), { recursive: true });
    const defines = Object.entries(macros).map(([name, value]) => `-D${name}=${value}`);
    execFileSync('cc', ['-shared', '-fPIC', ...defines, '-o', to, join(sources, source), '-ldl']);
  }

  /** A driver, as the macros of cuda.c say. */
  driver(macros: Macros = {}): this {
    this.#compile('cuda.c', this.at('driver', 'libcuda.so.1'), macros);
    return this;
  }

  /** The CUDA backend, played by the runtime's fake one. */
  backend(): this {
    const fake = join(loadAddon().folder, 'libdepthwise_fake.so');
    symlinkSync(fake, this.at('native', 'libdepthwise_cuda.so'));
    return this;
  }

  /** What the backend's build wrote down beside it. */
  built(text: string): this {
    writeFileSync(this.at('native', 'libdepthwise_cuda.json'), text);
    return this;
  }

  /** A CUDA backend whose device cannot be opened. */
  lostBackend(): this {
    this.#compile('backend.c', this.at('native', 'libdepthwise_cuda.so'), {});
    return this;
  }

  /** Libraries by name, below the machine's folder. */
  libraries(folder: string, names: readonly string[]): this {
    const first = this.at(folder, names[0] as string);
    this.#compile('library.c', first, {});
    for (const name of names.slice(1)) copyFileSync(first, this.at(folder, name));
    return this;
  }

  /** A file that is there, below the machine's folder. */
  file(path: string, text: string, mode = 0o644): this {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), text, { mode });
    return this;
  }

  /** cuDNN in a folder below the machine's. */
  cudnn(folder: string, fake: FakeCudnn = {}): this {
    const { version = 92400, cudart = 13000, without = [], aborts = false } = fake;
    const names = parts.filter((part) => !without.includes(part)).map((part) => `libcudnn_${part}.so.9`);
    this.libraries(folder, names);
    const macros = { VERSION: version, CUDART: cudart, ...(aborts ? { ABORT: 1 } : {}) };
    this.#compile('library.c', this.at(folder, 'libcudnn.so.9'), macros);
    return this;
  }

  /** NVIDIA's wheels in a virtual environment, which is activated: cuDNN and CUDA's libraries of a major version. */
  wheels(fake: FakeCudnn = {}, cuda = 13): this {
    const packages = 'venv/lib/python3.12/site-packages/nvidia';
    this.env.VIRTUAL_ENV = this.at('venv');
    this.cudnn(`${packages}/cudnn/lib`, fake);
    const names = ['libcublasLt', 'libcudart', 'libnvrtc'].map((name) => `${name}.so.${cuda}`);
    return this.libraries(`${packages}/cu${cuda}/lib`, names);
  }

  /** Paths of the fakes opened so far, in order. */
  opened(): string[] {
    return readFileSync(this.at('log'), 'utf8').trimEnd().split('\n');
  }

  /** Runs TypeScript on the machine. */
  run(file: string, ...words: string[]): Promise<Answer> {
    const args = ['--import', join(root, 'node_modules/tsx/dist/loader.mjs'), file, ...words];
    return new Promise((done) => {
      execFile(process.execPath, args, { env: this.env, cwd: root }, (error, stdout, stderr) => {
        done({ code: error === null ? 0 : (error.signal ?? error.code ?? 'unknown'), stdout, stderr });
      });
    });
  }

  /** Runs the command line on the machine. */
  command(...words: string[]): Promise<Answer> {
    return this.run(join(root, 'bin/depthwise.js'), ...words);
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true });
  }
}
