// Depthwise 3x3 convolutions of stride 1 and their gradients on the CUDA backend, at the sizes where what a thread has
// ends: strips of four columns, packs of four channels, ranges of rows that begin and end inside of images.

import { expect } from 'chai';
import type { Shape } from '../../lib/core/aval.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { type Given, Random } from '../support/random.ts';
import { checkSimulated, cudaDevices } from '../support/simulated.ts';
import { skip } from '../support/skip.ts';
import type { OpCase } from '../support/testOp.ts';

const images: readonly Shape[] = [
  [1, 1, 1, 8],
  [1, 2, 3, 1],
  [3, 2, 3, 30],
  [2, 5, 7, 3],
  [2, 1, 9, 16],
  [2, 9, 1, 5],
  [5, 3, 4, 20],
  [1, 40, 13, 12],
  [2, 17, 18, 36],
  [3, 10, 10, 64],
  [1, 10, 10, 1024],
  [2, 19, 19, 728],
  [1, 37, 37, 64],
];

type Make = (random: Random, x: Shape) => readonly Given[];

/** Operands of the op for an image x, and attributes beside those of the convolution. */
interface Form {
  readonly op: OpName;
  readonly inputs: Make;
  readonly more?: (x: Shape) => object;
}

const vector = (random: Random, x: Shape): Given => random.normal(x.slice(-1));
const weight = (random: Random, x: Shape): Given => random.normal([x[3]!, 3, 3, 1]);
const size = (x: Shape) => ({ size: x.slice(1, 3) });

const forms: Readonly<Record<string, Form>> = {
  forward: { op: 'conv2d', inputs: (random, x) => [random.normal(x), weight(random, x)] },
  'input gradient': {
    op: 'conv2dInputGrad',
    inputs: (random, x) => [random.normal(x), weight(random, x)],
    more: size,
  },
  'weight gradient': {
    op: 'conv2dWeightGrad',
    inputs: (random, x) => [random.normal(x), random.normal(x)],
    more: () => ({ kernel: [3, 3] }),
  },
  'ReLU on load': {
    op: 'depthwiseRelu',
    inputs: (random, x) => [random.normal(x), weight(random, x)],
    more: () => ({ relu: true }),
  },
  'both gradients, ReLU, residual': {
    op: 'depthwiseReluGrad',
    inputs: (random, x) => [random.normal(x), random.awayFromZero(x), weight(random, x), random.normal(x)],
    more: () => ({ relu: true }),
  },
  ...Object.fromEntries(
    [true, false].flatMap((relu): [string, Form][] => [
      [
        `affine map on load${relu ? ', ReLU' : ''}`,
        {
          op: 'depthwiseAffine',
          inputs: (random, x) => [random.normal(x), vector(random, x), vector(random, x), weight(random, x)],
          more: () => ({ relu }),
        },
      ],
      [
        `both gradients, affine map, sums${relu ? ', ReLU' : ''}`,
        {
          op: 'depthwiseAffineGrad',
          inputs: (random, x) => [
            random.normal(x),
            random.normal(x),
            vector(random, x),
            vector(random, x),
            weight(random, x),
          ],
          more: () => ({ relu }),
        },
      ],
    ]),
  ),
};

describe('depthwise 3x3 convolutions of the CUDA backend', function () {
  this.timeout(300_000);

  before(function () {
    if (cudaDevices.length === 0) skip(this, 'there is neither cudasim nor cuda');
  });

  for (const dtype of ['f32', 'f16', 'bf16'] as const) {
    for (const [title, { op, inputs, more }] of Object.entries(forms)) {
      it(`${title} in ${dtype}`, () => {
        for (const x of images) {
          const random = new Random(`depthwise/${title}/${dtype}/${x}`);
          const given: OpCase<unknown> = {
            inputs: inputs(random, x),
            attributes: {
              stride: [1, 1],
              padding: [1, 1, 1, 1],
              dilation: [1, 1],
              groups: x[3],
              ...more?.(x),
            },
          };
          try {
            expect(checkSimulated(allOps[op], given, dtype), 'runs').to.equal(cudaDevices.length);
          } catch (error) {
            if (error instanceof Error) error.message = `[${x}]: ${error.message}`;
            throw error;
          }
        }
      });
    }
  }
});
