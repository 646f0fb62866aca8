// Fused ops of the CUDA backend by each of their ways: in one plan or kernel, in the steps that this stands for, and in
// steps because the plan cannot be built after all. On the simulation, whose plans take the time that a test gives them.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadAddon, pluginPath } from '../../lib/backend/load.ts';
import { NativeBackend, type NativeOptions } from '../../lib/backend/native.ts';
import { aval } from '../../lib/core/aval.ts';
import { LoadError } from '../../lib/core/errors.ts';
import { type OpName, opTable } from '../../lib/ops/index.ts';
import { cases } from '../ops/cases.ts';
import { isRequired, reference } from '../support/devices.ts';
import { Random } from '../support/random.ts';
import { skip } from '../support/skip.ts';
import { type CaseMaker, expectClose, type OpCase, runOp } from '../support/testOp.ts';

/** Milliseconds of plans by parts of their keys, as native/cudasim/plans.cc reads them; a kernel takes one. */
const script = {
  /** Convolutions by themselves are slow: what does more in one is faster. */
  inOne: 'fusion=0:1000',
  /** What does more in one is slow, and convolutions by themselves outweigh any number of kernels. */
  inSteps: 'fusion=0:-100;fusion=:1000',
  /** What does more in one is proposed and then cannot be built. */
  fails: 'fusion=0:1;fusion=:fails',
} as const;

const fused = [
  'conv2dSums',
  'conv2dInputGradAffine2',
  'conv2dWeightGradAffine2',
  'conv2dBias',
  'conv2dBiasAdd',
  'depthwiseAffine',
  'depthwiseRelu',
  'depthwiseAffineGrad',
  'depthwiseReluGrad',
] as const satisfies readonly OpName[];

const perOp = 20;

describe('ways of fused ops on cudasim', () => {
  let folder: string;
  const environment = { plans: process.env.DEPTHWISE_CUDASIM_PLANS, cache: process.env.DEPTHWISE_PLAN_CACHE };

  before(function () {
    try {
      pluginPath('cudasim');
    } catch (error) {
      if (!(error instanceof LoadError) || isRequired('cudasim')) throw error;
      skip(this, error.message.split('\n')[0] as string);
    }
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-ways-'));
    process.env.DEPTHWISE_PLAN_CACHE = folder;
  });
  afterEach(() => {
    restore('DEPTHWISE_CUDASIM_PLANS', environment.plans);
    restore('DEPTHWISE_PLAN_CACHE', environment.cache);
    rmSync(folder, { recursive: true });
  });

  function restore(name: string, value: string | undefined): void {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }

  /** A device whose plans take these times. */
  function open(times: string, options: NativeOptions = {}): NativeBackend {
    process.env.DEPTHWISE_CUDASIM_PLANS = times;
    return new NativeBackend(loadAddon().addon, pluginPath('cudasim'), 'cudasim:0', options);
  }

  /** What was kept of the choices for an op: the way's name for each question. */
  function answers(op: string): Map<string, string> {
    const kept = new Map<string, string>();
    for (const name of readdirSync(folder)) {
      const [, , key = '', , answer = ''] = readFileSync(join(folder, name), 'utf8').split('\n');
      if (key.startsWith(`choice ${op} `)) kept.set(key, answer);
    }
    return kept;
  }

  /** Runs cases of an op, each held to the reference, as far as the device supports them; returns how many. */
  function check(device: NativeBackend, name: OpName): number {
    const op = opTable[name];
    const make = cases[name] as CaseMaker<unknown>;
    let ran = 0;
    for (let i = 0; i < perOp; i += 1) {
      const given = make(new Random(`${name} ${i}`), i);
      const avals = given.inputs.map(({ shape, dtype }) => aval(shape, dtype ?? 'f32'));
      if (!device.supports(op, avals, given.attributes).supported) continue;
      expectClose(op, runOp(device, op, given).data, runOp(reference, op, given).data, 1e-5);
      ran += 1;
    }
    return ran;
  }

  for (const name of fused) {
    const own = name.startsWith('depthwise') ? 'own, in one' : 'in one';
    for (const [way, wanted] of [
      ['inOne', own],
      ['inSteps', 'in steps'],
    ] as const) {
      it(`${name}: ${wanted}, where that is faster`, () => {
        const device = open(script[way]);
        try {
          expect(check(device, name)).to.be.at.least(2);
        } finally {
          device.dispose();
        }
        const kept = [...answers(name).values()];
        expect(kept).not.to.be.empty;
        expect(new Set(kept)).to.deep.equal(new Set([wanted]));
      });
    }
  }

  for (const name of fused.filter((op) => op.startsWith('conv2d'))) {
    it(`${name}: in steps where the plan cannot be built`, () => {
      const device = open(script.fails);
      try {
        expect(check(device, name)).to.be.greaterThan(2);
      } finally {
        device.dispose();
      }
      expect([...answers(name)]).to.be.empty; // of one way there is no choice
    });
  }

  for (const name of ['conv2d', 'conv2dInputGrad', 'conv2dWeightGrad'] as const) {
    for (const [times, wanted] of [
      ['matrix:0.5', 'product'],
      ['matrix:9', 'convolution'],
    ] as const) {
      it(`${name}: of 1x1 as a ${wanted}, where that is faster`, () => {
        const device = open(times);
        try {
          const op = opTable[name];
          for (const i of [0, 1, 2]) {
            const given = pointwise(name, new Random(`${name} 1x1 ${i}`));
            expectClose(op, runOp(device, op, given).data, runOp(reference, op, given).data, 1e-5);
          }
        } finally {
          device.dispose();
        }
        expect(new Set(answers(name).values())).to.deep.equal(new Set([wanted]));
      });
    }

    it(`${name}: of 1x1 as a product where there is no plan for a convolution`, () => {
      const device = open('fusion=0:fails');
      const op = opTable[name];
      const given = pointwise(name, new Random(`${name} 1x1`));
      expectClose(op, runOp(device, op, given).data, runOp(reference, op, given).data, 1e-5);
      device.dispose();
    });
  }

  it('say why where none can be taken', () => {
    const device = open('fusion=:fails;matrix:fails');
    const given = pointwise('conv2d', new Random('none'));
    expect(() => runOp(device, opTable.conv2d, given)).to.throw(/this plan is to fail/);
    device.dispose();
  });

  it('are remembered by the next opening, whatever the times are then', () => {
    for (const times of [script.inOne, script.inSteps]) {
      const device = open(times);
      check(device, 'conv2dSums');
      device.dispose();
      expect(new Set(answers('conv2dSums').values())).to.deep.equal(new Set(['in one']));
    }
  });

  it('are others where TF32 is allowed, and it is not by itself', () => {
    const device = open('matrix:0.5', { allowTf32: true });
    const given = pointwise('conv2d', new Random('tf32'));
    runOp(device, opTable.conv2d, given);
    device.dispose();
    const exact = open('matrix:9');
    runOp(exact, opTable.conv2d, given);
    exact.dispose();
    const kept = [...answers('conv2d')].map(([question, answer]) => [/ tf32 of /.test(question), answer]);
    expect(kept).to.have.deep.members([
      [true, 'product'],
      [false, 'convolution'],
    ]);
  });

  it('are chosen anew where what is remembered cannot be built', () => {
    for (const times of [script.inOne, script.fails]) {
      const device = open(times);
      expect(check(device, 'conv2dSums')).to.be.greaterThan(2);
      device.dispose();
    }
  });

  it('are not timed on a deterministic device: the first is taken', () => {
    const device = open(script.inSteps, { deterministic: true });
    check(device, 'conv2dSums');
    check(device, 'depthwiseAffineGrad');
    device.dispose();
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it('are not timed where the time for choosing is spent', () => {
    process.env.DEPTHWISE_PLAN_SECONDS = '0';
    try {
      const device = open(script.inSteps);
      check(device, 'conv2dSums');
      device.dispose();
    } finally {
      delete process.env.DEPTHWISE_PLAN_SECONDS;
    }
    expect(readdirSync(folder)).to.deep.equal([]);
  });
});

/** A convolution of 1x1, or one of its gradients. */
function pointwise(name: 'conv2d' | 'conv2dInputGrad' | 'conv2dWeightGrad', random: Random): OpCase<unknown> {
  const image = [random.whole(1, 3), random.whole(1, 5), random.whole(1, 5)];
  const [c, o] = [random.whole(1, 9), random.whole(1, 9)];
  const [x, filters, y] = [
    [...image, c],
    [o, 1, 1, c],
    [...image, o],
  ];
  const attributes = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
  if (name === 'conv2d') return { inputs: [random.normal(x), random.normal(filters)], attributes };
  if (name === 'conv2dInputGrad')
    return {
      inputs: [random.normal(y), random.normal(filters)],
      attributes: { ...attributes, size: image.slice(1) },
    };
  return { inputs: [random.normal(x), random.normal(y)], attributes: { ...attributes, kernel: [1, 1] } };
}
