// Which cuDNN there is, and which GPUs: the search that the CUDA backend makes, for people who want cuDNN alone.

import { dirname, join } from 'node:path';
import { cudaBuild } from '../backend/cuda/build.ts';
import { type CudaLibraries, findLibraries, showCudnnVersion } from '../backend/cuda/libraries.ts';
import { type DriverReport, type Gpu, Probe } from '../backend/cuda/probe.ts';
import { thisMachine } from '../backend/cuda/system.ts';
import { loadAddon } from '../backend/load.ts';
import { LoadError } from '../core/errors.ts';

/** A cuDNN that was found. */
export interface CudnnLibrary {
  /** `9.24.0` */
  readonly version: string;
  /** Where all of it is. */
  readonly folder: string;
}

const probe = (): Probe => new Probe(thisMachine(), join(loadAddon().folder, 'depthwise_probe'));

let found: CudaLibraries | undefined;
let driver: DriverReport | undefined;

/**
 * The first cuDNN found stays: once it is open, this process can have no other.
 * @throws LoadError that says where was looked and what would mend it
 */
export function findCudnn(): CudaLibraries {
  if (found !== undefined) return found;
  const search = findLibraries(thisMachine(), probe(), cudaBuild());
  if ('found' in search) {
    found = search.found;
    return found;
  }
  const some = search.misses.find(({ something }) => something) ?? search.misses[0];
  throw new LoadError(`cuDNN cannot be used: ${some?.where ?? 'no place'}: ${some?.problem ?? 'not found'}`, {
    code: some?.code ?? 'CUDNN_NOT_FOUND',
    details: [`searched: ${search.misses.map(({ where, problem }) => `${where} (${problem})`).join(', ')}`],
    fixes: [`pip install nvidia-cudnn-cu${cudaBuild().cuda} nvidia-cublas`, 'DEPTHWISE_CUDA_DIR=/path'],
  });
}

/** The driver's library by its path, where there is one that works: it need not be where the loader looks. */
export function driverLibrary(): string | undefined {
  driver ??= probe().driver();
  return driver.state === 'working' ? driver.library : undefined;
}

/**
 * Opens the driver and cuDNN in this process, each by its path. cuDNN asks for `libcuda.so.1` by name, and gets what is open.
 * @throws LoadError as {@link findCudnn}
 */
export function openLibraries(): CudaLibraries {
  const libraries = findCudnn();
  const opened = driverLibrary();
  loadAddon().addon.openCudnn([...(opened === undefined ? [] : [opened]), ...libraries.paths]);
  return libraries;
}

/** The folders of cuDNN and what it needs, for native code. */
export const foldersOf = ({ folder, paths }: CudaLibraries): readonly string[] => [
  ...new Set([folder, ...paths.map((path) => dirname(path))]),
];

/**
 * The cuDNN that this machine has, with or without a GPU. Looks where the CUDA backend looks: `DEPTHWISE_CUDA_DIR`, what
 * this process has open, Python's packages, `CUDA_HOME`, the system.
 * @throws LoadError with a code (`CUDNN_NOT_FOUND`, `CUDNN_INCOMPLETE`, `CUDNN_TOO_OLD`) and what would mend it
 */
export function cudnnLibrary(): CudnnLibrary {
  const { version, folder } = findCudnn();
  return { version: showCudnnVersion(version), folder };
}

/** The GPUs of this machine; none where there is no driver that works. */
export function gpus(): readonly Gpu[] {
  const report = probe().driver();
  return report.state === 'working' ? report.gpus : [];
}

export type { Gpu };
