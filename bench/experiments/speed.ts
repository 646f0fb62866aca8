// Experiments that measure and do not train: size and speed of both networks (table 3), and of the continuum of segments.
// What is measured already is kept, so that a run that was killed goes on.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import {
  type Architecture,
  architecture,
  benchmark,
  type OptionValue,
  openDevice,
  type Precision,
  summarize,
} from '../../lib/index.ts';
import { alternate, type Comparison } from '../support/alternate.ts';
import { type Contender, ours, takes } from '../support/contenders.ts';
import type { Arch, BenchPrecision } from '../support/protocol.ts';
import type { RunEvents } from './runs.ts';

/** How speed is measured. */
export interface SpeedSettings {
  readonly size: number;
  /** Images per step. */
  readonly batch: number;
  /** Steps that are counted. */
  readonly steps: number;
  readonly warmup: number;
  readonly device: string;
  readonly precision: Precision;
  readonly threads: number | undefined;
}

/** Results by name in a file, each written as soon as it is there. */
export class Kept<T> {
  readonly #file: string;
  readonly #found: Record<string, T>;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#file = join(folder, 'measured.json');
    this.#found = existsSync(this.#file)
      ? (JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, T>)
      : {};
  }

  /** What was measured under a name, or is measured now. */
  async get(name: string, measure: () => Promise<T>): Promise<T> {
    this.#found[name] ??= await measure();
    writeFileSync(this.#file, `${JSON.stringify(this.#found, undefined, 2)}\n`);
    return this.#found[name];
  }
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
  const { size, batch, steps, warmup, threads = availableParallelism() } = settings;
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
        const rounds = { rounds: 3, steps, settle: 1 };
        const comparison = await alternate([ours, ...chosen], setting, rounds, say);
        return { arch, ...sizeOf(architecture(arch), {}, size), comparison };
      }),
    );
  }
  return found;
}

/** Speed in one mode. */
export interface ModeSpeed {
  readonly imagesPerSecond: number;
  readonly medianStepMs: number;
}

/** A row of the table of segments. */
export interface SegmentSpeed extends Size {
  readonly segments: number | 'channels';
  readonly train: ModeSpeed;
  readonly infer: ModeSpeed;
}

/** Xception with each number of segments: parameters, arithmetic, and the speed of training and inference. */
export async function measureSegments(
  folder: string,
  segments: readonly (number | 'channels')[],
  settings: SpeedSettings,
  { say, signal }: RunEvents,
): Promise<SegmentSpeed[]> {
  const kept = new Kept<SegmentSpeed>(folder);
  const known = architecture('xception');
  const { size, batch, steps, warmup, precision, device, threads } = settings;
  const backend = openDevice(device, threads === undefined ? {} : { threads });
  const found: SegmentSpeed[] = [];
  for (const each of segments) {
    signal.throwIfAborted();
    const variant = { segments: each };
    const modeSpeed = async (mode: 'train' | 'infer'): Promise<ModeSpeed> => {
      const { imagesPerSecond, stepMs } = await benchmark(backend, {
        ...{ arch: 'xception', variant, mode, batch, size, steps, warmup, precision },
        augment: 'none',
        seed: 0,
      });
      return { imagesPerSecond, medianStepMs: stepMs.median };
    };
    found.push(
      await kept.get(String(each), async () => {
        say(`${each} segments`);
        const train = await modeSpeed('train');
        return { segments: each, ...sizeOf(known, variant, size), train, infer: await modeSpeed('infer') };
      }),
    );
  }
  return found;
}
