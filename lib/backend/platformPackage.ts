// The package with native code for this machine, `@depthwise/<platform>-<arch>`: where it is, whether it can be loaded
// here, and, where it cannot, what would mend that. Knows nothing of what is in the native module.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';

/** What of a machine decides which native code it runs. Tests describe others than theirs. */
export interface Host {
  readonly platform: string;
  readonly arch: string;
  /** Version of Node, for the error. */
  readonly node: string;
  /** Version of the C library; undefined where it is not glibc (musl, or no Linux). */
  glibc(): string | undefined;
}

/** The machine of this process. */
export const thisHost: Host = {
  platform: process.platform,
  arch: process.arch,
  node: process.versions.node,
  glibc() {
    const { report } = process;
    if (report === undefined) return undefined;
    // Types of later versions of Node have it; without it a report may wait for names of hosts.
    const network = Reflect.get(report, 'excludeNetwork');
    Reflect.set(report, 'excludeNetwork', true);
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    Reflect.set(report, 'excludeNetwork', network);
    return header?.glibcVersionRuntime;
  },
};

/** Platforms with a published package. */
export const published: readonly string[] = ['linux-x64'];

/** Packages that may lie in a `node_modules` that was made on another machine. */
const known = ['linux-x64', 'linux-arm64'];

export const platformOf = ({ platform, arch }: Host): string => `${platform}-${arch}`;

const nameOf = (platform: string): string => `@depthwise/${platform}`;

/** What `scripts/package.ts` writes into the package's package.json, as `depthwise`. */
export interface PackageContents {
  /** The newest version of glibc that a file asks for. */
  readonly glibc: string;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

/** An installed platform package, which need not be usable. */
export interface PlatformPackage {
  readonly folder: string;
  readonly version: string | undefined;
  readonly contents: PackageContents | undefined;
}

/** What is wrong with a package, and what would mend it. */
export interface Problem {
  readonly what: string;
  readonly fixes: readonly string[];
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Finds `@depthwise/<platform>` as Node does from the folder of `depthwise`, `root`; undefined where there is none. */
export function findPackage(root: string, platform: string): PlatformPackage | undefined {
  let path: string;
  try {
    path = createRequire(join(root, 'package.json')).resolve(`${nameOf(platform)}/package.json`);
  } catch {
    return undefined;
  }
  const said = readJson(path) as { version?: string; depthwise?: PackageContents } | undefined;
  return { folder: dirname(path), version: said?.version, contents: said?.depthwise };
}

/** Version of the package whose folder is `root`. */
export const versionOf = (root: string): string | undefined =>
  (readJson(join(root, 'package.json')) as { version?: string } | undefined)?.version;

/**
 * Why a package that is installed is not loaded, or undefined. Sizes are compared before anything is opened: the system's
 * loader ends the process for a library that is cut off. Checksums are for when loading has failed ({@link damaged}).
 */
export function problemOf(found: PlatformPackage, root: string, host: Host): Problem | undefined {
  const platform = platformOf(host);
  const name = nameOf(platform);
  const version = versionOf(root);
  const { contents } = found;
  if (found.version !== undefined && found.version !== version) {
    return {
      what: `${name} is version ${found.version}, depthwise ${version} needs ${version}`,
      fixes: [
        `Install the version that belongs to it: npm install ${name}@${version}`,
        `Take ${name} out of package.json (dependencies, overrides), where it stands, and: npm install`,
      ],
    };
  }
  if (contents === undefined) {
    return { what: `${join(found.folder, 'package.json')}: damaged`, fixes: again(found) };
  }
  const c = glibcProblem(host, contents.glibc);
  if (c !== undefined) return { what: `${name} needs glibc ${contents.glibc} or newer`, fixes: [c] };
  for (const [file, { bytes }] of Object.entries(contents.files)) {
    const path = join(found.folder, file);
    const there = statSync(path, { throwIfNoEntry: false })?.size;
    if (there === bytes) continue;
    const what = there === undefined ? 'missing' : `damaged: ${there} bytes, expected ${bytes}`;
    return { what: `${path}: ${what}`, fixes: again(found) };
  }
  return undefined;
}

/** The first file whose checksum is not the published one. */
export function damaged(found: PlatformPackage): Problem | undefined {
  for (const [file, { sha256 }] of Object.entries(found.contents?.files ?? {})) {
    const path = join(found.folder, file);
    const sum = existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'none';
    if (sum !== sha256) return { what: `${path}: damaged: its checksum is wrong`, fixes: again(found) };
  }
  return undefined;
}

/** npm takes a folder that is there for whole. */
const again = ({ folder }: PlatformPackage): string[] => [`Install it again: rm -r ${folder} && npm install`];

/** What to do on a machine whose C library is not one of ours; undefined where it is. */
export function glibcProblem(host: Host, needed: string): string | undefined {
  const glibc = host.glibc();
  if (glibc === undefined)
    return 'Use a system with glibc (Debian, Ubuntu, Fedora): there is no build for musl';
  if (!isOlder(glibc, needed)) return undefined;
  return `Use a system with glibc ${needed} or newer (Debian 12, Ubuntu 22.04, RHEL 9): this one has ${glibc}`;
}

function isOlder(version: string, than: string): boolean {
  const [a = [], b = []] = [version, than].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0);
  }
  return false;
}

/**
 * Why the package of a published platform is not there. npm leaves it out when it is told to leave out optional
 * dependencies, when the lock file does not name it, and when it installs for another machine.
 */
export function missing(root: string, host: Host): Problem {
  const platform = platformOf(host);
  const name = nameOf(platform);
  const other = known.find((each) => each !== platform && findPackage(root, each) !== undefined);
  if (other !== undefined) {
    return {
      what: `${name}: not installed; ${nameOf(other)} is: node_modules was made for ${other}`,
      fixes: [
        'Install on this machine: rm -r node_modules && npm install',
        `Where it is made for this one: npm install --os=${host.platform} --cpu=${host.arch}`,
      ],
    };
  }
  // The project that depthwise was installed into: npm's folder, or pnpm's below it.
  const place = root.indexOf(`${sep}node_modules${sep}`);
  const project = place < 0 ? undefined : root.slice(0, place);
  const lock = project === undefined ? undefined : readJson(join(project, 'package-lock.json'));
  const packages = Object.keys((lock as { packages?: object } | undefined)?.packages ?? {});
  const optional = 'Install with optional dependencies: npm install --include=optional';
  if (packages.length === 0) return { what: `${name}: not installed`, fixes: [optional] };
  if (packages.some((key) => key.endsWith(`node_modules/${name}`))) {
    return {
      what:
        `${name}: not installed, though package-lock.json names it: optional dependencies were left out, ` +
        'or node_modules is of another system',
      fixes: [
        `${optional} (without --omit=optional, --no-optional, or omit=optional in .npmrc and npm_config_omit)`,
        'Where node_modules came from another system: rm -r node_modules && npm install',
      ],
    };
  }
  return {
    what: `${name}: not installed, and package-lock.json does not name it`,
    fixes: [
      optional,
      'Make the lock file anew, with all platforms: rm -r node_modules package-lock.json && npm install',
    ],
  };
}
