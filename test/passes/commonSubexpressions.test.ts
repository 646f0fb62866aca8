// Common subexpressions: equal instructions are merged, different ones and outputs of the program are not.

import { expect } from 'chai';
import { mergeCommonSubexpressions } from '../../lib/core/passes/commonSubexpressions.ts';
import { draftOf, type Line, lines } from './drafts.ts';

const scale = (factor: number, input: number): Line => ['scale', { factor }, [input]];

describe('common subexpressions', () => {
  it('are computed once, and so is what follows from them', () => {
    const draft = draftOf(
      [[4]],
      [scale(2, 0), scale(2, 0), scale(3, 1), scale(3, 2), ['add', {}, [3, 4]]],
      [5],
    );
    const merged = mergeCommonSubexpressions(draft);
    expect(lines(merged)).to.deep.equal(['scale(0)>1', 'scale(1)>3', 'add(3,3)>5']);
    expect(merged.outputs).to.deep.equal([5]);
  });

  it('differ by op, by attributes and by order of operands', () => {
    const draft = draftOf(
      [[4], [4]],
      [scale(2, 0), scale(3, 0), ['square', {}, [0]], ['subtract', {}, [0, 1]], ['subtract', {}, [1, 0]]],
      [],
    );
    expect(mergeCommonSubexpressions(draft).instructions.length).to.equal(5);
  });

  it('merge all outputs of an instruction', () => {
    const draft = draftOf(
      [[2, 3]],
      [
        ['channelSums', {}, [0]], // 1, 2
        ['channelSums', {}, [0]], // 3, 4
        ['add', {}, [1, 3]], // 5
        ['add', {}, [2, 4]], // 6
      ],
      [5, 6],
    );
    expect(lines(mergeCommonSubexpressions(draft))).to.deep.equal([
      'channelSums(0)>1,2',
      'add(1,1)>5',
      'add(2,2)>6',
    ]);
  });

  it('stay apart where both are outputs, which are memory of their own', () => {
    const draft = draftOf([[4]], [scale(2, 0), scale(2, 0), scale(2, 0), ['relu', {}, [3]]], [1, 2, 4]);
    expect(lines(mergeCommonSubexpressions(draft))).to.deep.equal(['scale(0)>1', 'scale(0)>2', 'relu(1)>4']);
  });
});
