// Recomputation: what is large, cheap and only waits is made twice, and nothing else.

import { expect } from 'chai';
import { planMemory } from '../../lib/core/passes/memoryPlan.ts';
import { recompute } from '../../lib/core/passes/recompute.ts';
import { draftOf, type Line, lines } from './drafts.ts';

const scale = (factor: number) => ['scale', { factor }] as const;
const same = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 4, relu: true };

/**
 * x (0), filter (1) -> a copy of x (2), y = depthwise(relu(copy)) (3), its use (4), then `wide` copies of y's size that
 * live together, then a late use of y, and of the copy where it is kept anyway. With `twins`, another value like y beside it.
 */
function waiting(
  options: { wide?: number; keepsOperand?: boolean; name?: 'depthwiseRelu' | 'relu'; twins?: boolean } = {},
) {
  const { wide = 3, keepsOperand = true, name = 'depthwiseRelu', twins = false } = options;
  const y: Line = name === 'relu' ? ['relu', {}, [2]] : ['depthwiseRelu', same, [2, 1]];
  const program: Line[] = [[...scale(2), [0]], y, [...scale(3), [3]]];
  let next = 5;
  const late = [3];
  if (twins) {
    program.push(y, [...scale(3), [5]]);
    late.push(5);
    next = 7;
  }
  const held: number[] = [];
  for (let i = 0; i < wide; i += 1) {
    program.push([...scale(4 + i), [4]]);
    held.push(next++);
  }
  let sum = 4;
  for (const value of held) {
    program.push(['add', {}, [sum, value]]);
    sum = next++;
  }
  for (const value of late) {
    program.push(['add', {}, [sum, value]]);
    sum = next++;
  }
  if (keepsOperand) {
    program.push(['add', {}, [sum, 2]]);
    sum = next++;
  }
  return draftOf(
    [
      [1, 8, 8, 4],
      [4, 3, 3, 1],
    ],
    program,
    [sum],
  );
}

const arena = (draft: ReturnType<typeof waiting>) => planMemory(draft).arenaBytes;

describe('recomputation', () => {
  it('makes a value again before its late use, and frees its place meanwhile', () => {
    const draft = waiting();
    const after = recompute(draft);
    const made = lines(after).filter((line) => line.startsWith('depthwiseRelu'));
    expect(made).to.deep.equal(['depthwiseRelu(2,1)>3', `depthwiseRelu(2,1)>${draft.values.length}`]);
    const late = lines(after).indexOf(made[1] as string);
    expect(lines(after)[late + 1]).to.match(new RegExp(`^add\\(\\d+,${draft.values.length}\\)`));
    expect(after.outputs).to.deep.equal(draft.outputs);
    expect(after.instructions[late]?.note).to.match(/again/);
    expect(arena(after)).to.equal(arena(draft) - 8 * 8 * 4 * 4);
  });

  it('leaves what another large value would have to be kept for', () => {
    const draft = waiting({ keepsOperand: false });
    expect(recompute(draft)).to.deep.equal(draft);
  });

  it('leaves what is not cheap to make', () => {
    const draft = waiting({ name: 'relu' });
    expect(recompute(draft)).to.deep.equal(draft);
  });

  it('leaves what is small next to the peak', () => {
    expect(lines(recompute(waiting({ wide: 200 }))).length).to.be.greaterThan(
      lines(waiting({ wide: 200 })).length,
    );
    const draft = waiting({ wide: 300 });
    expect(recompute(draft)).to.deep.equal(draft);
  });

  it('makes no more again than a quarter of the peak', () => {
    const added = (wide: number) => {
      const draft = waiting({ wide, twins: true });
      return recompute(draft).instructions.length - draft.instructions.length;
    };
    expect([added(2), added(20)]).to.deep.equal([1, 2]);
  });

  it('leaves a program in which nothing waits', () => {
    const draft = draftOf([[4]], [[...scale(2), [0]]], [1]);
    expect(recompute(draft)).to.deep.equal(draft);
  });
});
