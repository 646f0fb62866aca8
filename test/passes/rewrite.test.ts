// The rewriting engine: order, circles, what a backend does not support, and rules that overlap.

import { expect } from 'chai';
import type { AnyOp } from '../../lib/core/op.ts';
import { operandOf, outputOf } from '../../lib/core/passes/graph.ts';
import { planMemory } from '../../lib/core/passes/memoryPlan.ts';
import { inOrder, type Rule, rewrite } from '../../lib/core/passes/rewrite.ts';
import { checkProgram, MalformedProgramError } from '../../lib/core/program.ts';
import { opTable } from '../../lib/ops/index.ts';
import { anything, draftOf, lines, opsOf } from './drafts.ts';

/** scale → scale becomes one scale. */
const foldScales: Rule = {
  name: 'fold scales',
  root: 'scale',
  apply(outer, rewriter) {
    const inner = rewriter.graph.maker(operandOf(outer, 'x'), 'scale');
    if (inner === undefined) return;
    const factor = [outer, inner].reduce(
      (f, { attributes }) => f * (attributes as { factor: number }).factor,
      1,
    );
    const made = rewriter.emit(opTable.scale, [operandOf(inner, 'x')], { factor });
    if (made !== undefined) rewriter.replace(outputOf(outer, 'y'), made[0]!);
  },
};

const chain = (length: number) =>
  draftOf(
    [[4]],
    Array.from({ length }, (_, i) => ['scale', { factor: 2 }, [i]] as const),
    [length],
  );

describe('rewriting', () => {
  it('replaces what a rule matches, removes what has become dead, and says how often', () => {
    const { draft, done } = rewrite(chain(2), [foldScales], anything);
    expect(lines(draft)).to.deep.equal(['scale(0)>1']);
    expect(draft.instructions[0]!.attributes).to.deep.equal({ factor: 4 });
    expect(draft.instructions[0]!.note).to.equal('fold scales');
    expect(done).to.deep.equal([{ rule: 'fold scales', times: 1 }]);
  });

  it('shows where an instruction comes from', () => {
    const draft = chain(2);
    const noted = draft.instructions.map((instruction, i) => ({ ...instruction, note: `layer${i}` }));
    const [made] = rewrite({ ...draft, instructions: noted }, [foldScales], anything).draft.instructions;
    expect(made!.note).to.equal('layer1: fold scales');
  });

  it('gives every match the values of before, so that overlapping ones stay right', () => {
    const { draft } = rewrite(chain(4), [foldScales], anything);
    checkProgram({ ...draft, plan: planMemory(draft) });
    const product = draft.instructions.reduce(
      (f, { attributes }) => f * (attributes as { factor: number }).factor,
      1,
    );
    expect([product, draft.instructions.length]).to.deep.equal([16, 2]);
  });

  it('leaves a program as it is where the backend does not support the new instruction', () => {
    const asked: string[] = [];
    const draft = chain(3);
    const result = rewrite(draft, [foldScales], ({ name }: AnyOp, [x]) => {
      asked.push(`${name} ${x!.shape}`);
      return { supported: false, reason: 'no' };
    });
    expect(result).to.deep.equal({ draft, done: [] });
    expect(asked).to.deep.equal(['scale 4', 'scale 4']);
  });

  it('puts instructions after those whose results they read', () => {
    const early: Rule = {
      name: 'early',
      root: 'square',
      apply(square, rewriter) {
        // Emitted where the square stands, but reads the sum, which comes later.
        const [relu] = rewriter.graph.users(operandOf(square, 'x'), 'relu', 'x');
        const made = rewriter.emit(opTable.multiply, [outputOf(relu!, 'y'), outputOf(relu!, 'y')], {});
        rewriter.replace(outputOf(square, 'y'), made![0]!);
      },
    };
    const draft = draftOf(
      [[4]],
      [
        ['square', {}, [0]],
        ['scale', { factor: 2 }, [1]],
        ['relu', {}, [0]],
        ['add', {}, [2, 3]],
      ],
      [4],
    );
    const next = rewrite(draft, [early], anything).draft;
    checkProgram({ ...next, plan: planMemory(next) });
    expect(opsOf(next)).to.deep.equal(['relu', 'multiply', 'scale', 'add']);
  });

  it('leaves out a match whose result would be needed for what it reads, and keeps the others', () => {
    // Two sums of squares with something between: merging a pair that depend on each other would be a circle.
    const merge: Rule = {
      name: 'merge',
      root: 'channelSums',
      apply(sums, rewriter) {
        const squares = rewriter.graph.draft.instructions.filter(({ op }) => op.name === 'square');
        const partner = squares.find(({ inputs }) => inputs[0] !== outputOf(sums, 'sum'));
        const made = rewriter.emit(
          opTable.channelGradSums,
          [operandOf(sums, 'x'), outputOf(partner!, 'y')],
          {},
        );
        rewriter.replace(outputOf(sums, 'sum'), made![0]!);
      },
    };
    const draft = draftOf(
      [[2, 3]],
      [
        ['channelSums', {}, [0]], // 1, 2
        ['broadcast', { shape: [2, 3] }, [1]], // 3
        ['square', {}, [3]], // 4: needs the first sums, and every match reads it
        ['channelSums', {}, [4]], // 5, 6
      ],
      [5],
    );
    const { draft: next, done } = rewrite(draft, [merge], anything);
    checkProgram({ ...next, plan: planMemory(next) });
    expect(opsOf(next)).to.deep.equal(['channelSums', 'broadcast', 'square', 'channelGradSums']);
    expect(done).to.deep.equal([{ rule: 'merge', times: 1 }]);
  });

  it('refuses a circle, at once', () => {
    const draft = draftOf(
      [[4]],
      [
        ['relu', {}, [0]],
        ['square', {}, [1]],
        ['scale', { factor: 2 }, [2]],
      ],
      [3],
    );
    const [relu, ...rest] = draft.instructions;
    const circular = { ...draft, instructions: [{ ...relu!, inputs: [3] }, ...rest] };
    expect(inOrder(circular)).to.equal(undefined);
    const selfish = { ...draft, instructions: [{ ...relu!, inputs: [1] }, ...rest] };
    expect(inOrder(selfish)).to.equal(undefined);
    expect(() => rewrite(circular, [foldScales], anything)).to.throw(MalformedProgramError, 'circle');
  });

  it('refuses a replacement of another shape', () => {
    const wrong: Rule = {
      name: 'wrong',
      root: 'square',
      apply: (square, { replace }) => replace(outputOf(square, 'y'), 0),
    };
    const draft = draftOf([[4], [5]], [['square', {}, [1]]], [2]);
    expect(() => rewrite(draft, [wrong], anything)).to.throw(
      MalformedProgramError,
      'wrong: replaces %2 f32[5] by %0 f32[4]',
    );
  });

  it('keeps the order of a long chain, without recursion', () => {
    const length = 20_000;
    const draft = chain(length);
    const reversed = { ...draft, instructions: draft.instructions.toReversed() };
    expect(lines(inOrder(reversed)!)).to.deep.equal(lines(draft));
  });
});
