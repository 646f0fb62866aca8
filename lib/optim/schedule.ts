// Learning-rate schedules: functions of where training is.

import { ArgumentError } from '../core/errors.ts';

/** Where training is, before a step. */
export interface Progress {
  /** Steps taken so far: 0 at the first. */
  readonly step: number;
  /** Epochs so far, with the fraction of the current one. */
  readonly epoch: number;
  /** Training samples seen so far. */
  readonly samples: number;
  /** Steps of the whole training. */
  readonly totalSteps: number;
}

/** The learning rate of the step about to be taken. */
export type Schedule = (at: Progress) => number;

/** The same rate at every step. */
export const constant =
  (rate: number): Schedule =>
  () =>
    rate;

/** Options of {@link exponentialDecay} and {@link stepDecay}: exactly one of `everyEpochs` and `everySamples`. */
export interface DecayOptions {
  /** The first rate. */
  readonly initial: number;
  /** Factor at each decay. */
  readonly rate: number;
  /** Epochs between decays. */
  readonly everyEpochs?: number;
  /** Training samples between decays. */
  readonly everySamples?: number;
}

function decays({ everyEpochs, everySamples }: DecayOptions, at: Progress): number {
  return everyEpochs !== undefined ? at.epoch / everyEpochs : at.samples / (everySamples as number);
}

function checkDecay(name: string, options: DecayOptions): void {
  if ((options.everyEpochs === undefined) === (options.everySamples === undefined)) {
    throw new ArgumentError(`${name}: expected exactly one of everyEpochs and everySamples`);
  }
  const every = options.everyEpochs ?? options.everySamples ?? 0;
  if (!(every > 0)) throw new ArgumentError(`${name}: expected a positive interval, got ${every}`);
}

/**
 * `initial · rate^k` with k whole decays so far ("staircase", as the paper's runs had it).
 * The paper (section 4.2): on ImageNet 0.045, 0.94 every 2 epochs; on JFT 0.001, 0.9 every 3,000,000 samples.
 */
export function exponentialDecay(options: DecayOptions): Schedule {
  checkDecay('exponentialDecay', options);
  // The fraction of an epoch is a quotient of counts; a little slack keeps 2 · (1/2) from falling short of 1.
  return (at) => options.initial * options.rate ** Math.floor(decays(options, at) + 1e-9);
}

/** `initial`, multiplied by `rate` at each of the given epochs. */
export function stepDecay(options: { initial: number; rate: number; epochs: readonly number[] }): Schedule {
  return ({ epoch }) =>
    options.initial * options.rate ** options.epochs.filter((at) => epoch + 1e-9 >= at).length;
}

/** From `initial` to `final` (default 0) along half a cosine over the whole training: Loshchilov & Hutter 2017. */
export function cosineDecay(options: { initial: number; final?: number }): Schedule {
  const { initial, final = 0 } = options;
  return ({ step, totalSteps }) =>
    final + ((initial - final) * (1 + Math.cos((Math.PI * Math.min(step, totalSteps)) / totalSteps))) / 2;
}

/** Rises linearly over the first `steps` steps to what `schedule` says, then follows it. */
export const withWarmup =
  (steps: number, schedule: Schedule): Schedule =>
  (at) =>
    schedule(at) * Math.min(1, (at.step + 1) / Math.max(1, steps));
