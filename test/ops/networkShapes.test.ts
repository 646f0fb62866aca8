// Devices against the reference at shapes of the networks, where libraries choose other code than at toy sizes.

import type { Shape } from '../../lib/core/aval.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { resolvePadding } from '../../lib/ops/window.ts';
import { devices, reference } from '../support/devices.ts';
import { type Given, Random } from '../support/random.ts';
import { expectClose, runOp } from '../support/testOp.ts';

const random = new Random('xception');
const normal = (...shape: number[]): Given => random.normal(shape);

type Case = readonly [title: string, op: OpName, inputs: readonly Given[], attributes: unknown];

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
  const made: readonly Case[] = [
    [title, 'conv2d', [normal(...x), normal(...w)], attributes],
    [title, 'conv2dInputGrad', [normal(...g), normal(...w)], { ...attributes, size }],
    [title, 'conv2dWeightGrad', [normal(...x), normal(...g)], { ...attributes, kernel }],
  ];
  return made;
}

/** The same with what a normalization after it becomes part of: sums in training, bias and ReLU at inference. */
function normalized(
  title: string,
  x: Shape,
  w: Shape,
  stride = 1,
  padding: 'same' | 'valid' = 'same',
): Case[] {
  const [forward, ...gradients] = convolution(title, x, w, stride, padding);
  const [, , inputs, attributes] = forward as Case;
  return [
    forward as Case,
    ...gradients,
    [title, 'conv2dSums', inputs, attributes],
    [title, 'conv2dBias', [...inputs, normal(w[0]!)], { ...(attributes as object), relu: true }],
  ];
}

/** Average pooling by both rules, and its gradient. */
function averages(size: number, channels: number): Case[] {
  const pool = { kernel: [3, 3], stride: [1, 1], padding: [1, 1, 1, 1] };
  return [false, true].flatMap((countPadding): Case[] => [
    ['pooling', 'avgPool', [normal(2, size, size, channels)], { ...pool, countPadding }],
    [
      'pooling',
      'avgPoolGrad',
      [normal(2, size, size, channels)],
      { ...pool, countPadding, size: [size, size] },
    ],
  ]);
}

const pool = {
  kernel: [3, 3],
  stride: [2, 2],
  padding: resolvePadding('maxPool', 'same', [37, 37], [3, 3], [2, 2]),
};

const momentum = { momentum: 0.9, nesterov: true, weightDecay: 1e-5 };

const xception: readonly Case[] = [
  ...convolution('first', [2, 37, 37, 3], [32, 3, 3, 3], 2, 'valid'),
  ...convolution('second', [2, 18, 18, 32], [64, 3, 3, 32], 1, 'valid'),
  ...convolution('depthwise', [2, 10, 10, 728], [728, 3, 3, 1], 1, 'same'),
  ...convolution('pointwise', [2, 5, 5, 728], [728, 1, 1, 728], 1, 'valid'),
  ...convolution('shortcut', [2, 9, 9, 256], [728, 1, 1, 256], 2, 'same'),
  ['middle flow', 'channelSums', [normal(2, 19, 19, 728)], {}],
  ['middle flow', 'channelGradSums', [normal(2, 19, 19, 728), normal(2, 19, 19, 728)], {}],
  // So many rows that several threads add up the partial sums of a channel.
  ['entry flow', 'channelSums', [normal(2, 64, 64, 128)], {}],
  ['middle flow', 'channelAffine', [normal(2, 19, 19, 728), normal(728), normal(728)], {}],
  ['entry flow', 'maxPool', [random.distinct([1, 37, 37, 128])], pool],
  ['exit flow', 'globalAvgPool', [normal(2, 10, 10, 2048)], {}],
  ['predictions', 'linear', [normal(2, 2048), normal(1000, 2048)], {}],
  ['predictions', 'softmax', [normal(8, 1000)], {}],
  ['weights', 'momentumUpdate', [normal(3000), normal(3000), normal(3000), normal()], momentum],
];

const joined = { axis: 3 };
const inceptionV3: readonly Case[] = [
  ...normalized('stem', [2, 19, 19, 32], [64, 3, 3, 32]),
  ...normalized('figure 5', [2, 9, 9, 48], [64, 5, 5, 48]),
  ...normalized('figure 6', [2, 9, 9, 128], [192, 1, 7, 128]),
  ...normalized('figure 6', [2, 9, 9, 160], [160, 7, 1, 160]),
  ...normalized('figure 7', [2, 5, 5, 384], [384, 1, 3, 384]),
  ...normalized('figure 7 on one pixel', [2, 1, 1, 384], [384, 3, 1, 384]),
  ...normalized('halving', [2, 9, 9, 96], [96, 3, 3, 96], 2, 'valid'),
  ...normalized('at the side', [2, 5, 5, 128], [768, 5, 5, 128], 1, 'valid'),
  ...averages(9, 192),
  [
    'at the side',
    'avgPool',
    [normal(2, 17, 17, 64)],
    { ...pool, kernel: [5, 5], stride: [3, 3], padding: [0, 0, 0, 0], countPadding: false },
  ],
  ['branches', 'concat', [normal(2, 9, 9, 64), normal(2, 9, 9, 96), normal(2, 9, 9, 32)], joined],
  ['branches', 'slice', [normal(2, 9, 9, 192)], { start: [0, 0, 0, 64], extent: [2, 9, 9, 96] }],
];

/** Between regular and depthwise convolution. */
const segments: readonly Case[] = [1, 8, 91, 364].flatMap((groups) =>
  normalized(`${groups} segments`, [2, 5, 5, 728], [728, 3, 3, 728 / groups]),
);

const cases = [
  ...xception.map((one) => ['Xception', ...one] as const),
  ...inceptionV3.map((one) => ['Inception V3', ...one] as const),
  ...segments.map((one) => ['Xception in segments', ...one] as const),
];

for (const device of devices) {
  describe(`shapes of the networks on ${device.name}`, function () {
    this.timeout(60_000);
    for (const [network, title, name, inputs, attributes] of cases) {
      it(`${name}: ${network}, ${title}, ${inputs.map(({ shape }) => shape.join('x')).join(' ')}`, () => {
        const op = allOps[name];
        const [got, expected] = [device, reference].map((backend) =>
          runOp(backend, op, { inputs, attributes }),
        );
        expectClose(op, got!.data, expected!.data, 1e-5);
      });
    }
  });
}
