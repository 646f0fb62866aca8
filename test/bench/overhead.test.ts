// What TypeScript costs: that times are told apart by who took them, and that an exceeded bar is said.

import { expect } from 'chai';
import { measureEager, measureStep } from '../../bench/support/overhead.ts';
import { overheadRows, overheadText } from '../../bench/support/overheadReport.ts';
import { TimedBackend } from '../../bench/support/timedBackend.ts';
import { memory, openDevice, ops, scope, tensor } from '../../lib/index.ts';

const same = (value: number) => ({ median: value, min: value, max: value });

describe('bench: overhead', () => {
  it('tells time in the backend from the rest, by method', () => {
    const backend = new TimedBackend(openDevice('cpu'));
    scope(() => {
      const x = tensor([1, 2, 3], [3], { backend });
      expect([...ops.add(x, x).dataSync()]).to.deep.equal([2, 4, 6]);
    });
    for (const method of ['allocate', 'write', 'prepare', 'run', 'readSync', 'release'] as const) {
      expect(backend.spent(method), method).to.be.greaterThan(0);
    }
    expect(backend.spent()).to.be.greaterThan(backend.spent('run'));
    backend.reset();
    expect(backend.spent()).to.equal(0);
  });

  it('queues eager ops in a process of their own', async () => {
    const found = await measureEager('sources', 1);
    expect(found.map(({ op }) => op)).to.deep.equal(['add', 'relu', 'conv2d, depthwise']);
    for (const { op, queue, whole, processor } of found) {
      expect(queue, op).to.be.greaterThan(0);
      expect(whole, op).to.be.at.least(queue);
      expect(processor, op).to.be.greaterThan(0);
    }
  });

  it('compiles and runs a training step, phase by phase', async () => {
    const before = memory().tensors;
    const { compile, step } = await measureStep(openDevice('cpu'), { size: 71, batch: 1, steps: 2 });
    expect(memory().tensors).to.equal(before);
    const { total, trace, passes, plan, check, native, instructions, arenaBytes } = compile;
    for (const phase of [trace, passes, plan, check, native]) expect(phase).to.be.within(0, total);
    expect(trace + passes + plan + check + native).to.be.closeTo(total, 1e-6);
    expect(instructions).to.be.greaterThan(100);
    expect(arenaBytes).to.be.greaterThan(1e6);
    expect(step.script.median + step.native.median).to.be.lessThan(step.step.median);
  }).timeout(240_000);

  it('holds the figures against their bars', () => {
    const step = { script: same(0.3), native: same(0.1), step: same(2000), processor: 1 };
    const phases = { trace: 1, passes: 2, plan: 3, check: 4, native: 5, firstRun: 6 };
    const compile = { total: 1999, ...phases, instructions: 400, arenaBytes: 5e9 };
    const found = {
      step,
      compile,
      eager: {
        package: [{ op: 'add', queue: 9.5, whole: 11, processor: 9 }],
        sources: [{ op: 'add', queue: 11, whole: 12, processor: 10 }],
      },
    };
    const barOf = new Map(overheadRows(found).map(([what, , , bar]) => [what, bar]));
    expect(barOf.get('compiled step: JavaScript')).to.equal('EXCEEDS 0.2');
    expect(barOf.get('eager add, package: queue')).to.equal('under 10');
    expect(barOf.get('eager add, sources: queue')).to.equal('EXCEEDS 10');
    expect(barOf.get('compile: in all')).to.equal('under 2000');
    expect(overheadText(found)).to.contain('The program: 400 instructions, arena 5000 MB.');
  });
});
