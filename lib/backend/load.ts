// Finds and loads the native module: local build first, then the platform's package. If there is none, the
// error says why for each place and what to do.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import bindings from 'bindings';
import { LoadError } from '../core/errors.ts';
import type { NativeAddon } from './addon.ts';
import {
  damaged,
  findPackage,
  glibcProblem,
  type Host,
  missing,
  type PlatformPackage,
  platformOf,
  problemOf,
  published,
  thisHost,
} from './platformPackage.ts';

/** The native module, and the folder it came from; backend plug-ins lie beside it. */
export interface LoadedAddon {
  readonly addon: NativeAddon;
  readonly folder: string;
  /** The package that it came from; absent for a folder that was built here. */
  readonly package?: PlatformPackage;
}

/** Where the search begins. Tests describe other installations than theirs. */
export interface Installation {
  /** The folder of the package `depthwise`. */
  readonly root: string;
  readonly host: Host;
}

/** What a build with Debian 12's oneDNN needs, where no package says what it needs itself. */
const usualGlibc = '2.34';

const addonFile = 'depthwise.node';

// This file is lib/backend/load.ts or dist/backend/load.js: the package's root is two folders up from both.
const here: Installation = { root: fileURLToPath(new URL('../..', import.meta.url)), host: thisHost };
const require = createRequire(import.meta.url);

let loaded: LoadedAddon | undefined;

/**
 * The native module. Looks into the folder named by `DEPTHWISE_NATIVE_DIR` (nowhere else if it is set), then
 * where a clone is built into, then the package `@depthwise/<platform>-<arch>`. Throws LoadError with numbered fixes.
 */
export function loadAddon(): LoadedAddon {
  loaded ??= findAddon(process.env.DEPTHWISE_NATIVE_DIR);
  return loaded;
}

/** As {@link loadAddon}, but never from memory. */
export function findAddon(folder: string | undefined, installation: Installation = here): LoadedAddon {
  const { root, host } = installation;
  const found: string[] = [];
  const fixes: string[] = [];
  const fail = (): never => {
    const unique = [...new Set([...fixes, ...(folder === undefined ? sourceFixes(installation) : [])])];
    throw new LoadError(`the native module for ${platformOf(host)} (Node ${host.node}) cannot be loaded`, {
      code: 'BACKEND_MISSING',
      details: found,
      fixes: unique,
    });
  };
  /** undefined, with what was found, where the folder's module cannot be had. */
  const attempt = (path: string): NativeAddon | undefined => {
    if (!existsSync(path)) {
      found.push(`${path}: not there`);
      return undefined;
    }
    try {
      return require(path) as NativeAddon;
    } catch (error) {
      const words = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      found.push(`${path}: ${words}`);
      fixes.push(...libraryFixes(words, host));
      return undefined;
    }
  };

  if (folder !== undefined) {
    const addon = attempt(join(folder, addonFile));
    if (addon !== undefined) return { addon, folder };
    fixes.push('Unset DEPTHWISE_NATIVE_DIR, or let it name a folder with all native files of this version');
    return fail();
  }
  const local = findBuild(root);
  if (local !== undefined) {
    const addon = attempt(local);
    if (addon !== undefined) return { addon, folder: dirname(local) };
  } else if (hasSources(root)) {
    // Of the published package, which has no sources, nobody expects a build.
    found.push(`${join(root, 'build', 'Release', addonFile)}: not there`);
  }
  const platform = findPackage(root, platformOf(host));
  if (platform === undefined) {
    const problem = whyMissing(installation);
    found.push(problem.what);
    fixes.push(...problem.fixes);
    return fail();
  }
  const problem = problemOf(platform, root, host);
  if (problem === undefined) {
    const addon = attempt(join(platform.folder, addonFile));
    if (addon !== undefined) return { addon, folder: platform.folder, package: platform };
  }
  const damage = problem ?? damaged(platform);
  if (damage !== undefined) {
    found.push(damage.what);
    fixes.unshift(...damage.fixes);
  }
  return fail();
}

/** What was built in a clone: by cmake-js (`npm run build:native`), or by node-gyp (`npm run build:gyp`) alone. */
function findBuild(root: string): string | undefined {
  const places = [
    ['module_root', 'build', 'Release', 'bindings'],
    ['module_root', 'build', 'gyp', 'build', 'Release', 'bindings'],
  ];
  // `path`: say where it is. Its types do not know that option.
  const question: bindings.Options & { path: true } = {
    bindings: addonFile,
    module_root: root,
    path: true,
    try: places,
  };
  try {
    return bindings(question) as string;
  } catch {
    return undefined;
  }
}

/** Path of a backend's plug-in, for example `libdepthwise_cpu.so`. Throws LoadError where it is not there. */
export function pluginPath(kind: string): string {
  const { folder, package: platform } = loadAddon();
  const path = join(folder, `libdepthwise_${kind}.so`);
  if (existsSync(path)) return path;
  const fixes =
    process.env.DEPTHWISE_NATIVE_DIR !== undefined
      ? ['Unset DEPTHWISE_NATIVE_DIR, or let it name a folder with all native files of this version']
      : platform !== undefined
        ? [`Install it again: rm -r ${folder} && npm install`, ...sourceFixes(here)]
        : sourceFixes(here);
  throw new LoadError(`the backend "${kind}" is not installed: there is no ${path}`, {
    code: 'BACKEND_MISSING',
    fixes,
  });
}

/** An error of opening a plug-in, with what would mend it where that can be told from the system's words. */
export function explainPlugin(error: LoadError): LoadError {
  const platform = loaded?.package;
  const damage = platform === undefined ? undefined : damaged(platform);
  const fixes = [...(damage?.fixes ?? []), ...libraryFixes(error.reason, thisHost)];
  if (fixes.length === 0) return error;
  const details = damage === undefined ? [] : [damage.what];
  return new LoadError(error.reason, { code: 'BACKEND_MISSING', cause: error, details, fixes });
}

const hasSources = (root: string): boolean => existsSync(join(root, 'scripts', 'build-native.sh'));

/** Why there is no package for a machine. */
function whyMissing({ root, host }: Installation): { what: string; fixes: readonly string[] } {
  const platform = platformOf(host);
  if (hasSources(root)) return { what: `@depthwise/${platform}: not installed`, fixes: [] };
  if (host.platform !== 'linux') {
    const fix = `Use Linux (or WSL 2, or a container): there is no native code for ${host.platform}`;
    return { what: `@depthwise/${platform}: there is no such package`, fixes: [fix] };
  }
  const c = glibcProblem(host, usualGlibc);
  if (c !== undefined) return { what: `@depthwise/${platform}: not for this C library`, fixes: [c] };
  if (!published.includes(platform)) {
    return { what: `@depthwise/${platform}: there is no such package`, fixes: [] };
  }
  return missing(root, host);
}

/** Building it, where it can be built. */
function sourceFixes({ root, host }: Installation): string[] {
  if (host.platform !== 'linux') {
    return hasSources(root)
      ? [`Use Linux (or WSL 2, or a container): there is no native code for ${host.platform}`]
      : [];
  }
  if (hasSources(root)) return [`Build it: npm run setup, in ${root}`];
  return [
    'Build it in a clone of the repository: npm run setup, and name its build/Release with DEPTHWISE_NATIVE_DIR',
  ];
}

/** What mends a library that the system's loader refused, from its words. */
function libraryFixes(words: string, host: Host): string[] {
  const needed = /version [`']GLIBC_([\d.]+)' not found/.exec(words)?.[1];
  if (needed !== undefined) {
    const problem = glibcProblem(host, needed);
    return problem === undefined ? [] : [problem];
  }
  if (/GLIBCXX_|CXXABI_|libstdc\+\+\.so\.6: cannot open/.test(words)) {
    return [
      'Install the C++ library of GCC 11 or newer: apt install libstdc++6 · dnf install libstdc++ (GLIBCXX_3.4.29)',
    ];
  }
  const absent = /(lib(?:dnnl|gomp|OpenCL)\.so[.\d]*): cannot open shared object file/.exec(words)?.[1];
  return absent === undefined
    ? []
    : [`Install what has ${absent}: apt install libdnnl2 libgomp1 ocl-icd-libopencl1`];
}
