// The memory plan: what may lie in one place, at once or one written over the other, and what the checker refuses.

import { expect } from 'chai';
import { byteLength } from '../../lib/core/aval.ts';
import type { Draft } from '../../lib/core/passes/graph.ts';
import { planMemory } from '../../lib/core/passes/memoryPlan.ts';
import { checkProgram, instructionBytes, liveness, MalformedProgramError } from '../../lib/core/program.ts';
import { Random } from '../support/random.ts';
import { draftOf, type Line } from './drafts.ts';

const twice = (input: number): Line => ['scale', { factor: 2 }, [input]];
const offsetsOf = (draft: Draft) => planMemory(draft).offsets;

describe('memory plan', () => {
  it('writes over an operand that nobody reads again', () => {
    const draft = draftOf([[16]], [twice(0), twice(1), twice(2), twice(3)], [4]);
    expect(planMemory(draft)).to.deep.equal({ offsets: [undefined, 0, 0, 0, undefined], arenaBytes: 64 });
    expect(planMemory(draft, { inPlace: false }).arenaBytes).to.equal(128);
  });

  it('never writes over an operand that is read again', () => {
    const [, a, b] = offsetsOf(draftOf([[16]], [twice(0), twice(1), ['add', {}, [2, 1]]], [3]));
    expect(a).not.to.equal(b);
  });

  it('never writes over an operand other than the one that the op declares', () => {
    // multiply may take the place of a, its first operand; here that one lives on.
    const draft = draftOf([[16]], [twice(0), twice(0), ['multiply', {}, [1, 2]], ['add', {}, [3, 1]]], [4]);
    const [, a, b, product] = offsetsOf(draft);
    expect([a, b]).not.to.include(product);
  });

  it('never writes over an operand that the instruction reads twice', () => {
    const [, a, squared] = offsetsOf(draftOf([[16]], [twice(0), ['multiply', {}, [1, 1]], twice(2)], [3]));
    expect(a).not.to.equal(squared);
  });

  it('never writes over an input of the program', () => {
    expect(offsetsOf(draftOf([[16]], [twice(0), twice(1)], [2]))).to.deep.equal([undefined, 0, undefined]);
  });

  it('lets the checker refuse sharing that is not in place', () => {
    const refused = (draft: Draft, ...offsets: (number | undefined)[]) =>
      expect(() => checkProgram({ ...draft, plan: { offsets, arenaBytes: 256 } })).to.throw(
        MalformedProgramError,
        'share memory while both live',
      );
    const [from, to] = [undefined, undefined];
    refused(draftOf([[16]], [twice(0), twice(1), ['add', {}, [2, 1]]], [3]), from, 0, 0, to); // read again
    refused(draftOf([[32]], [twice(0), twice(1), twice(2)], [3]), from, 0, 64, to); // shifted
    const relus = draftOf([[16]], [twice(0), ['multiply', {}, [1, 1]], twice(2)], [3]);
    refused(relus, from, 0, 0, to); // read twice by that instruction
    const padded: Line = ['pad', { before: [0], after: [0] }, [1]];
    refused(draftOf([[16]], [twice(0), padded, twice(2)], [3]), from, 0, 0, to); // the op does not say so
  });

  it('makes operands where an op that only moves them wants them, and uses the place for others before', () => {
    // %1 and %3 become parts of %4; %2 is as large as both and dead before %3 is made.
    const draft = draftOf(
      [[16]],
      [
        twice(0),
        ['pad', { before: [0], after: [16] }, [0]],
        ['slice', { start: [0], extent: [16] }, [2]],
        ['flatten', {}, [1, 3]],
        ['scale', { factor: 1 }, [4]],
      ],
      [5],
    );
    const plan = planMemory(draft);
    checkProgram({ ...draft, plan });
    const [, a, large, b, whole] = plan.offsets;
    expect([a, b]).to.deep.equal([whole, whole! + 128]);
    expect(plan.arenaBytes).to.be.below(256 + 128);
    expect(large).not.to.equal(undefined);
    const program = { ...draft, plan };
    expect(instructionBytes(program, draft.instructions[3]!), 'nothing is moved').to.equal(0);
    const apart = { ...draft, plan: planMemory(draft, { inPlace: false }) };
    checkProgram(apart);
    expect(instructionBytes(apart, draft.instructions[3]!)).to.equal(2 * 2 * 64);
  });

  it('leaves alone operands that come with the run, come twice, or are read again', () => {
    const apart = (draft: Draft, operand: number) => {
      const { offsets } = planMemory(draft);
      checkProgram({ ...draft, plan: planMemory(draft) });
      expect(offsets[operand]).not.to.equal(offsets[2]);
    };
    const flat = (...operands: number[]): Line => ['flatten', {}, operands];
    apart(draftOf([[16]], [twice(0), flat(0), twice(2)], [3]), 0);
    apart(draftOf([[16]], [twice(0), flat(1, 1), twice(2)], [3]), 1);
    apart(draftOf([[16]], [twice(0), flat(1), twice(2), twice(1)], [3, 4]), 1);
  });

  it('lets the checker refuse an operand within an output that is elsewhere, or read again', () => {
    const refused = (draft: Draft, ...offsets: (number | undefined)[]) =>
      expect(() => checkProgram({ ...draft, plan: { offsets, arenaBytes: 512 } })).to.throw(
        MalformedProgramError,
        'share memory while both live',
      );
    const [from, to] = [undefined, undefined];
    const two = draftOf([[16]], [twice(0), twice(0), ['flatten', {}, [1, 2]], twice(3)], [4]);
    checkProgram({ ...two, plan: { offsets: [from, 0, 128, 0, to], arenaBytes: 512 } });
    refused(two, from, 64, 128, 0, to);
    refused(two, from, 128, 0, 0, to);
    const again = draftOf([[16]], [twice(0), ['flatten', {}, [1]], twice(2), twice(1)], [3, 4]);
    refused(again, from, 0, 0, to, to);
  });

  it('is legal for random programs, and not smaller than what lives at once', () => {
    for (let seed = 0; seed < 40; seed += 1) {
      const random = new Random(`memoryPlan/${seed}`);
      const shapes = Array.from({ length: 3 }, () => [random.whole(1, 4) * 16]);
      const lines: Line[] = [];
      const extents = shapes.map(([extent]) => extent!);
      for (let i = 0; i < 60; i += 1) {
        const a = random.whole(Math.max(0, extents.length - 6), extents.length - 1);
        const same = extents.flatMap((extent, id) => (extent === extents[a] ? [id] : []));
        const line: Line = random.pick([
          twice(a),
          ['add', {}, [a, random.pick(same)]],
          ['multiply', {}, [a, random.pick(same)]],
          ['pad', { before: [0], after: [16] }, [a]],
          ['flatten', {}, [a, random.whole(0, extents.length - 1)]],
        ]);
        lines.push(line);
        const flat = line[2].reduce((sum, id) => sum + Math.ceil(extents[id]! / 32) * 32, 0);
        const made = { pad: extents[a]! + 16, flatten: flat };
        extents.push(line[0] === 'pad' || line[0] === 'flatten' ? made[line[0]] : extents[a]!);
      }
      const draft = draftOf(shapes, lines, [extents.length - 1, extents.length - 5]);
      const plan = planMemory(draft);
      checkProgram({ ...draft, plan });
      const apart = planMemory(draft, { inPlace: false });
      checkProgram({ ...draft, plan: apart });
      const { first, last } = liveness(draft);
      const living = draft.instructions.map((_, at) =>
        draft.values.reduce(
          (sum, a, id) =>
            apart.offsets[id] !== undefined && first[id]! <= at && last[id]! > at ? sum + byteLength(a) : sum,
          0,
        ),
      );
      expect(plan.arenaBytes).to.be.at.least(Math.max(...living));
    }
  });
});
