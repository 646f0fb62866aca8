// Memory plan: gives every temporary a place in the arena, so that values which never live at once share bytes.
// Greedy by size: the largest first, each into the lowest gap among those that live at the same time.

import { byteLength } from '../aval.ts';
import { liveness, type MemoryPlan, type Program, type ValueId } from '../program.ts';

/** Places start at multiples of this many bytes: a cache line, and the widest vector. */
const alignment = 64;

const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Plans the arena of a program: offsets for its temporaries, in bytes. */
export function planMemory(program: Omit<Program, 'plan'>): MemoryPlan {
  const { first, last } = liveness(program);
  const external = new Set([...program.inputs, ...program.outputs]);
  const temporaries: { id: ValueId; bytes: number; from: number; to: number }[] = [];
  program.values.forEach((a, id) => {
    const from = first[id] as number;
    if (external.has(id) || from === Number.POSITIVE_INFINITY) return;
    temporaries.push({ id, bytes: aligned(byteLength(a)), from, to: last[id] as number });
  });
  temporaries.sort((a, b) => b.bytes - a.bytes || a.from - b.from || a.id - b.id);

  const offsets: (number | undefined)[] = program.values.map(() => undefined);
  const placed: { offset: number; bytes: number; from: number; to: number }[] = []; // by offset
  let arenaBytes = 0;
  for (const { id, bytes, from, to } of temporaries) {
    let offset = 0;
    for (const other of placed) {
      if (other.to < from || to < other.from) continue;
      if (other.offset - offset >= bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    offsets[id] = offset;
    arenaBytes = Math.max(arenaBytes, offset + bytes);
    let at = placed.length;
    while (at > 0 && (placed[at - 1]?.offset as number) > offset) at -= 1;
    placed.splice(at, 0, { offset, bytes, from, to });
  }
  return { offsets, arenaBytes };
}
