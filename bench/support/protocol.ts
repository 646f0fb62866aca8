// What a benchmark and the processes that it measures say to each other: one JSON object a line, over stdin
// and stdout. scripts/peers/bench_protocol.py is the same in Python.

/**
 * What is computed. `train`: forward, loss, backward, SGD with momentum and weight decay; `infer`: forward
 * and softmax.
 */
export type Mode = 'train' | 'infer';

export const modes = ['train', 'infer'] as const satisfies readonly Mode[];

/** One setting of a benchmark. All contenders get it as flags. */
export interface Setting {
  readonly mode: Mode;
  /** Images per step. */
  readonly batch: number;
  /** Edge of the images in pixels. */
  readonly size: number;
  /** Threads that compute. */
  readonly threads: number;
  /** Steps before the process says that it is ready; the first of them compile. */
  readonly warmup: number;
}

/** What a parent asks. The end of stdin means: exit. */
export interface Request {
  /** Steps to run. */
  readonly run: number;
}

/** What a child answers: once when it is ready, then once per request. */
export type Reply =
  /** Versions, for people. */
  | { readonly ready: string }
  /** Of each step. */
  | { readonly milliseconds: readonly number[] }
  /** Why this contender cannot run here; the process then ends. */
  | { readonly missing: string };

/** A setting as the flags that every contender takes. */
export const settingFlags = ({ mode, batch, size, threads, warmup }: Setting): string[] =>
  Object.entries({ mode, batch, size, threads, warmup }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);

/** One line of a child, or undefined for something else that a library printed. */
export function parseReply(line: string): Reply | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if ('ready' in value && typeof value.ready === 'string') return { ready: value.ready };
  if ('missing' in value && typeof value.missing === 'string') return { missing: value.missing };
  if (!('milliseconds' in value) || !Array.isArray(value.milliseconds)) return undefined;
  const milliseconds: unknown[] = value.milliseconds;
  return milliseconds.every((time) => typeof time === 'number') ? { milliseconds } : undefined;
}
