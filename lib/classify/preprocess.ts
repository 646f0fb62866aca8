// Preprocessing rules: how pixels become a network's input. A model carries the rule of the weights it was given.

import type { ResizeRule } from '../data/decode.ts';

/** How 8-bit pixels become input: pixel · scale + shift per channel (red, green, blue), after resizing. */
export interface Preprocessing {
  readonly scale: readonly [number, number, number];
  readonly shift: readonly [number, number, number];
  /** What becomes of a whole image of another size. */
  readonly resize: ResizeRule;
}

const same = (value: number) => [value, value, value] as const;

/** The rules by name; the name is kept in files of weights. */
export const preprocessings = {
  /** To [-1, 1], as `keras.applications.xception.preprocess_input`. */
  keras: { scale: same(1 / 127.5), shift: same(-1), resize: 'stretch' },
} as const satisfies Record<string, Preprocessing>;

/** Name of a rule in {@link preprocessings}. */
export type PreprocessingName = keyof typeof preprocessings;

export const isPreprocessingName = (name: string): name is PreprocessingName => name in preprocessings;
