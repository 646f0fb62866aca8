// Recomputation: a large value that an op makes cheaply, and that only waits for the backward pass while memory is
// fullest, is made again there instead of being kept (Chen et al. 2016, "Training deep nets with sublinear memory cost").
// The same kernel on the same operands: no bit changes.

import { byteLength } from '../aval.ts';
import { externalValues, type Instruction, liveness, type ValueId } from '../program.ts';
import type { Draft } from './graph.ts';

/**
 * Values smaller than this part of the peak are kept. What is bound by memory costs time by its bytes, so the time lost
 * is bounded too: the three values that this makes twice in a training step of Xception cost 0.4 % of it, and free a seventh.
 */
const leastPart = 1 / 36;

/** The same program with what is worth it made twice. */
export function recompute(draft: Draft): Draft {
  let current = draft;
  for (let done = true; done; ) {
    const next = recomputeOne(current);
    done = next !== undefined;
    current = next ?? current;
  }
  return current;
}

/** With the largest value that qualifies made twice; undefined where there is none. */
function recomputeOne(draft: Draft): Draft | undefined {
  const { instructions, values } = draft;
  const { first, last } = liveness(draft);
  const external = externalValues(draft);
  const bytes = values.map(byteLength);
  const { at: peakAt, bytes: peak } = fullest(draft, bytes, external);
  let best: { maker: Instruction; value: ValueId; again: number } | undefined;
  for (const maker of instructions) {
    const [value] = maker.outputs;
    if (maker.op.cheap !== true || maker.outputs.length !== 1 || value === undefined || external.has(value))
      continue;
    const size = bytes[value] as number;
    if (size < peak * leastPart || size <= (best === undefined ? 0 : (bytes[best.value] as number))) continue;
    // Not needed at the peak itself, but before and after it.
    if ((first[value] as number) >= peakAt || (last[value] as number) <= peakAt) continue;
    if (instructions[peakAt]?.inputs.includes(value)) continue;
    const again = instructions.findIndex((user, at) => at > peakAt && user.inputs.includes(value));
    const used = instructions.some((user, at) => at < peakAt && user.inputs.includes(value));
    // Operands that are there anyway, or are small: else one would be kept for the other.
    const kept = (operand: ValueId) =>
      external.has(operand) || (last[operand] as number) >= again || (bytes[operand] as number) * 64 < size;
    if (used && maker.inputs.every(kept)) best = { maker, value, again };
  }
  if (best === undefined) return undefined;
  const { maker, value, again } = best;
  const copy = values.length;
  const renamed = instructions.map((instruction, at) =>
    at < again || !instruction.inputs.includes(value)
      ? instruction
      : { ...instruction, inputs: instruction.inputs.map((input) => (input === value ? copy : input)) },
  );
  const twin: Instruction = { ...maker, outputs: [copy], note: `${maker.note ?? maker.op.name}, again` };
  return {
    ...draft,
    values: [...values, values[value] as (typeof values)[number]],
    instructions: [...renamed.slice(0, again), twin, ...renamed.slice(again)],
  };
}

/** The instruction at which temporaries take the most bytes, if each has memory of its own. */
function fullest(draft: Draft, bytes: readonly number[], external: ReadonlySet<ValueId>) {
  const { first, last } = liveness(draft);
  const change = new Array<number>(draft.instructions.length + 2).fill(0);
  draft.values.forEach((_, value) => {
    const [from, to] = [first[value] as number, last[value] as number];
    if (external.has(value) || from < 0 || to < from) return;
    change[from] = (change[from] as number) + (bytes[value] as number);
    change[to + 1] = (change[to + 1] as number) - (bytes[value] as number);
  });
  let [held, at, most] = [0, 0, 0];
  change.forEach((difference, i) => {
    held += difference;
    if (held > most) [at, most] = [i, held];
  });
  return { at, bytes: most };
}
