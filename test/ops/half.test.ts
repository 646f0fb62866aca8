// Every op that computes in f16 and bf16, on the simulation of CUDA in all orders of threads.

import { expect } from 'chai';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { halfBits, halfValue } from '../support/half.ts';
import { Random } from '../support/random.ts';
import { checkSimulated } from '../support/simulated.ts';
import { cases } from './cases.ts';

const caseCount = 6;

/** Ops that a program computes in f32, whatever the type of its activations; and those in a layout of a backend's own. */
const left: readonly OpName[] = [
  'sgdUpdate',
  'momentumUpdate',
  'rmspropUpdate',
  'rmspropMomentumUpdate',
  'adamUpdate',
  'polyakUpdate',
  'gradientGate',
  'lossScaleUpdate',
  'packFilters',
  'conv2dPacked',
  'conv2dPackedAdd',
];

describe('halves', () => {
  it('are rounded to the nearest', () => {
    for (const half of ['f16', 'bf16'] as const) {
      for (let bits = 0; bits < 0x7c00; bits += 1) {
        const [value, next] = [halfValue(half, bits), halfValue(half, bits + 1)];
        if (half === 'f16' && bits === 0x7bff) continue;
        expect(halfBits(half, value)).to.equal(bits);
        expect(halfBits(half, (value + next) / 2)).to.equal(bits + (bits % 2));
      }
    }
  });
});

for (const half of ['f16', 'bf16'] as const) {
  describe(`ops in ${half}`, () => {
    for (const name of (Object.keys(cases) as OpName[]).filter((name) => !left.includes(name))) {
      it(name, () => {
        for (let i = 0; i < caseCount; i++) {
          const random = new Random(`${name}/${half}/${i}`);
          checkSimulated(allOps[name], cases[name](random, i), half);
        }
      });
    }
  });
}
