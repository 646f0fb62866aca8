// How often Xception's training step goes over memory, counted in its program; and what making that program costs.

import { expect } from 'chai';
import { byteLength } from '../../lib/core/aval.ts';
import { checkProgram, instructionBytes, type Program, showProgram } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { planningBackend } from '../support/planning.ts';
import { xceptionStep } from '../support/xceptionStep.ts';

/** The middle one of the three units of the middle one of the eight modules of the middle flow. */
const unit = 'block8_sepconv2';

/** Tensors of at least this size, in bytes, are activations: the largest weight of the middle flow has 2 MB. */
const activationBytes = (batch: number) => 19 * 19 * 728 * 4 * batch;

/** Activations read or written by instructions noted as `path`'s, layout changes included. */
function passesOver(program: Program, path: string, batch: number): { line: string; passes: number }[] {
  return program.instructions.flatMap(({ op, inputs, outputs, note = '' }) => {
    if (!note.startsWith(path)) return [];
    const large = [...inputs, ...outputs].filter(
      (id) => byteLength(program.values[id]!) >= activationBytes(batch),
    );
    return large.length === 0
      ? []
      : [{ line: `${large.length}  ${op.name}  # ${note}`, passes: large.length }];
  });
}

describe("Xception's training step as a program", () => {
  const batch = 8;
  const backend = planningBackend();
  const programOf = (passes: 'all' | 'none') => {
    const xception = xceptionStep(backend, batch, 299, { passes });
    try {
      return xception.step.program(...xception.inputs);
    } finally {
      xception.dispose();
    }
  };
  let plain: Program;
  let program: Program;
  let milliseconds: number;
  before(() => {
    plain = programOf('none');
    const start = performance.now();
    program = programOf('all');
    milliseconds = performance.now() - start;
  });

  it('goes over memory at most 15 times for the middle unit of the middle flow', () => {
    const found = passesOver(program, unit, batch);
    const total = found.reduce((sum, { passes }) => sum + passes, 0);
    const before = passesOver(plain, unit, batch).reduce((sum, { passes }) => sum + passes, 0);
    console.log(
      [`    ${unit}: ${before} passes before, ${total} after`, ...found.map(({ line }) => line)].join(
        '\n      ',
      ),
    );
    expect(total).to.be.at.most(15);
    expect(total, 'nothing was overlooked: both convolutions have three directions').to.be.at.least(12);
  });

  it('is well-formed, smaller and moves less', () => {
    checkProgram(program);
    const moved = ({ instructions, ...rest }: Program) =>
      instructions.reduce(
        (sum, instruction) => sum + instructionBytes({ instructions, ...rest }, instruction),
        0,
      );
    console.log(
      `    instructions ${plain.instructions.length} → ${program.instructions.length}, ` +
        `GB read and written ${(moved(plain) / 1e9).toFixed(2)} → ${(moved(program) / 1e9).toFixed(2)}, ` +
        `arena MB ${Math.round(plain.plan.arenaBytes / 1e6)} → ${Math.round(program.plan.arenaBytes / 1e6)}`,
    );
    expect(moved(program)).to.be.below(0.7 * moved(plain));
    expect(program.plan.arenaBytes).to.be.below(0.85 * plain.plan.arenaBytes);
    expect(showProgram(program)).to.contain(`${unit}.depthwise gradient: depthwise backward`);
  });

  it('updates all parameters by one instruction, from gradients that are made where it reads them', () => {
    const made = (name: string) => program.instructions.filter(({ op }) => op.name === name);
    expect(made('momentumUpdate').length).to.equal(1);
    expect(made('polyakUpdate').length).to.equal(1);
    const [flatten] = made('flatten');
    expect(flatten!.inputs.length).to.equal(156);
    expect(instructionBytes(program, flatten!), 'bytes moved').to.equal(0);
    // Batch, scalars, constants of the normalization, running statistics; parameters, momenta and averages are three.
    expect(program.inputs.length).to.equal(6 + 2 + 80 + 3);
    expect(program.outputs.length).to.equal(2 + 80 + 3);
  });

  it('allocates nothing but what it returns: variables are updated in place', () => {
    let allocations = 0;
    const counting = {
      ...backend,
      allocate(bytes: number) {
        allocations += 1;
        return backend.allocate(bytes);
      },
    };
    const xception = xceptionStep(counting, batch, 299);
    scope(() => {
      xception.step(...xception.inputs);
      allocations = 0;
      xception.step(...xception.inputs);
      expect(allocations, 'loss and logits').to.equal(2);
    });
    xception.dispose();
  });

  it('is traced, rewritten, planned and checked in less than two seconds', () => {
    console.log(`    ${Math.round(milliseconds)} ms`);
    expect(milliseconds).to.be.below(2000);
  });
});
