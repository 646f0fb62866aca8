// Common subexpressions: an op applied twice to the same operands with the same attributes is computed once.
// Every op is a function of its operands (random ops take their counter as one), so any two may be merged.

import type { Instruction, ValueId } from '../program.ts';
import type { Draft } from './graph.ts';

/** The same program with repeated instructions merged into the first. */
export function mergeCommonSubexpressions(draft: Draft): Draft {
  const same = new Map<ValueId, ValueId>();
  const merged = (value: ValueId) => same.get(value) ?? value;
  const outputs = new Set(draft.outputs);
  const first = new Map<string, Instruction>();
  const instructions: Instruction[] = [];
  for (const instruction of draft.instructions) {
    const inputs = instruction.inputs.map(merged);
    const key = `${instruction.op.name}|${instruction.op.encode(instruction.attributes).join()}|${inputs.join()}`;
    const known = first.get(key);
    // An output of the program is a value of its own: who gets it may write into it.
    if (known === undefined || instruction.outputs.some((value) => outputs.has(value))) {
      const kept = { ...instruction, inputs };
      if (known === undefined) first.set(key, kept);
      instructions.push(kept);
    } else {
      instruction.outputs.forEach((value, i) => {
        same.set(value, known.outputs[i] as ValueId);
      });
    }
  }
  return { ...draft, instructions };
}
