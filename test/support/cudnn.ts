// The cuDNN of tests: one that the environment names, or the one that scripts/fetch-cudnn.sh fetched.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { loadAddon } from '../../lib/backend/load.ts';
import { cudnnLibrary } from '../../lib/cudnn/index.ts';

/** Names build/cudnn to the search where it is there and nothing else was named. Before the first search. */
export function useFetchedCudnn(): void {
  const fetched = resolve(import.meta.dirname, '../../build/cudnn/nvidia/cudnn/lib');
  if (existsSync(fetched)) process.env.DEPTHWISE_CUDA_DIR ??= fetched;
}

/** Why plans for described devices cannot be made here; undefined if they can. */
export function reasonAgainstPlans(): string | undefined {
  const { folder } = loadAddon();
  if (!existsSync(join(folder, 'libdepthwise_cudnn.so'))) {
    return 'libdepthwise_cudnn.so is not built: bash scripts/fetch-cudnn.sh && npm run build:native';
  }
  useFetchedCudnn();
  try {
    cudnnLibrary();
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.message.split('\n')[0] as string) : String(error);
  }
}
