// Plans: cuDNN's engines for a problem, with what each needs and promises; on a GPU with measured times.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadAddon, pluginPath } from '../backend/load.ts';
import { toTypedError } from '../backend/native.ts';
import { ArgumentError, DepthwiseError } from '../core/errors.ts';
import { type DescribedDevice, type DeviceDescription, describedDevices } from './descriptions.ts';
import { driverLibrary, findCudnn, foldersOf, openLibraries } from './library.ts';
import { planElsewhere } from './planner.ts';
import { encodeProblem, type Problem } from './problems.ts';

/** One engine of cuDNN's with one choice of its knobs. */
export interface Plan {
  /** cuDNN's number of the engine; numbers change from version to version and from graph to graph. */
  readonly engine: number;
  /** `TILE_SIZE=3 STAGES=4`; empty where an engine has none. */
  readonly knobs: string;
  /** Of its arithmetic: `tensor cores`, `nondeterministic`, `Winograd`, … */
  readonly notes: readonly string[];
  /** From the list that promises no speed. */
  readonly fallback: boolean;
  /** Compiled when the plan is built, which takes seconds. */
  readonly compiled: boolean;
  /** Why it cannot be used for this problem; undefined if it can. */
  readonly refused: string | undefined;
  /** Whether a plan was built, so that `workspace` is known. */
  readonly built: boolean;
  /** Bytes of scratch memory; undefined where no plan was built. */
  readonly workspace: number | undefined;
  /** Seconds that building it took. */
  readonly buildSeconds: number;
  /** Median of a few runs on the GPU; undefined on a described device, or where it was not run. */
  readonly milliseconds: number | undefined;
}

/** What {@link plans} finds. */
export interface PlanReport {
  /** `9.24.0` */
  readonly cudnn: string;
  /** `NVIDIA H200, sm_90` */
  readonly device: string;
  /** Why there is no engine at all; undefined if there is one. */
  readonly reason: string | undefined;
  /** Every engine that cuDNN's heuristics propose, in their order of preference. */
  readonly plans: readonly Plan[];
  /** The fastest that was timed, else the first that was built; undefined where there is none. */
  readonly best: Plan | undefined;
}

/** Options of {@link plans}. */
export interface PlansOptions {
  /** A GPU of this machine: timed. Default 0, unless there is a description. */
  readonly device?: number;
  /** A described GPU, by name or in figures: planned only, on any machine that has cuDNN. */
  readonly description?: DescribedDevice | DeviceDescription;
  /** How many plans to build (and on a GPU, time), of those that can be used. Default 8; 0 lists engines only. */
  readonly build?: number;
  /** No further plan is begun after this many seconds. Default 60. */
  readonly seconds?: number;
  /** Bytes of scratch memory that a plan may want. Default 256 MiB. */
  readonly workspaceLimit?: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** A field of JSON that native code wrote; anything else is a bug there. */
function field<T>(from: Fields, name: string, is: (value: unknown) => value is T): T {
  const value = from[name];
  if (is(value)) return value;
  throw new DepthwiseError(`plans: native code gave ${JSON.stringify(value)} for ${name}`, {
    code: 'INTERNAL',
  });
}

const isNumber = (value: unknown): value is number => typeof value === 'number';
const isText = (value: unknown): value is string => typeof value === 'string';
const isFlag = (value: unknown): value is boolean => typeof value === 'boolean';
const isTexts = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every(isText);
const isRecord = (value: unknown): value is Fields => typeof value === 'object' && value !== null;
const isRecords = (value: unknown): value is readonly Fields[] =>
  Array.isArray(value) && value.every(isRecord);
const orNull =
  <T>(is: (value: unknown) => value is T) =>
  (value: unknown): value is T | null =>
    value === null || is(value);

function readPlan(json: Fields): Plan {
  const built = field(json, 'built', isFlag);
  return {
    engine: field(json, 'engine', isNumber),
    knobs: field(json, 'knobs', isText),
    notes: field(json, 'notes', isTexts),
    fallback: field(json, 'fallback', isFlag),
    compiled: field(json, 'compiled', isFlag),
    refused: field(json, 'refused', orNull(isText)) ?? undefined,
    built,
    workspace: built ? field(json, 'workspace', isNumber) : undefined,
    buildSeconds: field(json, 'buildSeconds', isNumber),
    milliseconds: field(json, 'milliseconds', orNull(isNumber)) ?? undefined,
  };
}

/** The fastest of those that were timed, else the first that was built, of those that can be used. */
function bestOf(candidates: readonly Plan[]): Plan | undefined {
  const usable = candidates.filter(({ built, refused }) => built && refused === undefined);
  const timed = usable.filter(({ milliseconds }) => milliseconds !== undefined);
  const [first] = timed.length > 0 ? timed : usable;
  return timed.reduce<Plan | undefined>(
    (best, plan) => ((plan.milliseconds ?? 0) < (best?.milliseconds ?? 0) ? plan : best),
    first,
  );
}

function readReport(text: string): PlanReport {
  const json: unknown = JSON.parse(text);
  if (!isRecord(json)) throw new DepthwiseError('plans: native code gave no object', { code: 'INTERNAL' });
  const candidates = field(json, 'plans', isRecords).map(readPlan);
  return {
    cudnn: field(json, 'cudnn', isText),
    device: field(json, 'device', isText),
    reason: field(json, 'reason', orNull(isText)) ?? undefined,
    plans: candidates,
    best: bestOf(candidates),
  };
}

function figures(description: DescribedDevice | DeviceDescription): DeviceDescription {
  if (typeof description !== 'string') return description;
  if (Object.hasOwn(describedDevices, description)) return describedDevices[description];
  throw new ArgumentError(
    `plans: description expects ${Object.keys(describedDevices).join(', ')} or figures, ` +
      `got ${JSON.stringify(description)}`,
  );
}

function expectNumber(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 0) return value;
  throw new ArgumentError(`plans: ${name} expects a number from 0 on, got ${value}`);
}

/**
 * cuDNN's plans for a problem, on a GPU of this machine or on a described one. On a GPU each plan is timed on zeros. Plans
 * whose engines are compiled at run time take 0.3 to 10 seconds each to build; the work is done on another thread, for a
 * described device in another process, which is kept for the next problem.
 *
 * ```ts
 * const depthwise = { kind: 'convolution', direction: 'forward', x: [256, 19, 19, 728], w: [728, 3, 3, 1],
 *   padding: 'same', dtype: 'bf16' } as const;
 * const { best } = await plans(depthwise, { description: 'h200' });
 * ```
 * @throws ArgumentError or ShapeError for a problem that is none; LoadError where there is no cuDNN, or no GPU and no
 *   description; DeviceError with the library's own words
 */
export async function plans(problem: Problem, options: PlansOptions = {}): Promise<PlanReport> {
  const { description, device, build = 8, seconds = 60, workspaceLimit = 256 * 2 ** 20 } = options;
  if (description !== undefined && device !== undefined) {
    throw new ArgumentError('plans: expected a device or a description, not both');
  }
  const numbers = Float64Array.from(encodeProblem(problem));
  const settings = Float64Array.of(
    expectNumber('device', device ?? 0),
    expectNumber('build', build),
    expectNumber('seconds', seconds),
    expectNumber('workspaceLimit', workspaceLimit),
  );
  const { addon, folder } = loadAddon();
  const library = pluginPath(description === undefined ? 'cuda' : 'cudnn');
  if (description !== undefined) {
    const folders = foldersOf(findCudnn()).join(':');
    const described = JSON.stringify(figures(description));
    const substitute = join(folder, 'libdepthwise_nodriver.so');
    const texts = [folders, described, driverLibrary() ?? (existsSync(substitute) ? substitute : '')];
    return readReport(await planElsewhere(described, { library, numbers, settings, texts }));
  }
  try {
    const folders = foldersOf(openLibraries()).join(':');
    return readReport(await addon.cudnnPlans(library, numbers, settings, [folders, '', '']));
  } catch (error) {
    throw toTypedError(error);
  }
}
