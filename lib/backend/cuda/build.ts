// What the CUDA backend of this installation is built for, as its build wrote it down beside it.

import { join } from 'node:path';
import { DepthwiseError } from '../../core/errors.ts';
import { loadAddon } from '../load.ts';
import type { CudaBuild } from './libraries.ts';
import { type CudaSystem, thisMachine } from './system.ts';

/** Written by native/cuda/CMakeLists.txt, into the folder of `libdepthwise_cuda.so`. */
const file = 'libdepthwise_cuda.json';

/** What is published, which counts where there is no backend: it is what someone would install. */
export const publishedBuild: CudaBuild = { cuda: 13, cudnn: 90800, capability: 75 };

/** Reads what a build wrote. @throws DepthwiseError (`INTERNAL`) for anything else */
export function readBuild(text: string): CudaBuild {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    found = undefined;
  }
  const field = (name: keyof CudaBuild): number => {
    const value: unknown = typeof found === 'object' && found !== null ? Reflect.get(found, name) : undefined;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
    throw new DepthwiseError(`${file}: expected a whole number as ${name}, got ${JSON.stringify(value)}`, {
      code: 'INTERNAL',
    });
  };
  return { cuda: field('cuda'), cudnn: field('cudnn'), capability: field('capability') };
}

/** What the backend of this installation needs. @throws LoadError where there is no native module */
export function cudaBuild(system: CudaSystem = thisMachine()): CudaBuild {
  const text = system.read(join(loadAddon().folder, file));
  return text === undefined ? publishedBuild : readBuild(text);
}
