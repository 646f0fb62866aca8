// Experiments that measure and do not train: size and speed of both networks (table 3), and of the continuum of segments.
// What is measured already is kept, so that a run that was killed goes on.

import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import {
  type Architecture,
  architecture,
  type Backend,
  type OptionValue,
  openBenchmark,
  openDevice,
  type Precision,
  summarize,
} from '../../lib/index.ts';
import { alternate, type Comparison } from '../support/alternate.ts';
import { type Contender, ours, takes } from '../support/contenders.ts';
import type { Circumstances } from '../support/machine.ts';
import type { Arch, BenchPrecision, Mode } from '../support/protocol.ts';
import { writeWhole } from '../support/results.ts';
import { type Spread, spread } from '../support/statistics.ts';
import type { RunEvents } from './runs.ts';

/** How speed is measured. */
export interface SpeedSettings {
  readonly size: number;
  /** Images per step. */
  readonly batch: number;
  /** Turns of each network or contender. */
  readonly rounds: number;
  /** Steps that are counted in a turn; one more, before them, is not. */
  readonly steps: number;
  /** Steps before the first turn. */
  readonly warmup: number;
  readonly device: string;
  readonly precision: Precision;
  readonly threads: number | undefined;
}

/** Steps of a turn that bring back what others pushed out of the caches. */
const settle = 1;

/** Results by name in a file, each written as soon as it is there. */
export class Kept<T> {
  readonly #file: string;
  readonly #found: Record<string, T>;

  constructor(folder: string) {
    this.#file = join(folder, 'measured.json');
    this.#found = existsSync(this.#file)
      ? (JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, T>)
      : {};
  }

  /** What was measured under a name, or is measured now. */
  async get(name: string, measure: () => Promise<T>): Promise<T> {
    this.#found[name] ??= await measure();
    writeWhole(this.#file, `${JSON.stringify(this.#found, undefined, 2)}\n`);
    return this.#found[name];
  }
}

/** What held when the measurements in a folder began: a page that is written anew from them says that, not today. */
export function begunUnder(folder: string, now: Circumstances): Circumstances {
  const file = join(folder, 'begun.json');
  if (!existsSync(file)) writeWhole(file, `${JSON.stringify(now, undefined, 2)}\n`);
  return JSON.parse(readFileSync(file, 'utf8')) as Circumstances;
}

/** A network in figures. */
interface Size {
  /** Trainable, with 1,000 classes. */
  readonly parameters: number;
  /** Of one image of the size that is measured. */
  readonly multiplyAdds: number;
}

function sizeOf(known: Architecture, variant: Readonly<Record<string, OptionValue>>, edge: number): Size {
  const network = known.build({ classes: 1000, variant });
  const { parameters, multiplyAdds } = summarize(network, [edge, edge, 3]);
  return { parameters: parameters.trainable, multiplyAdds };
}

/** A row of our table 3: one network, and everyone who could be measured on it. */
export interface NetworkSpeed extends Size {
  readonly arch: Arch;
  readonly comparison: Comparison;
}

/** Trains both networks, ours and those of the peers that are installed, in turns. */
export async function measureNetworks(
  folder: string,
  settings: SpeedSettings,
  others: readonly Contender[],
  { say, signal }: RunEvents,
): Promise<NetworkSpeed[]> {
  const kept = new Kept<NetworkSpeed>(folder);
  const { size, batch, rounds, steps, warmup, threads = availableParallelism() } = settings;
  // Contenders are processes of their own, and are told which kind of device to use.
  const device =
    settings.device === 'auto' ? (openDevice('auto').name.split(':')[0] as string) : settings.device;
  const precision = (settings.precision === 'auto' ? 'fp32' : settings.precision) as BenchPrecision;
  const found: NetworkSpeed[] = [];
  for (const arch of ['inception_v3', 'xception'] as const) {
    signal.throwIfAborted();
    const setting = { arch, mode: 'train', batch, size, threads, warmup, device, precision } as const;
    found.push(
      await kept.get(arch, async () => {
        say(`${arch}: training steps of ${batch} images at ${size} pixels`);
        const chosen = others.filter((peer) => takes(peer, setting));
        const comparison = await alternate([ours, ...chosen], setting, { rounds, steps, settle }, say);
        return { arch, ...sizeOf(architecture(arch), {}, size), comparison };
      }),
    );
  }
  return found;
}

/** Speed in one mode, measured in turns with the plain network. */
export interface ModeSpeed {
  /** Over the turns. */
  readonly imagesPerSecond: Spread;
  /** Images per second over those of the plain network in the same turn. */
  readonly relative: Spread;
}

/** A row of the table of segments. */
export interface SegmentSpeed extends Size {
  readonly segments: number | 'channels';
  readonly train: ModeSpeed;
  readonly infer: ModeSpeed;
}

/** Xception in segments and plain Xception in turns, so that what else the machine does meets both alike. */
async function measureMode(
  backend: Backend,
  mode: Mode,
  segments: SegmentSpeed['segments'],
  { size, batch, rounds, steps, warmup, precision }: SpeedSettings,
): Promise<ModeSpeed> {
  const setup = { arch: 'xception', mode, batch, size, precision, augment: 'none', seed: 0 } as const;
  await using plain = await openBenchmark(backend, setup);
  await using other = await openBenchmark(backend, { ...setup, variant: { segments } });
  await plain.run(warmup);
  await other.run(warmup);
  const imagesPerSecond: number[] = [];
  const relative: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const speeds: number[] = [];
    for (const network of [plain, other]) {
      const times = (await network.run(settle + steps)).slice(settle);
      speeds.push((1000 * batch * steps) / times.reduce((sum, time) => sum + time, 0));
    }
    const [ofPlain, ofOther] = speeds as [number, number];
    imagesPerSecond.push(ofOther);
    relative.push(ofOther / ofPlain);
  }
  return { imagesPerSecond: spread(imagesPerSecond), relative: spread(relative) };
}

/** Xception with each number of segments: parameters, arithmetic, and the speed of training and inference. */
export async function measureSegments(
  folder: string,
  segments: readonly (number | 'channels')[],
  settings: SpeedSettings,
  { say, signal }: RunEvents,
): Promise<SegmentSpeed[]> {
  const kept = new Kept<SegmentSpeed>(folder);
  const { device, threads, size } = settings;
  const backend = openDevice(device, threads === undefined ? {} : { threads });
  const found: SegmentSpeed[] = [];
  for (const each of segments) {
    signal.throwIfAborted();
    found.push(
      await kept.get(String(each), async () => {
        say(`${each} segments`);
        const train = await measureMode(backend, 'train', each, settings);
        const infer = await measureMode(backend, 'infer', each, settings);
        return {
          segments: each,
          ...sizeOf(architecture('xception'), { segments: each }, size),
          train,
          infer,
        };
      }),
    );
  }
  return found;
}
