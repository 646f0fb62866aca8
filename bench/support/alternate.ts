// Contenders in turn, round after round, so that what else the machine does meets all of them alike: only one
// computes at a time, and the others' processes wait, warm.

import { type Child, MissingError, startChild } from './child.ts';
import type { Contender } from './contenders.ts';
import type { Setting } from './protocol.ts';
import { median, type Spread, spread } from './statistics.ts';

/** How long to measure. */
export interface Rounds {
  readonly rounds: number;
  /** Steps counted in each turn. */
  readonly steps: number;
  /**
   * Steps before them in each turn, not counted: they bring back what others pushed out of caches and memory.
   */
  readonly settle: number;
}

/** What was measured of one contender. */
export interface Measured {
  readonly name: string;
  /** Versions, as its process says them. */
  readonly description: string;
  /** Trainable parameters of its network, where its process tells. */
  readonly parameters?: number;
  /** Of each round. */
  readonly rounds: readonly number[];
  readonly imagesPerSecond: Spread;
  /** The first contender's images per second over this one's: median of the rounds' ratios. */
  readonly ratio: number;
  /** The most memory that its process, fresh for this setting, ever held: of the GPU where it computes on one. */
  readonly peakBytes: number;
  /** Of these, what tensors took at most; undefined on a CPU. */
  readonly usedBytes?: number;
  /** Share of one core that its process took while others were measured; near 0, or the others suffered. */
  readonly idleShare: number;
}

/** A contender left out, with the reason. */
export interface LeftOut {
  readonly name: string;
  readonly reason: string;
}

/** What was found for one setting. */
export interface Comparison {
  readonly setting: Setting;
  readonly measured: readonly Measured[];
  readonly leftOut: readonly LeftOut[];
}

interface Runner {
  readonly name: string;
  readonly child: Child;
  readonly rounds: number[];
  /** Processor time that it took while others were measured, and how long that was. Seconds. */
  taken: number;
  watched: number;
}

const oneLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' | ');

/**
 * Measures contenders on one setting; the ratios are those of the first. Every process is started for this
 * setting alone, so its peak memory is the setting's. One that is not installed, or fails, is left out and
 * said.
 * @throws Error if the first one fails
 */
export async function alternate(
  contenders: readonly Contender[],
  setting: Setting,
  { rounds, steps, settle }: Rounds,
  say: (line: string) => void,
): Promise<Comparison> {
  const runners: Runner[] = [];
  const leftOut: LeftOut[] = [];
  const leaveOut = (name: string, error: unknown) => {
    if (name === contenders[0]?.name) throw error;
    leftOut.push({ name, reason: oneLine(error) });
    say(`${name} ${error instanceof MissingError ? 'is left out' : 'failed'}: ${oneLine(error)}`);
  };
  try {
    for (const { name, command } of contenders) {
      try {
        const child = await startChild(command(setting));
        say(`${name}: ${child.description}`);
        runners.push({ name, child, rounds: [], taken: 0, watched: 0 });
      } catch (error) {
        leaveOut(name, error);
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const runner of [...runners]) {
        try {
          await turn(runner, runners, setting.batch, steps, settle);
        } catch (error) {
          runners.splice(runners.indexOf(runner), 1);
          leaveOut(runner.name, error);
        }
      }
      const speeds = runners.map(({ name, rounds }) => `${name} ${(rounds.at(-1) ?? 0).toFixed(2)}`);
      say(`round ${round + 1} of ${rounds}, images/s: ${speeds.join(', ')}`);
    }
    const first = runners[0]?.rounds ?? [];
    const measured = runners.map(({ name, child, rounds, taken, watched }) => ({
      name,
      description: child.description,
      ...(child.parameters === undefined ? {} : { parameters: child.parameters }),
      rounds,
      imagesPerSecond: spread(rounds),
      ratio: median(rounds.map((speed, i) => (first[i] as number) / speed)),
      peakBytes: child.peakBytes(),
      ...(child.usedBytes === undefined ? {} : { usedBytes: child.usedBytes }),
      idleShare: watched === 0 ? 0 : taken / watched,
    }));
    return { setting, measured, leftOut };
  } finally {
    await Promise.all(runners.map(({ child }) => child.quit()));
  }
}

/** One turn: the runner computes, the others are watched. */
async function turn(runner: Runner, all: readonly Runner[], batch: number, steps: number, settle: number) {
  const others = all.filter((other) => other !== runner);
  const before = others.map(({ child }) => child.processorSeconds());
  const start = performance.now();
  const times = (await runner.child.run(settle + steps)).slice(settle);
  const seconds = (performance.now() - start) / 1000;
  others.forEach((other, i) => {
    other.taken += other.child.processorSeconds() - (before[i] as number);
    other.watched += seconds;
  });
  const total = times.reduce((sum, time) => sum + time, 0);
  runner.rounds.push((1000 * batch * steps) / total);
}
