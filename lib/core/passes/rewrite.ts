// Rewriting: rules that replace what a few instructions make by what fewer make. The engine knows no op; lib/ops/fusions
// has the rules.

import type { Backend, Support } from '../../backend/backend.ts';
import { type Aval, sameShape, showAval } from '../aval.ts';
import type { AnyOp, Op } from '../op.ts';
import { type Instruction, MalformedProgramError, type ValueId } from '../program.ts';
import { removeDeadCode } from './deadCode.ts';
import { type Draft, Graph } from './graph.ts';

/** Whether the backend that will run the program can run an op on such operands. */
export type Supports = (op: AnyOp, inputs: readonly Aval[], attributes: unknown) => Support;

/** Bytes of an op's filters in a backend's own layout (see {@link Backend.packedBytes}); undefined: best as they are. */
export type PackedBytes = (op: AnyOp, inputs: readonly Aval[], attributes: unknown) => number | undefined;

/** What a rule does its work with. */
export interface Rewriter {
  readonly graph: Graph;
  /** What the backend answers for an instruction of the program. */
  packedBytes(instruction: Instruction): number | undefined;
  /**
   * Adds an instruction and returns its outputs, or undefined where the backend does not support it: a rule then leaves
   * things as they are. The printer shows it as made from `origin`, by default the instruction the rule is tried at.
   */
  emit<A>(
    op: Op<A>,
    inputs: readonly ValueId[],
    attributes: A,
    origin?: Instruction,
  ): readonly ValueId[] | undefined;
  /** Has every use of `old` read `replacement`, of the same shape and type, from now on. */
  replace(old: ValueId, replacement: ValueId): void;
}

/** One rewriting. It is tried at every instruction of op `root`. */
export interface Rule {
  /** Shown by the printer beside the instructions that it made; also what switches it off. */
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
 * @param packedBytes for rules that pack filters; by default no backend wants that
 * @throws MalformedProgramError if the draft's instructions need each other's results in a circle, or a rule replaces a
 * value by one of another shape or type
 */
export function rewrite(
  draft: Draft,
  rules: readonly Rule[],
  supports: Supports,
  packedBytes: PackedBytes = () => undefined,
): { draft: Draft; done: Rewriting[] } {
  const done: Rewriting[] = [];
  let current = draft;
  for (const rule of rules) {
    const { draft: next, times } = applyRule(current, rule, { supports, packedBytes });
    if (times === 0) continue;
    done.push({ rule: rule.name, times });
    current = removeDeadCode(next);
  }
  return { draft: current, done };
}

/** What a backend is asked. */
interface Answers {
  readonly supports: Supports;
  readonly packedBytes: PackedBytes;
}

/** Applies a rule wherever it fits. */
function applyRule(draft: Draft, rule: Rule, backend: Answers): { draft: Draft; times: number } {
  const graph = new Graph(draft);
  const all = attempt(graph, rule, backend, () => true);
  if (all.draft !== undefined) return { draft: all.draft, times: all.roots.length };
  // What one fused instruction makes may be needed for what it reads. Then the matches one by one, without those: slow,
  // and hardly ever needed.
  const good = new Set<Instruction>();
  let best: { draft: Draft; times: number } = { draft: inOrder(draft) ?? circular(), times: 0 };
  for (const root of all.roots) {
    good.add(root);
    const { draft: next, roots } = attempt(graph, rule, backend, (instruction) => good.has(instruction));
    if (next === undefined) good.delete(root);
    else best = { draft: next, times: roots.length };
  }
  return best;
}

const circular = (): never => {
  throw new MalformedProgramError('instructions need each other in a circle');
};

/** Tries a rule at the roots that are `wanted`. The draft is undefined if instructions would need each other in a circle. */
function attempt(
  graph: Graph,
  rule: Rule,
  backend: Answers,
  wanted: (root: Instruction) => boolean,
): { draft: Draft | undefined; roots: Instruction[] } {
  const { draft } = graph;
  const values = [...draft.values];
  const replaced = new Map<ValueId, ValueId>();
  const instructions: Instruction[] = [];
  const roots: Instruction[] = [];
  for (const instruction of draft.instructions) {
    instructions.push(instruction);
    if (instruction.op.name !== rule.root || !wanted(instruction)) continue;
    // A value that this rule has replaced is not matched again: patterns would overlap.
    if (instruction.outputs.some((value) => replaced.has(value))) continue;
    let changed = false;
    rule.apply(instruction, {
      graph,
      packedBytes: ({ op, inputs, attributes }) =>
        backend.packedBytes(
          op,
          inputs.map((value) => values[value] as Aval),
          attributes,
        ),
      emit: (op, inputs, attributes, origin = instruction) => {
        const avals = inputs.map((value) => values[value] as Aval);
        if (!backend.supports(op as AnyOp, avals, attributes).supported) return undefined;
        const outputs = op.infer(avals, attributes).map((a) => values.push(a) - 1);
        const note = origin.note === undefined ? rule.name : `${origin.note}: ${rule.name}`;
        instructions.push({ op: op as AnyOp, attributes, inputs, outputs, note });
        return outputs;
      },
      replace: (old, replacement) => {
        const [was, is] = [values[old] as Aval, values[replacement] as Aval];
        if (!sameShape(was.shape, is.shape) || was.dtype !== is.dtype) {
          throw new MalformedProgramError(
            `${rule.name}: replaces %${old} ${showAval(was)} by %${replacement} ${showAval(is)}`,
          );
        }
        replaced.set(old, replacement);
        changed = true;
      },
    });
    if (changed) roots.push(instruction);
  }
  const current = (value: ValueId): ValueId => {
    const next = replaced.get(value);
    return next === undefined ? value : current(next);
  };
  const rewired = instructions.map((instruction) => ({
    ...instruction,
    inputs: instruction.inputs.map(current),
  }));
  const outputs = draft.outputs.map(current);
  return { draft: inOrder({ ...draft, values, outputs, instructions: rewired }), roots };
}

/**
 * Puts instructions after the makers of what they read, and otherwise leaves their order as it is. Undefined where they
 * need each other in a circle.
 */
export function inOrder(draft: Draft): Draft | undefined {
  const makers = new Map<ValueId, Instruction>();
  for (const instruction of draft.instructions) {
    for (const value of instruction.outputs) makers.set(value, instruction);
  }
  const state = new Map<Instruction, 'open' | 'placed'>();
  const instructions: Instruction[] = [];
  for (const root of draft.instructions) {
    // Depth first with a stack of its own: chains can be as long as the program. Open: waits for those above it.
    const stack = [root];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const waiting: Instruction[] = [];
      if (state.get(top) !== 'placed') {
        for (const value of top.inputs) {
          const maker = makers.get(value);
          if (maker === undefined || state.get(maker) === 'placed') continue;
          if (maker === top || state.get(maker) === 'open') return undefined;
          waiting.push(maker);
        }
      }
      if (waiting.length > 0) {
        state.set(top, 'open');
        stack.push(...waiting);
        continue;
      }
      stack.pop();
      if (state.get(top) === 'placed') continue;
      state.set(top, 'placed');
      instructions.push(top);
    }
  }
  return { ...draft, instructions };
}
