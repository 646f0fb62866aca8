// Finds and loads the native module: local build first, then the platform's package. If there is none, the
// error says why for each place and what to do.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LoadError } from '../core/errors.ts';
import type { NativeAddon } from './addon.ts';

/** The native module, and the folder it came from; backend plug-ins lie beside it. */
export interface LoadedAddon {
  readonly addon: NativeAddon;
  readonly folder: string;
}

/** Platforms with a published package. */
const published = ['linux-x64'];

/** oneDNN's build needs this version of the C library. */
const neededGlibc = '2.34';

const addonFile = 'depthwise.node';

// This file is lib/backend/load.ts or dist/backend/load.js: the package's root is two folders up from both.
const root = fileURLToPath(new URL('../..', import.meta.url));
const require = createRequire(import.meta.url);

let loaded: LoadedAddon | undefined;

/**
 * The native module. Looks into the folder named by `DEPTHWISE_NATIVE_DIR` (nowhere else if it is set), then
 * `build/Release`, then the package `@depthwise/<platform>-<arch>`. Throws LoadError with numbered fixes.
 */
export function loadAddon(): LoadedAddon {
  loaded ??= findAddon(process.env.DEPTHWISE_NATIVE_DIR);
  return loaded;
}

/** As {@link loadAddon}, but never from memory. */
export function findAddon(folder: string | undefined): LoadedAddon {
  const misses: string[] = [];
  const places =
    folder !== undefined ? [() => folder] : [() => join(root, 'build', 'Release'), platformPackage];
  for (const place of places) {
    const found = tryPlace(place, misses);
    if (found !== undefined) return found;
  }
  throw new LoadError(
    `the native module for ${platform()} (Node ${process.versions.node}) cannot be loaded`,
    { code: 'BACKEND_MISSING', details: misses, fixes: fixesFor(folder) },
  );
}

/** Path of a backend's plug-in, for example `libdepthwise_cpu.so`. Throws LoadError where it is not there. */
export function pluginPath(kind: string): string {
  const { folder } = loadAddon();
  const path = join(folder, `libdepthwise_${kind}.so`);
  if (!existsSync(path)) {
    throw new LoadError(`the backend "${kind}" is not installed: there is no ${path}`, {
      code: 'BACKEND_MISSING',
      fixes: fixesFor(process.env.DEPTHWISE_NATIVE_DIR),
    });
  }
  return path;
}

const platform = (): string => `${process.platform}-${process.arch}`;

function platformPackage(): string {
  return dirname(require.resolve(`@depthwise/${platform()}/package.json`));
}

function tryPlace(place: () => string, misses: string[]): LoadedAddon | undefined {
  let path: string;
  try {
    path = join(place(), addonFile);
  } catch {
    misses.push(`@depthwise/${platform()}: not installed`);
    return undefined;
  }
  if (!existsSync(path)) {
    misses.push(`${path}: not there`);
    return undefined;
  }
  try {
    return { addon: require(path) as NativeAddon, folder: dirname(path) };
  } catch (error) {
    misses.push(`${path}: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
    return undefined;
  }
}

/** Version of the C library, or undefined where it is another one (musl). */
function glibcVersion(): string | undefined {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime;
}

function isOlder(version: string, than: string): boolean {
  const [a = [], b = []] = [version, than].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0);
  }
  return false;
}

/** What would bring the native files; `folder` is the one that was named. */
function fixesFor(folder: string | undefined): string[] {
  const fixes: string[] = [];
  if (folder !== undefined) {
    fixes.push(`Unset DEPTHWISE_NATIVE_DIR, or let it name a folder with all native files of this version`);
  } else {
    const glibc = process.platform === 'linux' ? glibcVersion() : undefined;
    if (process.platform !== 'linux') {
      fixes.push(`Use Linux (or WSL 2, or a container): there is no native code for ${process.platform}`);
    } else if (glibc === undefined) {
      fixes.push('Use a system with glibc (Debian, Ubuntu, Fedora): there is no build for musl');
    } else if (isOlder(glibc, neededGlibc)) {
      fixes.push(`Use a system with glibc ${neededGlibc} or newer: this one has ${glibc}`);
    } else if (published.includes(platform())) {
      fixes.push(
        'Install again with optional dependencies: npm install --include=optional depthwise',
        `In a lock file made on another platform, add this one: npm install --os=${process.platform} ` +
          `--cpu=${process.arch} depthwise`,
      );
    }
    if (process.platform === 'linux') {
      const script = existsSync(join(root, 'scripts', 'build-native.sh'));
      if (script) fixes.unshift(`Build it: npm run setup, in ${root}`);
      else
        fixes.push(
          'Build it in a clone of the repository: npm run setup, and name its build/Release with DEPTHWISE_NATIVE_DIR',
        );
    }
  }
  return fixes;
}
