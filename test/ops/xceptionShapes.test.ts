// Devices against the reference at shapes of Xception, where libraries choose other code than at toy sizes.

import type { Shape } from '../../lib/core/aval.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { resolvePadding } from '../../lib/ops/window.ts';
import { devices, reference } from '../support/devices.ts';
import { type Given, Random } from '../support/random.ts';
import { expectClose, runOp } from '../support/testOp.ts';

const random = new Random('xception');
const normal = (...shape: number[]): Given => random.normal(shape);

/** A convolution with TensorFlow's padding, or none, and its gradients. */
function convolution(title: string, x: Shape, w: Shape, stride: number, padding: 'same' | 'valid') {
  const [size, kernel] = [[x[1]!, x[2]!] as const, [w[1]!, w[2]!] as const];
  const attributes = {
    stride: [stride, stride],
    padding: resolvePadding('conv2d', padding, size, kernel, [stride, stride]),
    dilation: [1, 1],
    groups: x[3]! / w[3]!,
  };
  const [y] = allOps.conv2d.infer(
    [
      { shape: x, dtype: 'f32' },
      { shape: w, dtype: 'f32' },
    ],
    attributes,
  );
  const g = y!.shape;
  return [
    [title, 'conv2d', [normal(...x), normal(...w)], attributes],
    [title, 'conv2dInputGrad', [normal(...g), normal(...w)], { ...attributes, size }],
    [title, 'conv2dWeightGrad', [normal(...x), normal(...g)], { ...attributes, kernel }],
  ] as const;
}

const pool = {
  kernel: [3, 3],
  stride: [2, 2],
  padding: resolvePadding('maxPool', 'same', [37, 37], [3, 3], [2, 2]),
};

const momentum = { momentum: 0.9, nesterov: true, weightDecay: 1e-5 };

const cases: readonly (readonly [string, OpName, readonly Given[], unknown])[] = [
  ...convolution('first', [2, 37, 37, 3], [32, 3, 3, 3], 2, 'valid'),
  ...convolution('second', [2, 18, 18, 32], [64, 3, 3, 32], 1, 'valid'),
  ...convolution('depthwise', [2, 10, 10, 728], [728, 3, 3, 1], 1, 'same'),
  ...convolution('pointwise', [2, 5, 5, 728], [728, 1, 1, 728], 1, 'valid'),
  ...convolution('shortcut', [2, 9, 9, 256], [728, 1, 1, 256], 2, 'same'),
  ['middle flow', 'channelSums', [normal(2, 19, 19, 728)], {}],
  ['middle flow', 'channelGradSums', [normal(2, 19, 19, 728), normal(2, 19, 19, 728)], {}],
  ['middle flow', 'channelAffine', [normal(2, 19, 19, 728), normal(728), normal(728)], {}],
  ['entry flow', 'maxPool', [random.distinct([1, 37, 37, 128])], pool],
  ['exit flow', 'globalAvgPool', [normal(2, 10, 10, 2048)], {}],
  ['predictions', 'linear', [normal(2, 2048), normal(1000, 2048)], {}],
  ['predictions', 'softmax', [normal(8, 1000)], {}],
  ['weights', 'momentumUpdate', [normal(3000), normal(3000), normal(3000), normal()], momentum],
];

for (const device of devices) {
  describe(`shapes of Xception on ${device.name}`, () => {
    for (const [title, name, inputs, attributes] of cases) {
      it(`${name}: ${title}, ${inputs.map(({ shape }) => shape.join('x')).join(' ')}`, () => {
        const op = allOps[name];
        const [got, expected] = [device, reference].map((backend) =>
          runOp(backend, op, { inputs, attributes }),
        );
        expectClose(op, got!.data, expected!.data, 1e-5);
      });
    }
  });
}
