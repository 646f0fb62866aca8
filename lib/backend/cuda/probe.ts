// The probe: what the CUDA driver and cuDNN say of themselves, asked in a process of its own (native/probe), since a bad
// driver can end the process that opens it.

import { FindingsCache } from './cache.ts';
import type { CudaSystem, EndedProgram } from './system.ts';

/** A GPU as the driver describes it. */
export interface Gpu {
  /** As in `cuda:<ordinal>`. */
  readonly ordinal: number;
  readonly name: string;
  /** Compute capability times 10: 90 for sm_90. */
  readonly capability: number;
  /** Memory. */
  readonly bytes: number;
}

/** What the driver said. */
export type DriverReport =
  /** There is no libcuda.so.1 that can be opened; `words` are the loader's. */
  | { readonly state: 'missing'; readonly words: string }
  /** It ended the probe, or gave no answer; `words` say how and in which call. */
  | { readonly state: 'dead'; readonly words: string }
  /** `cuInit` failed. */
  | { readonly state: 'failed'; readonly cuda: number; readonly error: number; readonly name: string }
  /** `cuda` is the newest CUDA that it runs: 13000 for 13.0; `file` is what `library` links to: libcuda.so.580.142. */
  | {
      readonly state: 'working';
      readonly library: string;
      readonly file: string;
      readonly cuda: number;
      readonly gpus: readonly Gpu[];
    };

/** Version of cuDNN (92400 for 9.24.0) and of the CUDA that it was built with (13000 for 13.0). */
export type CudnnReport = { readonly version: number; readonly cudart: number } | { readonly words: string };

/**
 * Milliseconds. Several GPUs without the driver's persistence mode take seconds to wake; only a driver that hangs takes
 * longer.
 */
const patience = 20_000;

type Line = Readonly<Record<string, unknown>>;

/** The probe's JSON lines; one that was cut off by its end is left out. */
function linesOf(stdout: string): Line[] {
  return stdout.split('\n').flatMap((text) => {
    try {
      const line: unknown = JSON.parse(text);
      return typeof line === 'object' && line !== null ? [line as Line] : [];
    } catch {
      return [];
    }
  });
}

const numberIn = (lines: readonly Line[], name: string): number | undefined => {
  const value = lines.find((line) => typeof line[name] === 'number')?.[name];
  return typeof value === 'number' ? value : undefined;
};

const textIn = (lines: readonly Line[], name: string): string | undefined => {
  const value = lines.find((line) => typeof line[name] === 'string')?.[name];
  return typeof value === 'string' ? value : undefined;
};

/** How the probe came to its end before it had said everything, and in which call. */
function deathOf(ended: EndedProgram, lines: readonly Line[]): string {
  const call = textIn([...lines].reverse(), 'trying') ?? 'its start';
  return `${ended.failure ?? ended.signal ?? `exit code ${ended.status}`} in ${call}`;
}

function gpuOf(value: unknown): Gpu | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { ordinal, name, capability, bytes } = value as Line;
  if (typeof ordinal !== 'number' || typeof name !== 'string') return undefined;
  if (typeof capability !== 'number' || typeof bytes !== 'number') return undefined;
  return { ordinal, name, capability, bytes };
}

function driverReport(ended: EndedProgram): DriverReport {
  const lines = linesOf(ended.stdout);
  const missing = textIn(lines, 'missing');
  if (missing !== undefined) return { state: 'missing', words: missing };
  const cuda = numberIn(lines, 'cuda') ?? 0;
  const error = numberIn(lines, 'init');
  if (error !== undefined && error !== 0) {
    return { state: 'failed', cuda, error, name: textIn(lines, 'initName') ?? '' };
  }
  if (!lines.some(({ done }) => done === true)) return { state: 'dead', words: deathOf(ended, lines) };
  const gpus = lines.flatMap(({ device }) => gpuOf(device) ?? []);
  const [library, file] = [textIn(lines, 'library') ?? '', textIn(lines, 'file') ?? ''];
  return { state: 'working', library, file, cuda, gpus };
}

/** Asks through the program `path`, which may not be there: what it cannot start is `dead`. */
export class Probe {
  readonly #system: CudaSystem;
  readonly #path: string;
  readonly #cache: FindingsCache;

  constructor(system: CudaSystem, path: string) {
    this.#system = system;
    this.#path = path;
    this.#cache = new FindingsCache(system);
  }

  /**
   * The driver and its GPUs. A driver that works is remembered until the driver, the GPUs, the environment or the boot
   * change; one that does not is asked again each time, so that a repair is seen at once.
   */
  driver(): DriverReport {
    const { env } = this.#system;
    const facts = [
      'driver',
      this.#system.read('/proc/driver/nvidia/version'),
      this.#system.read('/proc/sys/kernel/random/boot_id'),
      this.#system
        .list('/dev')
        .filter((name) => name.startsWith('nvidia'))
        .join(),
      env.CUDA_VISIBLE_DEVICES,
      env.CUDA_DEVICE_ORDER,
      env.LD_LIBRARY_PATH,
      env.LD_PRELOAD,
    ];
    // The text kept is the probe's output under a line with the stamp of the library that gave it.
    const parse = (text: string): DriverReport | undefined => {
      const at = text.indexOf('\n');
      const report = driverReport({
        stdout: text.slice(at + 1),
        status: 0,
        signal: null,
        failure: undefined,
      });
      const current = report.state === 'working' && this.#system.stamp(report.library) === text.slice(0, at);
      return current ? report : undefined;
    };
    let report: DriverReport | undefined;
    const remembered = this.#cache.remember(facts, parse, () => {
      const ended = this.#system.run(this.#path, ['driver'], patience);
      report = driverReport(ended);
      const stamp = report.state === 'working' ? this.#system.stamp(report.library) : undefined;
      return { text: `${stamp ?? ''}\n${ended.stdout}`, keep: stamp !== undefined };
    });
    return report ?? remembered ?? { state: 'dead', words: 'no answer' };
  }

  /** Opens `paths` in this order, cuDNN last, and asks its version. Remembered while the files are the same. */
  cudnn(paths: readonly string[]): CudnnReport {
    const facts = ['cudnn', ...paths.flatMap((path) => [path, this.#system.stamp(path)])];
    const parse = (text: string): CudnnReport | undefined => {
      const lines = linesOf(text);
      const [version, cudart] = [numberIn(lines, 'version'), numberIn(lines, 'cudart')];
      return version === undefined || cudart === undefined ? undefined : { version, cudart };
    };
    let words = '';
    const report = this.#cache.remember(facts, parse, () => {
      const ended = this.#system.run(this.#path, ['cudnn', ...paths], patience);
      const lines = linesOf(ended.stdout);
      words = textIn(lines, 'error') ?? deathOf(ended, lines);
      return { text: ended.stdout, keep: parse(ended.stdout) !== undefined };
    });
    return report ?? { words };
  }

  /** Where the system's loader finds libraries, by name; those that it does not find are absent. */
  locate(names: readonly string[]): ReadonlyMap<string, string> {
    const { stdout } = this.#system.run(this.#path, ['locate', ...names], patience);
    return new Map(
      linesOf(stdout).flatMap(({ name, path }) =>
        typeof name === 'string' && typeof path === 'string' ? [[name, path]] : [],
      ),
    );
  }
}
