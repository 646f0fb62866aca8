// Dead code: what reaches no output goes, what does stays, and values are numbered anew.

import { expect } from 'chai';
import { removeDeadCode } from '../../lib/core/passes/deadCode.ts';
import { draftOf, lines } from './drafts.ts';

const scale = (factor: number) => ['scale', { factor }] as const;

describe('dead code', () => {
  it('goes, with all that only it needed', () => {
    const draft = draftOf(
      [[4], [4]],
      [
        [...scale(2), [0]], // 2
        [...scale(3), [2]], // 3: dead
        [...scale(4), [3]], // 4: dead
        ['add', {}, [2, 2]], // 5
      ],
      [5],
    );
    const { inputs, outputs, values, ...rest } = removeDeadCode(draft);
    expect(lines(rest)).to.deep.equal(['scale(0)>2', 'add(2,2)>3']);
    expect(inputs, 'inputs stay, used or not').to.deep.equal([0, 1]);
    expect(outputs).to.deep.equal([3]);
    expect(values.length).to.equal(4);
  });

  it('is not an instruction of whose outputs one is needed', () => {
    const draft = draftOf([[2, 3]], [['channelSums', {}, [0]]], [2]);
    expect(lines(removeDeadCode(draft))).to.deep.equal(['channelSums(0)>1,2']);
  });

  it('leaves a program as it is that has none, and can leave nothing', () => {
    const draft = draftOf([[4]], [[...scale(2), [0]]], [1]);
    expect(removeDeadCode(draft)).to.deep.equal(draft);
    expect(removeDeadCode({ ...draft, outputs: [0] }).instructions).to.deep.equal([]);
  });

  it('keeps positions of outputs, repeated ones too', () => {
    const draft = draftOf(
      [[4]],
      [
        [...scale(2), [0]],
        [...scale(3), [0]],
        [...scale(4), [0]],
      ],
      [3, 1, 3],
    );
    const { outputs, ...rest } = removeDeadCode(draft);
    expect(lines(rest)).to.deep.equal(['scale(0)>1', 'scale(0)>2']);
    expect(outputs).to.deep.equal([2, 1, 2]);
  });
});
