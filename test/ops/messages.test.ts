// What a wrong call says. One line per case.

import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { DepthwiseError, type ErrorCode } from '../../lib/core/errors.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { reference } from '../support/devices.ts';

const f32 = (...shape: number[]): Tensor => ops.zeros(shape);
const f64 = (...shape: number[]): Tensor => ops.zeros(shape, 'f64');
const i32 = (...shape: number[]): Tensor => ops.zeros(shape, 'i32');
const u8 = (...shape: number[]): Tensor => ops.zeros(shape, 'u8');
const lr = (): Tensor => tensor(0.1);

/** Code, message without the operands at its end, and the call. */
const cases: readonly (readonly [code: ErrorCode, message: string, call: () => unknown])[] = [
  [
    'SHAPE',
    'conv2d: w expects 2 input channels per group, x has 3 (6 in 2 groups)',
    () => ops.conv2d(f32(1, 5, 5, 6), f32(4, 3, 3, 2), { groups: 2 }),
  ],
  [
    'SHAPE',
    'conv2d: groups = 4 expects to divide 6 input and 4 output channels',
    () => ops.conv2d(f32(1, 5, 5, 6), f32(4, 3, 3, 3), { groups: 4 }),
  ],
  ['SHAPE', 'conv2d: x expects 4 axes [n,h,w,c], got 3', () => ops.conv2d(f32(5, 5, 6), f32(4, 3, 3, 6))],
  ['DTYPE', 'conv2d: x expects a floating type, got u8', () => ops.conv2d(u8(1, 5, 5, 3), f32(4, 3, 3, 3))],
  ['DTYPE', 'conv2d: w expects f32 as x has, got f64', () => ops.conv2d(f32(1, 5, 5, 3), f64(4, 3, 3, 3))],
  [
    'SHAPE',
    'conv2d: x expects at least 3x3 rows and columns for its window, has 2x9 with padding',
    () => ops.conv2d(f32(1, 2, 9, 3), f32(4, 3, 3, 3)),
  ],
  [
    'SHAPE',
    'conv2d: x expects at least 7x3 rows and columns for its window, has 5x5 with padding',
    () => ops.conv2d(f32(1, 5, 5, 3), f32(4, 3, 3, 3), { dilation: [3, 1] }),
  ],
  [
    'ARGUMENT',
    'conv2d: stride expects whole numbers of at least 1, got 0, 0',
    () => ops.conv2d(f32(1, 5, 5, 3), f32(4, 3, 3, 3), { stride: 0 }),
  ],
  [
    'ARGUMENT',
    'conv2d: padding expects whole numbers of at least 0, got -1, -1, -1, -1',
    () => ops.conv2d(f32(1, 5, 5, 3), f32(4, 3, 3, 3), { padding: -1 }),
  ],
  [
    'ARGUMENT',
    'conv2d: padding expects same, valid, a number, [height, width] or { top, bottom, left, right }, got "full"',
    () => ops.conv2d(f32(1, 5, 5, 3), f32(4, 3, 3, 3), { padding: 'full' as 'same' }),
  ],
  [
    'SHAPE',
    'conv2dInputGrad: g expects 4x4 rows and columns for an image of 6x6, has 3x3',
    () => ops.conv2dInputGrad(f32(1, 3, 3, 4), f32(4, 3, 3, 3), [6, 6]),
  ],
  [
    'SHAPE',
    'conv2dWeightGrad: g expects n = 1 as x has, got 2',
    () => ops.conv2dWeightGrad(f32(1, 5, 5, 3), f32(2, 3, 3, 4), [3, 3]),
  ],
  [
    'SHAPE',
    'channelAffine: scale expects c = 5 as x has, got 4',
    () => ops.channelAffine(f32(2, 5), f32(4), f32(5)),
  ],
  [
    'DTYPE',
    'channelAffine: scale expects f32, which goes with f32 of x, got f64',
    () => ops.channelAffine(f32(2, 5), f64(5), f32(5)),
  ],
  ['SHAPE', 'channelSums: x expects 1 or more axes [...,c], got 0', () => ops.channelSums(f32())],
  [
    'ARGUMENT',
    'batchNormFold: epsilon expects a number of at least 0, got -1',
    () => ops.batchNormFold(f32(3), f32(3), f32(3), f32(3), { epsilon: -1 }),
  ],
  [
    'ARGUMENT',
    'batchNormFinalize: count expects whole numbers of at least 2, got 1',
    () => ops.batchNormTraining(f32(1, 1), f32(1), f32(1), f32(1), f32(1), { unbiased: true }),
  ],
  [
    'SHAPE',
    'batchNormFinalize: beta expects c = 3 as sum has, got 4',
    () => ops.batchNormTraining(f32(2, 3), f32(3), f32(4), f32(3), f32(3)),
  ],
  [
    'ARGUMENT',
    'batchNormFinalize: momentum expects a number from 0 to 1, got 1.5',
    () => ops.batchNormTraining(f32(2, 3), f32(3), f32(3), f32(3), f32(3), { momentum: 1.5 }),
  ],
  ['DTYPE', 'relu: x expects a floating type, got i32', () => ops.relu(i32(3))],
  [
    'ARGUMENT',
    'elu: alpha expects a number of at least 0, got NaN',
    () => ops.elu(f32(3), { alpha: Number.NaN }),
  ],
  ['SHAPE', 'reluGrad: y expects [2,3] as g has, got [3,2]', () => ops.reluGrad(f32(2, 3), f32(3, 2))],
  [
    'ARGUMENT',
    'maxPool: padding expects to be smaller than the kernel 2x2, got 2,2,2,2',
    () => ops.maxPool(f32(1, 4, 4, 1), { kernel: 2, padding: 2 }),
  ],
  [
    'ARGUMENT',
    'maxPool: kernel expects at most 256 elements, got 20x20',
    () => ops.maxPool(f32(1, 40, 40, 1), { kernel: 20 }),
  ],
  [
    'SHAPE',
    'maxPool: x expects at least 5x5 rows and columns for its window, has 4x4 with padding',
    () => ops.maxPool(f32(1, 4, 4, 1), { kernel: 5 }),
  ],
  ['SHAPE', 'avgPool: x expects 4 axes [n,h,w,c], got 3', () => ops.avgPool(f32(4, 4, 1), { kernel: 2 })],
  [
    'ARGUMENT',
    'avgPool: kernel expects whole numbers of at least 1, got 1.5, 1.5',
    () => ops.avgPool(f32(1, 4, 4, 1), { kernel: 1.5 }),
  ],
  ['SHAPE', 'globalAvgPool: x expects at least one row and column', () => ops.globalAvgPool(f32(1, 0, 4, 1))],
  ['SHAPE', 'linear: w expects i = 3 as x has, got 4', () => ops.linear(f32(2, 3), f32(5, 4))],
  ['SHAPE', 'addBias: b expects c = 5 as x has, got 4', () => ops.linear(f32(2, 3), f32(5, 3), f32(4))],
  ['SHAPE', 'linear: x expects 2 axes [n,i], got 3', () => ops.linear(f32(2, 3, 1), f32(5, 3))],
  ['SHAPE', 'add: b expects extents of 1 or those of a', () => ops.add(f32(2, 3), f32(2, 4))],
  ['DTYPE', 'add: b expects f32 as a has, got f64', () => ops.add(f32(2), f64(2))],
  ['ARGUMENT', 'add: a or b expects a tensor, got two numbers', () => ops.add(1, 2)],
  ['DTYPE', 'multiply: a expects a floating type, got i32', () => ops.multiply(i32(2), i32(2))],
  [
    'ARGUMENT',
    'sum: axes expects different ones from 0 to 1 in ascending order, got [2]',
    () => ops.sum(f32(2, 3), { axes: 2 }),
  ],
  [
    'ARGUMENT',
    'sum: axes expects different ones from 0 to 1 in ascending order, got [1,1]',
    () => ops.sum(f32(2, 3), { axes: [1, 1] }),
  ],
  [
    'SHAPE',
    'broadcast: x expects extents of 1 or those of [3], aligned at the last axis',
    () => ops.broadcast(f32(2), [3]),
  ],
  ['ARGUMENT', 'fill: shape expects whole numbers of at least 0, got 2, -1', () => ops.fill([2, -1], 0)],
  [
    'ARGUMENT',
    'cast: dtype expects f32, f64, f16, bf16, i32, u8, got f8',
    () => ops.cast(f32(2), 'f8' as 'f32'),
  ],
  ['ARGUMENT', 'concat: expected 1 operands (xs), got 0', () => ops.concat([])],
  [
    'SHAPE',
    'concat: xs expects the extents of the first except along axis 0, got [2,4]',
    () => ops.concat([f32(2, 3), f32(2, 4)]),
  ],
  ['DTYPE', 'concat: xs expects f32 as the first has, got f64', () => ops.concat([f32(2), f64(2)])],
  ['ARGUMENT', 'concat: axis expects 0 to 0, got 1', () => ops.concat([f32(2)], 1)],
  ['SHAPE', 'slice: x expects to hold a block of [2,2] at [0,2]', () => ops.slice(f32(2, 3), [0, 2], [2, 2])],
  ['SHAPE', 'slice: x expects to hold a block of [2,3] at [0]', () => ops.slice(f32(2, 3), [0])],
  ['SHAPE', 'pad: x expects 1 axes as before has, and 1 as after has', () => ops.pad(f32(2, 3), [1], [1])],
  ['SHAPE', 'reshape: x expects 4 elements for [4], has 6', () => ops.reshape(f32(2, 3), [4])],
  [
    'ARGUMENT',
    'reshape: shape expects whole numbers of at least 0, got 4, 1.5',
    () => ops.reshape(f32(2, 3), [4, -1]),
  ],
  [
    'SHAPE',
    'dropout: counter expects 2 elements, seed and step; got 3',
    () => ops.dropout(f32(3), i32(3), { rate: 0.5 }),
  ],
  ['DTYPE', 'dropout: counter expects i32, got f32', () => ops.dropout(f32(3), f32(2), { rate: 0.5 })],
  [
    'ARGUMENT',
    'dropout: rate expects a number from 0 to below 1, got 1',
    () => ops.dropout(f32(3), i32(2), { rate: 1 }),
  ],
  [
    'ARGUMENT',
    'dropout: stream expects a whole number from 0 to below 2^32, got -1',
    () => ops.dropout(f32(3), i32(2), { rate: 0.5, stream: -1 }),
  ],
  ['SHAPE', 'softmax: x expects 2 axes [n,c], got 1', () => ops.softmax(f32(3))],
  [
    'DTYPE',
    'softmaxCrossEntropy: labels expects i32, got f32',
    () => ops.softmaxCrossEntropy(f32(2, 3), f32(2)),
  ],
  [
    'SHAPE',
    'softmaxCrossEntropy: labels expects n = 2 as logits has, got 3',
    () => ops.softmaxCrossEntropy(f32(2, 3), i32(3)),
  ],
  [
    'ARGUMENT',
    'softmaxCrossEntropy: smoothing expects a number from 0 to below 1, got 1',
    () => ops.softmaxCrossEntropy(f32(2, 3), i32(2), { smoothing: 1 }),
  ],
  [
    'SHAPE',
    'sigmoidCrossEntropy: targets expects c = 3 as logits has, got 4',
    () => ops.sigmoidCrossEntropy(f32(2, 3), f32(2, 4)),
  ],
  [
    'DTYPE',
    'normalizeImages: x expects u8 or f32, got i32',
    () => ops.normalizeImages(i32(1, 2, 2, 3), f32(3), f32(3)),
  ],
  [
    'DTYPE',
    'normalizeImages: dtype expects a floating type, got u8',
    () => ops.normalizeImages(u8(1, 2, 2, 3), f32(3), f32(3), { dtype: 'u8' }),
  ],
  [
    'SHAPE',
    'normalizeImages: scale expects c = 3 as x has, got 1',
    () => ops.normalizeImages(u8(1, 2, 2, 3), f32(1), f32(3)),
  ],
  ['SHAPE', 'sgdUpdate: g expects [3] as w has, got [4]', () => ops.sgdUpdate(f32(3), f32(4), lr())],
  ['SHAPE', 'sgdUpdate: lr expects 0 axes [], got 1', () => ops.sgdUpdate(f32(3), f32(3), f32(1))],
  [
    'ARGUMENT',
    'momentumUpdate: momentum expects a number from 0 to 1, got 2',
    () => ops.momentumUpdate(f32(3), f32(3), f32(3), lr(), { momentum: 2 }),
  ],
  [
    'ARGUMENT',
    'rmspropUpdate: epsilon expects a number of at least 0, got -1',
    () => ops.rmspropUpdate(f32(3), f32(3), f32(3), lr(), { epsilon: -1 }),
  ],
  [
    'ARGUMENT',
    'adamUpdate: beta1 expects a number from 0 to below 1, got 1',
    () => ops.adamUpdate(f32(3), f32(3), f32(3), f32(3), lr(), tensor(1), { beta1: 1 }),
  ],
  [
    'DTYPE',
    'channelAffine: scale expects f64, which goes with f64 of x, got f32',
    () => ops.channelAffine(f64(2, 5), f32(5), f64(5)),
  ],
];

/** The error of a call, on the reference backend; what it makes on the way is freed. */
function errorOf(call: () => unknown): DepthwiseError {
  try {
    withBackend(reference, () => scope(() => void call()));
  } catch (error) {
    if (error instanceof DepthwiseError) return error;
    throw error;
  }
  throw new Error('the call went through');
}

describe('messages of wrong calls', () => {
  it('name the op, the argument, what was expected, what came, and all shapes', () => {
    const error = errorOf(() => ops.conv2d(f32(32, 35, 35, 96), f32(64, 3, 3, 64)));
    expect(error.message).to.equal(
      'conv2d: w expects 64 input channels per group, x has 96 (x f32[32,35,35,96], w f32[64,3,3,64])',
    );
  });

  for (const [code, message, call] of cases) {
    it(message, () => {
      const error = errorOf(call);
      expect(error.message.replace(/ \([^()]*\)$/, '')).to.equal(message);
      expect(error.code).to.equal(code);
    });
  }
});
