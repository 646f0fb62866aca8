// Rewriting: rules that replace what a few instructions make by what fewer make. The engine knows no op; lib/ops/fusions
// has the rules.

import type { Support } from '../../backend/backend.ts';
import type { Aval } from '../aval.ts';
import type { AnyOp, Op } from '../op.ts';
import type { Instruction, ValueId } from '../program.ts';
import { removeDeadCode } from './deadCode.ts';
import { type Draft, Graph } from './graph.ts';

/** Whether the backend that will run the program can run an op on such operands. */
export type Supports = (op: AnyOp, inputs: readonly Aval[], attributes: unknown) => Support;

/** What a rule does its work with. */
export interface Rewriter {
  readonly graph: Graph;
  /**
   * Adds an instruction and returns its outputs, or undefined where the backend does not support it: a rule then leaves
   * things as they are.
   */
  emit<A>(op: Op<A>, inputs: readonly ValueId[], attributes: A): readonly ValueId[] | undefined;
  /** Has every use of `old` read `replacement` from now on. */
  replace(old: ValueId, replacement: ValueId): void;
}

/** One rewriting. It is tried at every instruction of op `root`. */
export interface Rule {
  /** Shown by the printer beside the instructions that it made. */
  readonly name: string;
  readonly root: string;
  /** Emits and replaces if the pattern around `instruction` fits, else does nothing. */
  apply(instruction: Instruction, rewriter: Rewriter): void;
}

/** What a pass did, for `--dump-program`. */
export interface Rewriting {
  readonly rule: string;
  readonly times: number;
}

/**
 * Applies rules in their order, each over the whole program, then removes what has become dead.
 * @param supports asked before each new instruction
 */
export function rewrite(
  draft: Draft,
  rules: readonly Rule[],
  supports: Supports,
): { draft: Draft; done: Rewriting[] } {
  const done: Rewriting[] = [];
  let current = draft;
  for (const rule of rules) {
    const { draft: next, times } = applyRule(current, rule, supports);
    if (times === 0) continue;
    done.push({ rule: rule.name, times });
    current = removeDeadCode(next);
  }
  return { draft: current, done };
}

function applyRule(draft: Draft, rule: Rule, supports: Supports): { draft: Draft; times: number } {
  const graph = new Graph(draft);
  const values = [...draft.values];
  const replaced = new Map<ValueId, ValueId>();
  const instructions: Instruction[] = [];
  let times = 0;
  for (const instruction of draft.instructions) {
    instructions.push(instruction);
    // A value that this rule has replaced is not matched again: patterns would overlap.
    if (instruction.op.name !== rule.root || instruction.outputs.some((value) => replaced.has(value))) continue;
    let changed = false;
    rule.apply(instruction, {
      graph,
      emit: (op, inputs, attributes) => {
        const avals = inputs.map((value) => values[value] as Aval);
        if (!supports(op as AnyOp, avals, attributes).supported) return undefined;
        const outputs = op.infer(avals, attributes).map((a) => values.push(a) - 1);
        instructions.push({ op: op as AnyOp, attributes, inputs, outputs, note: rule.name });
        return outputs;
      },
      replace: (old, replacement) => {
        replaced.set(old, replacement);
        changed = true;
      },
    });
    if (changed) times += 1;
  }
  const current = (value: ValueId): ValueId => {
    const next = replaced.get(value);
    return next === undefined ? value : current(next);
  };
  return {
    draft: inOrder({
      values,
      inputs: draft.inputs,
      outputs: draft.outputs.map(current),
      instructions: instructions.map((instruction) => ({ ...instruction, inputs: instruction.inputs.map(current) })),
    }),
    times,
  };
}

/** Puts instructions after the makers of what they read, and otherwise leaves their order as it is. */
function inOrder(draft: Draft): Draft {
  const makers = new Map<ValueId, Instruction>();
  for (const instruction of draft.instructions) for (const value of instruction.outputs) makers.set(value, instruction);
  const placed = new Set<Instruction>();
  const instructions: Instruction[] = [];
  for (const root of draft.instructions) {
    // Depth first with a stack of its own: chains can be as long as the program.
    const stack = [root];
    while (stack.length > 0) {
      const top = stack.at(-1) as Instruction;
      if (placed.has(top)) {
        stack.pop();
        continue;
      }
      const waiting = top.inputs.map((value) => makers.get(value)).filter((maker) => maker && !placed.has(maker));
      if (waiting.length === 0) {
        placed.add(top);
        instructions.push(top);
        stack.pop();
      } else {
        stack.push(...(waiting as Instruction[]));
      }
    }
  }
  return { ...draft, instructions };
}
