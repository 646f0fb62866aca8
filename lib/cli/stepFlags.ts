// Flags of how gradients become steps, and of when a training has learned enough.

import { type Command, Option } from 'commander';
import { type FitOptions, type Monitor, monitors, type TrainerOptions } from '../index.ts';
import { integer, real } from './flags.ts';

export interface StepFlags {
  readonly clipNorm?: number;
  readonly accumulate: number;
  readonly patience?: number;
  readonly monitor?: Monitor;
}

export function withStepFlags(command: Command): Command {
  return command
    .option(
      '--clip-norm <g>',
      'shorten gradients whose norm over all parameters is larger',
      real(0, undefined, true),
    )
    .option('--accumulate <n>', 'batches per step, whose gradients are averaged', integer(1), 1)
    .option(
      '--patience <n>',
      'stop after so many epochs in a row without a better one by validation',
      integer(1),
    )
    .addOption(
      new Option(
        '--monitor <score>',
        'what epochs are judged by, of the average where one is kept (default: top1; with sigmoid, map)',
      ).choices(monitors),
    );
}

/** What of these a trainer takes. */
export const trainerFlags = ({ clipNorm, accumulate }: StepFlags): TrainerOptions => ({
  accumulate,
  ...(clipNorm === undefined ? {} : { clipNorm }),
});

/** What of these `fit` takes. */
export const fitFlags = ({ patience, monitor }: StepFlags): FitOptions => ({
  ...(patience === undefined ? {} : { patience }),
  ...(monitor === undefined ? {} : { monitor }),
});
