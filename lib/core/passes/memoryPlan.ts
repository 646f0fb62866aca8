// Memory plan: gives every temporary a place in the arena, so that values which never live at once share bytes, an
// output takes the place of an operand where its op works in place, and operands are made where an op that only moves
// them wants them. Greedy by size: the largest first, each into the lowest gap among those that live at the same time.

import { byteLength } from '../aval.ts';
import {
  externalValues,
  inPlaceOperand,
  liveness,
  type MemoryPlan,
  operandPlaces,
  type Program,
  type ValueId,
} from '../program.ts';

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

/** A chain with those that lie within it: it is made by moving them together. */
interface Group {
  readonly whole: Chain;
  readonly members: { readonly chain: Chain; readonly place: number }[];
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Plans the arena of a program: offsets for its temporaries, in bytes.
 * @param options inPlace: whether outputs may take the places of operands, and operands lie within outputs; default true
 */
export function planMemory(
  program: Omit<Program, 'plan'>,
  options: { readonly inPlace?: boolean } = {},
): MemoryPlan {
  const inPlace = options.inPlace ?? true;
  const groups = groupsOf(program, chainsOf(program, inPlace), inPlace);
  groups.sort(
    (a, b) =>
      b.bytes - a.bytes || a.from - b.from || (a.whole.ids[0] as ValueId) - (b.whole.ids[0] as ValueId),
  );

  const offsets: (number | undefined)[] = program.values.map(() => undefined);
  const placed: { offset: number; bytes: number; from: number; to: number }[] = []; // by offset
  let arenaBytes = 0;
  const place = ({ ids, bytes: exact, from, to }: Chain, offset: number) => {
    for (const id of ids) offsets[id] = offset;
    let at = placed.length;
    while (at > 0 && (placed[at - 1]?.offset as number) > offset) at -= 1;
    placed.splice(at, 0, { offset, bytes: aligned(exact), from, to });
  };
  for (const { whole, members, bytes: exact, from, to } of groups) {
    const bytes = aligned(exact);
    let offset = 0;
    for (const other of placed) {
      if (other.to < from || to < other.from) continue;
      if (other.offset - offset >= bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    arenaBytes = Math.max(arenaBytes, offset + bytes);
    place(whole, offset);
    // Until a member is made, its place is free for others.
    for (const member of members) place(member.chain, offset + member.place);
  }
  return { offsets, arenaBytes };
}

/** The temporaries, those joined that may lie in one place. */
function chainsOf(program: Omit<Program, 'plan'>, inPlace: boolean): Map<ValueId, Chain> {
  const { last } = liveness(program);
  const external = externalValues(program);
  const chainOf = new Map<ValueId, Chain>();
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
        chainOf.set(id, { ids: [id], bytes, from: at, to: last[id] as number });
      }
    });
  });
  return chainOf;
}

/** The chains, those joined of which one holds the others. */
function groupsOf(
  { instructions, values }: Omit<Program, 'plan'>,
  chainOf: ReadonlyMap<ValueId, Chain>,
  inPlace: boolean,
): Group[] {
  const groups: Group[] = [];
  const inside = new Set<Chain>();
  if (inPlace) {
    instructions.forEach((instruction, at) => {
      const whole = chainOf.get(instruction.outputs[0] as ValueId);
      if (whole === undefined || inside.has(whole) || instruction.op.places === undefined) return;
      const members: Group['members'] = [];
      for (const [id, place] of operandPlaces(instruction, values)) {
        const chain = chainOf.get(id);
        if (chain === undefined || chain.to !== at || chain.ids.at(-1) !== id || inside.has(chain)) continue;
        members.push({ chain, place });
        inside.add(chain);
      }
      if (members.length === 0) return;
      inside.add(whole);
      const from = Math.min(...members.map(({ chain }) => chain.from));
      groups.push({ whole, members, bytes: whole.bytes, from, to: whole.to });
    });
  }
  for (const chain of new Set(chainOf.values())) {
    if (!inside.has(chain)) groups.push({ whole: chain, members: [], ...chain });
  }
  return groups;
}
