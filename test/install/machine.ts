// A machine as a stranger's: an empty folder, a PATH with Node and a shell and nothing else, an environment of its own,
// and, where this may be hidden (root, mount namespaces), no oneDNN, OpenMP or OpenCL of this system.

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface Answer {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** What npm says about its own settings here. */
const setting = (name: string): string =>
  execFileSync('npm', ['config', 'get', name], { encoding: 'utf8' }).trim();

/** Covers this system's libraries with an empty file, within the view of the disk of one process: file, then command. */
const cover = `for path in /etc/ld.so.cache /usr/lib/*/libdnnl.so* /usr/lib/*/libgomp.so* /usr/lib/*/libOpenCL.so* /usr/lib64/libdnnl.so* /usr/lib64/libgomp.so* /usr/lib64/libOpenCL.so*; do
  if [ -f "$path" ]; then mount --bind "$1" "$path"; fi; done; shift; exec "$@"`;

/** Ways to a view of one's own, the first that works here. */
const views = [['unshare', '--mount'], ['unshare', '--user', '--map-root-user', '--mount'], []];

export class Machine {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'depthwise-machine-')));
  /** The registry that npm uses here. */
  readonly upstream = setting('registry');
  /** Whether this system's libraries are hidden from what runs. */
  readonly bare: boolean;
  readonly #view: readonly string[];
  readonly #env: Record<string, string>;

  constructor() {
    for (const name of ['bin', 'home', 'tmp', 'project']) mkdirSync(join(this.folder, name));
    // npm's programs lie beside each other, in the package npm.
    const npm = dirname(
      realpathSync(execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim()),
    );
    const links = {
      node: process.execPath,
      npm: join(npm, 'npm-cli.js'),
      npx: join(npm, 'npx-cli.js'),
      sh: '/bin/sh',
      env: '/usr/bin/env',
    };
    for (const [name, target] of Object.entries(links)) symlinkSync(target, join(this.folder, 'bin', name));
    const cache = setting('cache');
    const userconfig = setting('userconfig');
    const strangers = Object.entries(process.env).filter(
      ([name]) => !/^(npm_|DEPTHWISE_|LD_|NODE_OPTIONS)/i.test(name),
    );
    this.#env = {
      ...(Object.fromEntries(strangers) as Record<string, string>),
      PATH: join(this.folder, 'bin'),
      HOME: join(this.folder, 'home'),
      TMPDIR: join(this.folder, 'tmp'),
      // No GPU, which would be used.
      CUDA_VISIBLE_DEVICES: '',
      npm_config_cache: cache,
      npm_config_userconfig: userconfig,
      npm_config_loglevel: 'error',
    };
    const nothing = join(this.folder, 'nothing');
    writeFileSync(nothing, '');
    const works = (view: readonly string[]): boolean => {
      const [command, ...words] = [...view, 'sh', '-c', cover, 'cover', nothing, 'true'];
      return view.length === 0 || spawnSync(command as string, words).status === 0;
    };
    const view = views.find(works) ?? [];
    this.bare = view.length > 0;
    this.#view = this.bare ? [...view, 'sh', '-c', cover, 'cover', nothing] : [];
  }

  at(...names: string[]): string {
    return join(this.folder, 'project', ...names);
  }

  /** Writes a file of the project. */
  write(name: string, text: string): void {
    mkdirSync(dirname(this.at(name)), { recursive: true });
    writeFileSync(this.at(name), text);
  }

  /** Runs a program of the machine in a folder of the project; `env` is added to its environment. */
  run(
    command: readonly string[],
    { env = {}, folder = '' }: { env?: Record<string, string>; folder?: string } = {},
  ): Promise<Answer> {
    const started = performance.now();
    // `env` sets the PATH behind the view, which needs mount of this system.
    const set = Object.entries({ PATH: this.#env.PATH ?? '', ...env }).map(
      ([name, value]) => `${name}=${value}`,
    );
    const [program, ...words] = [...this.#view, '/usr/bin/env', ...set, ...command];
    const options = {
      cwd: this.at(folder),
      env: { ...this.#env, PATH: process.env.PATH ?? '' },
      maxBuffer: 1 << 26,
    };
    return new Promise((done) => {
      execFile(program as string, words, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : (error.signal ?? error.code ?? 'unknown');
        done({ code, stdout, stderr, seconds: (performance.now() - started) / 1000 });
      });
    });
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
