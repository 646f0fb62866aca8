// What a benchmark and the processes that it measures say to each other: one JSON object a line, over stdin
// and stdout. scripts/peers/bench_protocol.py is the same in Python.

/**
 * What is computed. `train`: forward, loss, backward, SGD with momentum and weight decay; `infer`: forward
 * and softmax.
 */
export type Mode = 'train' | 'infer';

export const modes = ['train', 'infer'] as const satisfies readonly Mode[];

/** `load`: batches of image files, cropped at random and flipped, by as many workers as there are threads. */
export type Work = Mode | 'load';

export const works = [...modes, 'load'] as const satisfies readonly Work[];

/**
 * What activations are kept in. `fp32` is true fp32, without TF32; `bf16` and `fp16` keep weights, sums and the loss in
 * fp32 when training.
 */
export type BenchPrecision = 'fp32' | 'bf16' | 'fp16';

export const precisions = ['fp32', 'bf16', 'fp16'] as const satisfies readonly BenchPrecision[];

/** Networks, by the names of this project. */
export type Arch = 'xception' | 'inception_v3';

export const archs = ['xception', 'inception_v3'] as const satisfies readonly Arch[];

/** One setting of a benchmark. All contenders get it as flags. */
export interface Setting {
  readonly arch: Arch;
  readonly mode: Work;
  /** Images per step. */
  readonly batch: number;
  /** Edge of the images in pixels. */
  readonly size: number;
  /** Threads that compute. */
  readonly threads: number;
  /** Steps before the process says that it is ready; the first of them compile. */
  readonly warmup: number;
  /** `cpu`, `cuda`; of this project also `cudasim`. */
  readonly device: string;
  readonly precision: BenchPrecision;
  /** A folder per class, for `load`. */
  readonly data?: string | undefined;
}

/** What a parent asks. The end of stdin means: exit. */
export interface Request {
  /** Steps to run. */
  readonly run: number;
}

/** What a child answers: once when it is ready, then once per request. */
export type Reply =
  /** Versions, for people; and trainable parameters, where a peer tells how many its network has. */
  | { readonly ready: string; readonly parameters?: number }
  /**
   * Of each step; and where the memory that matters is a GPU's: the most bytes that the process ever held of it, and the
   * most that tensors took of those.
   */
  | { readonly milliseconds: readonly number[]; readonly heldBytes?: number; readonly usedBytes?: number }
  /** Why this contender cannot run here; the process then ends. */
  | { readonly missing: string };

/** A setting as the flags that every contender takes. */
export function settingFlags(setting: Setting): string[] {
  const { arch, mode, batch, size, threads, warmup, device, precision, data } = setting;
  const flags = {
    ...{ mode, batch, size, threads, warmup, device, precision, arch },
    ...(data === undefined ? {} : { data }),
  };
  return Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** One line of a child, or undefined for something else that a library printed. */
export function parseReply(line: string): Reply | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const count = (name: string) => {
    const found: unknown = Reflect.get(value, name);
    return typeof found === 'number' ? { [name]: found } : {};
  };
  if ('ready' in value && typeof value.ready === 'string') {
    return { ready: value.ready, ...count('parameters') };
  }
  if ('missing' in value && typeof value.missing === 'string') return { missing: value.missing };
  if (!('milliseconds' in value) || !Array.isArray(value.milliseconds)) return undefined;
  const milliseconds: unknown[] = value.milliseconds;
  if (!milliseconds.every((time) => typeof time === 'number')) return undefined;
  return { milliseconds, ...count('heldBytes'), ...count('usedBytes') };
}
