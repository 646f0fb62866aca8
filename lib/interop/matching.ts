// Which tensor of a foreign file became which of ours, and what did not fit: as values and as text.

import { printableLine } from '../core/printable.ts';

/** One tensor of a foreign file and its place here. */
export interface Match {
  /** Our name. */
  readonly name: string;
  /** Our shape. */
  readonly shape: readonly number[];
  /** Its name or path in the file. */
  readonly source: string;
  /** Its shape in the file. */
  readonly sourceShape: readonly number[];
}

/** Names and shapes from files in an error message: the first few, and how many there are. */
export function few(names: readonly string[]): string {
  const first = names
    .slice(0, 4)
    .map((name) => printableLine(name))
    .join(', ');
  return names.length > 4 ? `${first} and ${names.length - 4} more` : first;
}

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, i) => size === b[i]);

/** What does not fit between a file and a network. */
export interface Misfits {
  /** Our names of what the file lacks. */
  readonly missing: string[];
  /** Names in the file, each with its shape and the one expected. */
  readonly misshapen: string[];
  /** Names in the file of what has no place. */
  readonly unexpected: string[];
}

export const noMisfits = (): Misfits => ({ missing: [], misshapen: [], unexpected: [] });

/** The misfits in words; undefined where there are none. */
export function describeMisfits({ missing, misshapen, unexpected }: Misfits): string | undefined {
  const problems = [
    ...(missing.length > 0 ? [`${missing.length} missing (${few(missing)})`] : []),
    ...(misshapen.length > 0 ? [`${misshapen.length} of another shape (${few(misshapen)})`] : []),
    ...(unexpected.length > 0 ? [`${unexpected.length} unexpected (${few(unexpected)})`] : []),
  ];
  return problems.length === 0 ? undefined : problems.join('; ');
}
