// Flags that only the benchmarks have.

import { integer } from '../../lib/cli/flags.ts';

/** Whole numbers of at least `least`, separated by commas. */
export const integers =
  (least: number) =>
  (text: string): number[] =>
    text.split(',').map((part) => integer(least)(part.trim()));
