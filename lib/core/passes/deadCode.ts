// Dead code: removes instructions of whose outputs nothing is used, and gives the remaining values dense numbers.

import type { Instruction, ValueId } from '../program.ts';
import type { Draft } from './graph.ts';

/** The same program without what does not reach an output. Inputs stay, used or not; their parts do not. */
export function removeDeadCode(draft: Draft): Draft {
  const needed = new Set<ValueId>(draft.outputs);
  const kept: Instruction[] = [];
  for (const instruction of [...draft.instructions].reverse()) {
    if (!instruction.outputs.some((value) => needed.has(value))) continue;
    kept.push(instruction);
    for (const value of instruction.inputs) needed.add(value);
  }
  const parts = draft.parts?.filter(({ value }) => needed.has(value));
  return renumber({ ...draft, ...(parts && { parts }), instructions: kept.reverse() });
}

/** Numbers values in the order in which they come to be. */
function renumber(draft: Draft): Draft {
  const numbers = new Map<ValueId, ValueId>();
  const values: Draft['values'][number][] = [];
  const name = (value: ValueId) => {
    numbers.set(value, values.push(draft.values[value] as Draft['values'][number]) - 1);
  };
  draft.inputs.forEach(name);
  draft.parts?.forEach(({ value }) => {
    name(value);
  });
  for (const { outputs } of draft.instructions) outputs.forEach(name);
  const renamed = (value: ValueId) => numbers.get(value) as ValueId;
  return {
    ...draft,
    values,
    inputs: draft.inputs.map(renamed),
    ...(draft.parts && {
      parts: draft.parts.map((part) => ({ ...part, value: renamed(part.value), of: renamed(part.of) })),
    }),
    outputs: draft.outputs.map(renamed),
    instructions: draft.instructions.map((instruction) => ({
      ...instruction,
      inputs: instruction.inputs.map(renamed),
      outputs: instruction.outputs.map(renamed),
    })),
  };
}
