// Memory plan: gives every temporary a place in the arena, so that values which never live at once share bytes, and an
// output takes the place of an operand where its op works in place. Greedy by size: the largest first, each into the
// lowest gap among those that live at the same time.

import { byteLength } from '../aval.ts';
import { inPlaceOperand, liveness, type MemoryPlan, type Program, type ValueId } from '../program.ts';

/** Places start at multiples of this many bytes: a cache line, and the widest vector. */
const alignment = 64;

const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Values that follow each other in one place, each written over the one before. */
interface Chain {
  readonly ids: ValueId[];
  readonly bytes: number;
  readonly from: number;
  /** The last instruction that needs the last of them. */
  to: number;
}

/**
 * Plans the arena of a program: offsets for its temporaries, in bytes.
 * @param options inPlace: whether outputs may take the places of operands; default true
 */
export function planMemory(
  program: Omit<Program, 'plan'>,
  options: { readonly inPlace?: boolean } = {},
): MemoryPlan {
  const chains = chainsOf(program, options.inPlace ?? true);
  chains.sort(
    (a, b) => b.bytes - a.bytes || a.from - b.from || (a.ids[0] as ValueId) - (b.ids[0] as ValueId),
  );

  const offsets: (number | undefined)[] = program.values.map(() => undefined);
  const placed: { offset: number; bytes: number; from: number; to: number }[] = []; // by offset
  let arenaBytes = 0;
  for (const { ids, bytes: exact, from, to } of chains) {
    const bytes = aligned(exact);
    let offset = 0;
    for (const other of placed) {
      if (other.to < from || to < other.from) continue;
      if (other.offset - offset >= bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    for (const id of ids) offsets[id] = offset;
    arenaBytes = Math.max(arenaBytes, offset + bytes);
    let at = placed.length;
    while (at > 0 && (placed[at - 1]?.offset as number) > offset) at -= 1;
    placed.splice(at, 0, { offset, bytes, from, to });
  }
  return { offsets, arenaBytes };
}

/** The temporaries, those joined that may lie in one place. */
function chainsOf(program: Omit<Program, 'plan'>, inPlace: boolean): Chain[] {
  const { last } = liveness(program);
  const external = new Set([...program.inputs, ...program.outputs]);
  const chainOf = new Map<ValueId, Chain>();
  const chains: Chain[] = [];
  program.instructions.forEach((instruction, at) => {
    instruction.outputs.forEach((id, i) => {
      if (external.has(id)) return;
      const bytes = byteLength(program.values[id] as Program['values'][number]);
      const operand = inPlace ? inPlaceOperand(instruction, i) : undefined;
      // An operand that comes with the run is in no chain: it is not ours to overwrite.
      const chain = operand !== undefined && last[operand] === at ? chainOf.get(operand) : undefined;
      if (chain?.bytes === bytes) {
        chain.ids.push(id);
        chain.to = last[id] as number;
        chainOf.set(id, chain);
      } else {
        const own = { ids: [id], bytes, from: at, to: last[id] as number };
        chains.push(own);
        chainOf.set(id, own);
      }
    });
  });
  return chains;
}
