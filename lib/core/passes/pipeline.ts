// All passes in their order: dead code, common subexpressions, foldings and fusions, dead code, recomputation. What rewrites a
// traced function before it is split (hoist.ts) and its memory is planned.

import { ArgumentError } from '../errors.ts';
import { mergeCommonSubexpressions } from './commonSubexpressions.ts';
import { removeDeadCode } from './deadCode.ts';
import type { Draft } from './graph.ts';
import { recompute } from './recompute.ts';
import { type PackedBytes, type Rewriting, type Rule, rewrite, type Supports } from './rewrite.ts';

/** Which passes run: every one, none, or all but those named (see {@link passNames}). */
export type PassSelection = 'all' | 'none' | { readonly without: readonly string[] };

const deadCode = 'dead code';
const commonSubexpressions = 'common subexpressions';

const recomputation = 'recomputation';

/** What depends only on inputs that hold still is computed once; compile does it with hoist.ts. */
export const hoisting = 'hoisting';

/** The memory plan's part: outputs take the places of operands. */
export const inPlaceReuse = 'in-place reuse';

let fusions: readonly Rule[] = [];

/** lib/ops gives its rules, in the order in which they are applied. */
export function registerFusions(rules: readonly Rule[]): void {
  fusions = rules;
}

/** Names of all passes and rules, in their order. */
export const passNames = (): string[] => [
  deadCode,
  commonSubexpressions,
  ...fusions.map(({ name }) => name),
  recomputation,
  hoisting,
  inPlaceReuse,
];

/**
 * The names that a selection switches off.
 * @throws ArgumentError for a name that is none
 */
export function disabledPasses(selection: PassSelection): ReadonlySet<string> {
  if (selection === 'all') return new Set();
  const names = passNames();
  if (selection === 'none') return new Set(names);
  const unknown = selection.without.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new ArgumentError(
      `passes: ${JSON.stringify(unknown)} is none of ${names.map((name) => JSON.stringify(name)).join(', ')}`,
    );
  }
  return new Set(selection.without);
}

/**
 * Rewrites a program. Inputs and outputs keep their positions; values get new numbers.
 * @param supports asked before each fused instruction
 * @param options disabled: names of passes and rules to leave out; packedBytes: asked before filters are packed
 * @returns the program, and what was done to it: instructions gone for the first two passes, matches for rules, values made twice
 */
export function optimize(
  draft: Draft,
  supports: Supports,
  options: { readonly disabled?: ReadonlySet<string>; readonly packedBytes?: PackedBytes } = {},
): { draft: Draft; done: Rewriting[] } {
  const disabled = options.disabled ?? new Set();
  const done: Rewriting[] = [];
  let current = draft;
  const shrink = (name: string, pass: (draft: Draft) => Draft) => {
    if (disabled.has(name)) return;
    const next = pass(current);
    const times = current.instructions.length - next.instructions.length;
    if (times > 0) done.push({ rule: name, times });
    current = next;
  };
  shrink(deadCode, removeDeadCode);
  shrink(commonSubexpressions, mergeCommonSubexpressions);
  const fused = rewrite(
    current,
    fusions.filter(({ name }) => !disabled.has(name)),
    supports,
    options.packedBytes,
  );
  done.push(...fused.done);
  current = fused.draft;
  shrink(deadCode, removeDeadCode);
  if (!disabled.has(recomputation)) {
    const next = recompute(current);
    const times = next.instructions.length - current.instructions.length;
    if (times > 0) done.push({ rule: recomputation, times });
    current = next;
  }
  return { draft: current, done };
}
