// The program checker refuses every kind of malformed program, and the memory plan is legal on random programs.

import { expect } from 'chai';
import { aval, byteLength } from '../../lib/core/aval.ts';
import type { AnyOp } from '../../lib/core/op.ts';
import { planMemory } from '../../lib/core/passes/memoryPlan.ts';
import { philox4x32 } from '../../lib/core/philox.ts';
import {
  checkProgram,
  encodeProgram,
  type Instruction,
  liveness,
  MalformedProgramError,
  type Part,
  type Program,
  showProgram,
} from '../../lib/core/program.ts';
import { opTable } from '../../lib/ops/index.ts';

const add = opTable.add as AnyOp;
const scale = opTable.scale as AnyOp;
const four = aval([4], 'f32');

/** y = (x + x) * 2 */
function small(): Program {
  const draft = {
    values: [four, four, four],
    inputs: [0],
    outputs: [2],
    instructions: [
      { op: add, attributes: {}, inputs: [0, 0], outputs: [1] },
      { op: scale, attributes: { factor: 2 }, inputs: [1], outputs: [2] },
    ],
  };
  return { ...draft, plan: planMemory(draft) };
}

const replaced = (program: Program, at: number, changes: Partial<Instruction>): Program => ({
  ...program,
  instructions: program.instructions.map((instruction, i) =>
    i === at ? { ...instruction, ...changes } : instruction,
  ),
});

describe('programs', () => {
  it('accepts a good one', () => {
    checkProgram(small());
  });

  const bad: [string, (good: Program) => Program, string][] = [
    ['a value used before it is made', (p) => replaced(p, 0, { inputs: [0, 1] }), 'before it is made'],
    ['a value made twice', (p) => replaced(p, 1, { outputs: [1] }), 'a second time'],
    ['an input made again', (p) => replaced(p, 1, { outputs: [0] }), 'a second time'],
    ['a value that is not there', (p) => replaced(p, 1, { inputs: [9] }), 'before it is made'],
    ['a missing output', (p) => replaced(p, 1, { outputs: [] }), 'its op makes 1'],
    ['another shape', (p) => ({ ...p, values: [four, four, aval([5], 'f32')] }), 'declared f32[5]'],
    ['another type', (p) => ({ ...p, values: [four, four, aval([4], 'i32')] }), 'declared i32[4]'],
    ['an input twice', (p) => ({ ...p, inputs: [0, 0] }), 'an input twice'],
    ['an output never made', (p) => ({ ...p, outputs: [2, 3], values: [...p.values, four] }), 'never made'],
    ['a temporary without a place', (p) => ({ ...p, plan: { offsets: [], arenaBytes: 64 } }), 'no place'],
    [
      'a place beyond the arena',
      (p) => ({ ...p, plan: { offsets: [undefined, 64, undefined], arenaBytes: 64 } }),
      'of an arena of 64 bytes',
    ],
    [
      'a place that is not aligned',
      (p) => ({ ...p, plan: { offsets: [undefined, 4, undefined], arenaBytes: 64 } }),
      'lies at 4',
    ],
    [
      'a place for an output',
      (p) => ({ ...p, plan: { offsets: [undefined, 0, 0], arenaBytes: 64 } }),
      'comes with each run',
    ],
  ];
  for (const [what, make, message] of bad) {
    it(`refuses ${what}`, () => {
      expect(() => checkProgram(make(small()))).to.throw(MalformedProgramError, message);
    });
  }

  it('refuses two living temporaries in one place', () => {
    const draft = {
      values: [four, four, four, four],
      inputs: [0],
      outputs: [3],
      instructions: [
        { op: scale, attributes: { factor: 2 }, inputs: [0], outputs: [1] },
        { op: scale, attributes: { factor: 3 }, inputs: [0], outputs: [2] },
        { op: add, attributes: {}, inputs: [1, 2], outputs: [3] },
      ],
    };
    const plan = { offsets: [undefined, 0, 0, undefined], arenaBytes: 64 };
    expect(() => checkProgram({ ...draft, plan })).to.throw(MalformedProgramError, 'share memory');
  });

  it('plans random programs legally, within what lives at once and all together', () => {
    for (let seed = 0; seed < 30; seed += 1) {
      let drawn = 0;
      const random = (below: number) => (philox4x32([drawn++, 0, 0, 0], [seed, 1])[0] as number) % below;
      const values = [four];
      const instructions: Instruction[] = [];
      for (let i = 0; i < 60; i += 1) {
        const source = random(values.length);
        const before = [random(8), random(8)];
        const op = opTable.pad as AnyOp;
        const attributes = { before: [before[0]], after: [before[1]] };
        const [out] = op.infer([values[source]!], attributes);
        instructions.push({ op, attributes, inputs: [source], outputs: [values.push(out!) - 1] });
      }
      const draft = { values, inputs: [0], outputs: [values.length - 1], instructions };
      const plan = planMemory(draft);
      checkProgram({ ...draft, plan });
      const all = values.reduce((sum, a) => sum + Math.ceil(byteLength(a) / 64) * 64, 0);
      expect(plan.arenaBytes).to.be.at.most(all);
    }
  });

  /** y = the last 4 of x[36], doubled */
  function ofPart(changes: Partial<Part> = {}): Program {
    const draft = {
      values: [aval([36], 'f32'), four, four],
      inputs: [0],
      parts: [{ value: 1, of: 0, offset: 128, ...changes }],
      outputs: [2],
      instructions: [{ op: scale, attributes: { factor: 2 }, inputs: [1], outputs: [2] }],
    };
    return { ...draft, plan: planMemory(draft) };
  }

  it('takes parts of inputs for values, and keeps an input as long as a part of it', () => {
    const program = ofPart();
    checkProgram(program);
    expect(liveness(program).last).to.deep.equal([0, 0, 1]);
    expect(showProgram(program)).to.contain('\n  parts of %0: %1 f32[4] at 128\n');
    expect([...encodeProgram(program, () => 53)]).to.deep.equal([
      ...[2, 3, 1, 1, 1, 1, 0], // version, counts, arena
      ...[0, 1, 36, -1, 0, 1, 4, -1, 0, 1, 4, -1], // values
      ...[0, 2], // input, output
      ...[1, 0, 128], // value, position of the input, offset
      ...[53, 1, 1, 1, 1, 2, 2],
    ]);
  });

  const badParts: [string, Partial<Part>, string][] = [
    ['of what is no input', { of: 2 }, 'which is no input'],
    ['that leaves its input', { offset: 192 }, 'lies at 192..208 of %0'],
    ['that is not aligned', { offset: 4 }, 'lies at 4..20 of %0'],
    ['that is an input itself', { value: 0 }, 'a part and something else too'],
    ['that is made again', { value: 2 }, 'before it is made'],
  ];
  for (const [what, changes, message] of badParts) {
    it(`refuses a part ${what}`, () => {
      expect(() => checkProgram({ ...ofPart(), parts: ofPart(changes).parts ?? [] })).to.throw(
        MalformedProgramError,
        message,
      );
    });
  }

  it('encodes for native code as documented', () => {
    const payload = encodeProgram(small(), (name) => (name === 'add' ? 50 : 53));
    expect([...payload]).to.deep.equal([
      ...[2, 3, 1, 1, 2, 0, 64], // version, counts, arena
      ...[0, 1, 4, -1], // dtype, rank, extent, offset
      ...[0, 1, 4, 0],
      ...[0, 1, 4, -1],
      ...[0, 2], // inputs, outputs
      ...[50, 2, 1, 0, 0, 0, 1],
      ...[53, 1, 1, 1, 1, 2, 2],
    ]);
  });
});
