// Whether CUDA can be used, and with what: the driver and its GPUs, the backend, cuDNN. Where it cannot, one reason with
// a stable code, what was found, and how to mend it.

import { LoadError } from '../../core/errors.ts';
import {
  brokenDriverFixes,
  libraryFixes,
  mismatchFixes,
  noDeviceFixes,
  noDriverFixes,
  oldDriverFixes,
  oldestDriver,
} from './fixes.ts';
import {
  type CudaBuild,
  type CudaLibraries,
  findLibraries,
  type LibrarySearch,
  type Miss,
  showCudnnVersion,
} from './libraries.ts';
import type { DriverReport, Gpu, Probe } from './probe.ts';
import type { CudaSystem } from './system.ts';

/** Why CUDA cannot be used. */
export type CudaCode =
  | 'NO_DRIVER'
  | 'NO_DEVICE'
  | 'DRIVER_TOO_OLD'
  | 'CUDNN_NOT_FOUND'
  | 'CUDNN_INCOMPLETE'
  | 'CUDNN_TOO_OLD'
  | 'BACKEND_MISSING';

/** A CUDA that can be used. */
export interface FoundCuda {
  readonly gpu: Gpu;
  /** The driver's library, which whatever asks for `libcuda.so.1` later has to get. */
  readonly driver: string;
  readonly libraries: CudaLibraries;
  /** For people, as a device's `details`. */
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}

type WorkingDriver = Extract<DriverReport, { state: 'working' }>;

/** `cuInit` where the kernel's part of the driver does not fit the library. */
const mismatches = [803, 804];
/** `cuInit` where there is no device, or none that this process may see. */
const withoutDevice = [46, 100, 101];

/** `13.0` of 13000 */
const showCuda = (version: number): string =>
  `${Math.floor(version / 1000)}.${Math.floor(version / 10) % 100}`;

/** The version of the driver's kernel module, `580.142`; undefined where the kernel does not tell. */
function driverVersion(system: CudaSystem): string | undefined {
  const text = system.read('/proc/driver/nvidia/version') ?? system.read('/sys/module/nvidia/version') ?? '';
  return /\b\d{3,}\.\d+(?:\.\d+)?\b/.exec(text)?.[0];
}

/** `580.142`, or what is known of a driver that does not tell. */
const showDriver = (system: CudaSystem, { file, cuda }: WorkingDriver): string =>
  driverVersion(system) ?? /libcuda\.so\.(\d{3,}\.[.\d]+)$/.exec(file)?.[1] ?? `for CUDA ${showCuda(cuda)}`;

/** `NVIDIA H200, sm_90`, each kind once. */
function showGpus(gpus: readonly Gpu[]): string {
  const kinds = new Set(gpus.map(({ name, capability }) => `${name}, sm_${capability}`));
  return `${gpus.length} GPU${gpus.length === 1 ? '' : 's'} (${[...kinds].join('; ')})`;
}

/** The line of what is in order, and what the backend asks for. */
function machineLine(system: CudaSystem, build: CudaBuild, driver: WorkingDriver): string {
  return (
    `driver ${showDriver(system, driver)} ok, ${showGpus(driver.gpus)}; ` +
    `built for CUDA ${build.cuda}, cuDNN ${showCudnnVersion(build.cudnn)} or later`
  );
}

function refuse(code: CudaCode, reason: string, details: readonly string[], fixes: readonly string[]): never {
  throw new LoadError(reason, { code, details, fixes });
}

/** The driver, or why there is none that works. */
function workingDriver(system: CudaSystem, build: CudaBuild, report: DriverReport): WorkingDriver {
  const version = driverVersion(system);
  const kernel = version === undefined ? [] : [`the kernel has NVIDIA's driver ${version}`];
  switch (report.state) {
    case 'missing':
      return refuse(
        'NO_DRIVER',
        'no NVIDIA driver: libcuda.so.1 not found',
        report.words.includes('No such file') ? kernel : [...kernel, `the loader says: ${report.words}`],
        noDriverFixes(system, build),
      );
    case 'dead':
      return refuse(
        'NO_DRIVER',
        `the NVIDIA driver does not work: ${report.words}`,
        kernel,
        brokenDriverFixes(system),
      );
    case 'failed': {
      const name = `${report.name || 'error'} (${report.error})`;
      if (withoutDevice.includes(report.error)) {
        return refuse(
          'NO_DEVICE',
          `the driver has no GPU: cuInit gives ${name}`,
          kernel,
          noDeviceFixes(system),
        );
      }
      if (mismatches.includes(report.error)) {
        return refuse(
          'DRIVER_TOO_OLD',
          `the kernel's driver does not fit libcuda.so.1: cuInit gives ${name}`,
          kernel,
          mismatchFixes(system, build),
        );
      }
      return refuse(
        'NO_DRIVER',
        `the NVIDIA driver does not start: cuInit gives ${name}`,
        kernel,
        brokenDriverFixes(system),
      );
    }
    case 'working':
      return report;
  }
}

/** The GPU asked for, or why it cannot be used. */
function usableGpu(system: CudaSystem, build: CudaBuild, driver: WorkingDriver, ordinal: number): Gpu {
  if (driver.gpus.length === 0) {
    return refuse('NO_DEVICE', 'the driver has no GPU', [], noDeviceFixes(system));
  }
  if (driver.cuda < build.cuda * 1000) {
    return refuse(
      'DRIVER_TOO_OLD',
      `the driver is for CUDA ${showCuda(driver.cuda)}, ${build.cuda} is needed: driver ` +
        `${oldestDriver(build.cuda)} or later`,
      [`driver ${showDriver(system, driver)}, ${showGpus(driver.gpus)}`],
      oldDriverFixes(system, build),
    );
  }
  const gpu = driver.gpus.find((candidate) => candidate.ordinal === ordinal);
  const line = machineLine(system, build, driver);
  const choices = driver.gpus.map((other) => `cuda:${other.ordinal}`).join(', ');
  if (gpu === undefined) {
    return refuse(
      'NO_DEVICE',
      `there is no cuda:${ordinal}; there is ${choices}`,
      [line],
      [`name one that is there: ${choices}`],
    );
  }
  if (gpu.capability < build.capability) {
    return refuse(
      'NO_DEVICE',
      `cuda:${ordinal} (${gpu.name}) is of sm_${gpu.capability}; sm_${build.capability} or later is needed`,
      [line],
      ['name another GPU: --device cuda:<n>', 'go on with the CPU: --device cpu'],
    );
  }
  return gpu;
}

/** The reason of a search in vain: the first place that has some of cuDNN, since that one was probably meant. */
function libraryReason({ misses }: Extract<LibrarySearch, { misses: unknown }>): Miss {
  return misses.find(({ something }) => something) ?? (misses[0] as Miss);
}

function explainMiss(build: CudaBuild, reason: Miss, only: string | undefined): string {
  const { where, problem, code, companion } = reason;
  if (companion !== undefined) return `${companion} not found, which cuDNN in ${where} needs`;
  const needed = showCudnnVersion(build.cudnn);
  switch (code) {
    case 'CUDNN_TOO_OLD':
      return `cuDNN is too old: ${problem.replace('cuDNN ', '')} in ${where}, ${needed} or later is needed`;
    case 'CUDNN_INCOMPLETE':
      return `cuDNN is incomplete: ${where}: ${problem}`;
    case 'CUDNN_NOT_FOUND': {
      if (only !== undefined) return `libcudnn.so.9 not found: ${where}: ${problem}`;
      return reason.something
        ? `no cuDNN for CUDA ${build.cuda}: ${where}: ${problem}`
        : 'libcudnn.so.9 not found';
    }
  }
}

/** Checks that come before anything of cuDNN is looked for; the backend's files are looked for between the two. */
export function findGpu(
  system: CudaSystem,
  probe: Probe,
  build: CudaBuild,
  ordinal: number,
): {
  readonly gpu: Gpu;
  readonly driver: WorkingDriver;
} {
  const driver = workingDriver(system, build, probe.driver());
  return { gpu: usableGpu(system, build, driver, ordinal), driver };
}

/**
 * The GPU `ordinal` with the libraries to open for it. `plugin` is asked for the backend itself once a GPU is there: it
 * throws where there is none.
 * @throws LoadError with a {@link CudaCode}
 */
export function findCuda(
  system: CudaSystem,
  probe: Probe,
  build: CudaBuild,
  ordinal: number,
  plugin: () => void,
): FoundCuda {
  const { gpu, driver } = findGpu(system, probe, build, ordinal);
  const line = machineLine(system, build, driver);
  plugin();
  const search = findLibraries(system, probe, build);
  if ('misses' in search) {
    const reason = libraryReason(search);
    const searched = search.misses.map(({ where, problem }) => `${where} (${problem})`).join(', ');
    return refuse(
      reason.code,
      explainMiss(build, reason, search.only),
      [line, `searched: ${searched}`],
      libraryFixes(system, build, reason, search.only),
    );
  }
  const { folder, version } = search.found;
  return {
    gpu,
    driver: driver.library,
    libraries: search.found,
    facts: {
      gpu: gpu.name,
      capability: `sm_${gpu.capability}`,
      driver: showDriver(system, driver),
      cuda: showCuda(driver.cuda),
      cudnn: showCudnnVersion(version),
      folder,
    },
  };
}
