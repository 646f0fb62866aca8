// Hoisting: what depends only on inputs that hold still between runs (weights of a network that is not being trained) is
// computed by a program of its own, run when one of them has changed, and not at each run.

import type { Instruction, ValueId } from '../program.ts';
import { removeDeadCode } from './deadCode.ts';
import { type Draft, Graph } from './graph.ts';

/** A program split in two. */
export interface Hoisted {
  /** From the inputs that hold still to the values that `main` takes as further inputs, in their order. */
  readonly setup: Draft;
  /** The rest; its inputs are those of the whole, then the outputs of `setup`. */
  readonly main: Draft;
}

/** Splits a program, or returns undefined where nothing can be hoisted. */
export function hoist(draft: Draft): Hoisted | undefined {
  const graph = new Graph(draft);
  const outputs = new Set(draft.outputs);
  // An output is a fresh value of each run, so what makes one stays.
  const moves = (instruction: Instruction) =>
    instruction.outputs.every((value) => graph.holdsStill(value) && !outputs.has(value));
  const setup = draft.instructions.filter(moves);
  if (setup.length === 0) return undefined;
  const rest = draft.instructions.filter((instruction) => !moves(instruction));
  const made = new Set(setup.flatMap((instruction) => instruction.outputs));
  const handedOver: ValueId[] = [];
  for (const { inputs } of rest) {
    for (const value of inputs) {
      if (made.delete(value)) handedOver.push(value);
    }
  }
  return {
    setup: removeDeadCode({ ...draft, outputs: handedOver, instructions: setup }),
    main: removeDeadCode({ ...draft, inputs: [...draft.inputs, ...handedOver], instructions: rest }),
  };
}
