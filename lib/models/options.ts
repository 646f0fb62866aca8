// What of a network is left open beside its classes: options by name, each with the values that it accepts, so that
// files and the command line can be checked against them.

import { ArgumentError } from '../core/errors.ts';

/** What an option may hold; what JSON holds. */
export type OptionValue = boolean | number | string | readonly number[];

/** An option of a network. */
export interface OptionKind<T extends OptionValue = OptionValue> {
  readonly fallback: T;
  /** What is accepted, in words. */
  readonly expected: string;
  /** Whether a value is one that the option takes. */
  accepts(value: unknown): value is T;
  /** From the command line; what is not accepted comes out as it is. */
  parse(text: string): unknown;
}

/** Options of a network, by name. */
export type OptionKinds = Readonly<Record<string, OptionKind>>;

/** The values of options. */
export type OptionsOf<K> = { readonly [N in keyof K]: K[N] extends OptionKind<infer T> ? T : never };

/** True or false. */
export const flag = (fallback: boolean): OptionKind<boolean> => ({
  fallback,
  expected: 'true or false',
  accepts: (value) => typeof value === 'boolean',
  parse: (text) => (text === 'true' ? true : text === 'false' ? false : text),
});

/** One of some names. */
export const choice = <const T extends string>(names: readonly T[], fallback: NoInfer<T>): OptionKind<T> => ({
  fallback,
  expected: names.join(' or '),
  accepts: (value): value is T => names.some((name) => name === value),
  parse: (text) => text,
});

/** A number above 0. */
export const positive = (fallback: number): OptionKind<number> => ({
  fallback,
  expected: 'a number above 0',
  accepts: (value): value is number => typeof value === 'number' && value > 0 && Number.isFinite(value),
  parse: (text) => (text.trim() === '' ? text : Number(text)),
});

const isWhole = (value: unknown, least: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least;

const parseWhole = (text: string): unknown => (/^\d+$/.test(text) ? Number(text) : text);

/** A whole number, or one of some names. */
export const wholeOr = <const T extends string>(
  least: number,
  names: readonly T[],
  fallback: number | NoInfer<T>,
): OptionKind<number | T> => ({
  fallback,
  expected: [`a whole number of at least ${least}`, ...names].join(' or '),
  accepts: (value): value is number | T => isWhole(value, least) || names.some((name) => name === value),
  parse: parseWhole,
});

/** Whole numbers; on the command line separated by commas. */
export const wholes = (least: number, fallback: readonly number[]): OptionKind<readonly number[]> => ({
  fallback,
  expected: `whole numbers of at least ${least}, separated by commas`,
  accepts: (value): value is readonly number[] =>
    Array.isArray(value) && value.every((item) => isWhole(item, least)),
  parse: (text) => (text === '' ? [] : text.split(',').map(parseWhole)),
});

/**
 * All options of a network, from those given and the fallbacks.
 * @param where the network's name, for errors
 * @throws ArgumentError for a name that there is not, or a value that is not accepted
 */
export function resolveOptions<K extends OptionKinds>(
  where: string,
  kinds: K,
  given: Readonly<Record<string, unknown>>,
): OptionsOf<K> {
  const known = Object.keys(kinds);
  for (const [name, value] of Object.entries(given)) {
    const kind = kinds[name];
    if (kind === undefined) {
      throw new ArgumentError(`${where}: no option ${name}; expected ${known.join(', ')}`);
    }
    if (value !== undefined && !kind.accepts(value)) {
      throw new ArgumentError(
        `${where}: ${name} expects ${kind.expected}, got ${JSON.stringify(value) ?? String(value)}`,
      );
    }
  }
  const entries = known.map((name) => [name, given[name] ?? (kinds[name] as OptionKind).fallback]);
  return Object.fromEntries(entries) as OptionsOf<K>;
}

/**
 * Options from texts `name=value`.
 * @throws ArgumentError for a name that there is not, a value that is not accepted, and a text that is not of this form
 */
export function parseOptions(
  where: string,
  kinds: OptionKinds,
  texts: readonly string[],
): Record<string, OptionValue> {
  const given: Record<string, unknown> = {};
  for (const text of texts) {
    const at = text.indexOf('=');
    if (at < 1) {
      const example = Object.entries(kinds)[0];
      const form = example === undefined ? '' : `, for example ${example[0]}=${example[1].expected}`;
      throw new ArgumentError(`${where}: expected name=value${form}, got ${JSON.stringify(text)}`);
    }
    const name = text.slice(0, at);
    const value = text.slice(at + 1);
    given[name] = kinds[name]?.parse(value) ?? value;
  }
  return differing(kinds, resolveOptions(where, kinds, given));
}

/** Those of resolved options that are not the fallbacks: what a file of weights has to say. */
export function differing(
  kinds: OptionKinds,
  resolved: Readonly<Record<string, OptionValue>>,
): Record<string, OptionValue> {
  return Object.fromEntries(
    Object.entries(resolved).filter(
      ([name, value]) => JSON.stringify(value) !== JSON.stringify(kinds[name]?.fallback),
    ),
  );
}
