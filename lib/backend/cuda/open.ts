// Opening of a CUDA device: find, open NVIDIA's libraries in this process, then the backend that uses them.

import { join } from 'node:path';
import { LoadError } from '../../core/errors.ts';
import { loadAddon, pluginPath } from '../load.ts';
import { type NativeBackend, type NativeOptions, openNative } from '../native.ts';
import { cudaBuild } from './build.ts';
import { type FoundCuda, findCuda } from './find.ts';
import { showCudnnVersion } from './libraries.ts';
import { Probe } from './probe.ts';
import { thisMachine } from './system.ts';

/** The probe lies beside the addon. */
function probePath(): string {
  const path = join(loadAddon().folder, 'depthwise_probe');
  if (thisMachine().stamp(path) !== undefined) return path;
  throw new LoadError(`the probe of the driver is not installed: there is no ${path}`, {
    code: 'BACKEND_MISSING',
    fixes: missingFixes(),
  });
}

/** The fixes that the loader computes for a file that is not there. */
function missingFixes(): readonly string[] {
  try {
    pluginPath('cuda');
  } catch (error) {
    if (error instanceof LoadError) return error.fixes;
    throw error;
  }
  return ['install depthwise again'];
}

/** What keeps the backend from being loaded, as an error with a stable code. */
function unloadable(error: LoadError, found: FoundCuda): LoadError {
  const absent = /(lib[\w-]+\.so[.\d]*): cannot open shared object file/.exec(error.reason)?.[1];
  const { folder } = found.libraries;
  return new LoadError(error.reason, {
    code: 'BACKEND_MISSING',
    cause: error,
    details: [`cuDNN ${showCudnnVersion(found.libraries.version)} of ${folder} is open`],
    fixes:
      absent === undefined
        ? ['install depthwise again, or build it again: npm run build']
        : [`install what has ${absent}, of CUDA ${cudaBuild().cuda}, or name its folder in LD_LIBRARY_PATH`],
  });
}

/**
 * Opens the GPU of `options.ordinal`.
 * @throws LoadError with a code of docs/cuda-setup.md; DeviceError where the device itself fails
 */
export function openCuda(options: NativeOptions): NativeBackend {
  const { addon } = loadAddon();
  const system = thisMachine();
  const probe = new Probe(system, probePath());
  const found = findCuda(system, probe, cudaBuild(system), options.ordinal ?? 0, () => pluginPath('cuda'));
  const { paths, version, folder } = found.libraries;
  try {
    const opened = addon.openCudnn([found.driver, ...paths]);
    if (opened !== version) {
      throw new LoadError(
        `cuDNN ${showCudnnVersion(opened)} answers in this process in place of ${showCudnnVersion(version)} of ${folder}`,
        { code: 'CUDNN_INCOMPLETE' },
      );
    }
    return openNative('cuda', { ...options, libraryFolder: folder }, found.facts);
  } catch (error) {
    throw error instanceof LoadError && error.code === 'LOAD' ? unloadable(error, found) : error;
  }
}
