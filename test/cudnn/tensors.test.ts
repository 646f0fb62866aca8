// cuDNN's computations on tensors: the ops of depthwise/cudnn on the simulated CUDA backend, whose plans are plain loops,
// against the reference's own ops; and what other devices say.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { loadAddon } from '../../lib/backend/load.ts';
import { sizeOf } from '../../lib/core/aval.ts';
import * as cudnn from '../../lib/cudnn/index.ts';
import * as cudnnOps from '../../lib/cudnn/ops.ts';
import { ops, ShapeError, scope, type Tensor, tensor, UnsupportedError } from '../../lib/index.ts';
import { devices, reference } from '../support/devices.ts';
import { Random } from '../support/random.ts';
import { skip } from '../support/skip.ts';

const allOps = Object.values(cudnnOps);

describe('cudnn: the list of ops', () => {
  const header = readFileSync(new URL('../../native/include/depthwise_cudnn_ops.h', import.meta.url), 'utf8');
  const declared = [...header.matchAll(/^\s*X\((\d+), (\w+)\)/gm)].map(
    ([, code, name]) => [name, Number(code)] as const,
  );

  it('is the same in TypeScript and in the native header, and shares no code with the backend’s ops', () => {
    expect(allOps.map(({ name }) => name).sort()).to.deep.equal(declared.map(([name]) => name).sort());
    const { addon } = loadAddon();
    expect(addon.cudnnOpTable()).to.deep.equal(Object.fromEntries(declared));
    const others = new Set(Object.values(addon.opTable()));
    expect(declared.filter(([, code]) => others.has(code))).to.deep.equal([]);
  });

  it('says of each that its gradient is another function', () => {
    expect(allOps.filter(({ vjp }) => !('none' in vjp))).to.deep.equal([]);
  });
});

const cases = [
  ['dense', [2, 9, 8, 6], [4, 3, 3, 6], { padding: 'same', stride: 2 }],
  ['depthwise', [2, 7, 7, 8], [8, 3, 3, 1], { padding: 'same', groups: 8 }],
  ['in groups, dilated', [1, 8, 9, 6], [9, 2, 3, 2], { groups: 3, dilation: 2 }],
  ['uneven padding', [1, 6, 6, 4], [4, 3, 3, 4], { padding: { top: 0, bottom: 1, left: 2, right: 0 } }],
] as const;

describe('cudnn: on tensors', () => {
  const simulated = devices.find(({ name }) => name.startsWith('cudasim'));
  const random = new Random('cudnn');

  function close(got: Float32Array, expected: Float32Array): void {
    expect(got.length).to.equal(expected.length);
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
    const error = got.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected[i] ?? 0))), 0);
    expect(error / largest).to.be.below(1e-5);
  }

  /** What `body` computes of fresh tensors of these values on a backend. */
  function on(
    backend: Backend,
    operands: readonly (readonly [readonly number[], Float32Array])[],
    body: (...tensors: Tensor[]) => Tensor,
  ): Float32Array {
    return scope(() => {
      const tensors = operands.map(([shape, values]) => tensor(values, [...shape], { backend }));
      return body(...tensors).dataSync() as Float32Array;
    });
  }

  const normal = (shape: readonly number[]) =>
    [shape, Float32Array.from(random.normal([...shape]).values)] as const;

  for (const [title, x, w, options] of cases) {
    it(`convolves as the reference does, and gives both gradients: ${title}`, function () {
      if (simulated === undefined) return skip(this, 'the simulation is not built');
      const size = [x[1], x[2]] as const;
      const kernel = [w[1], w[2]] as const;
      const y = scope(() =>
        ops
          .conv2d(
            tensor(new Float32Array(sizeOf(x)), [...x], { backend: reference }),
            tensor(new Float32Array(sizeOf(w)), [...w], { backend: reference }),
            options,
          )
          .shape.slice(),
      );
      const [image, filter, gradient] = [normal(x), normal(w), normal(y)];
      close(
        on(simulated, [image, filter], (a, b) => cudnn.convolution(a, b, options)),
        on(reference, [image, filter], (a, b) => ops.conv2d(a, b, options)),
      );
      close(
        on(simulated, [gradient, filter], (g, b) => cudnn.convolutionInputGrad(g, b, size, options)),
        on(reference, [gradient, filter], (g, b) => ops.conv2dInputGrad(g, b, size, options)),
      );
      close(
        on(simulated, [image, gradient], (a, g) => cudnn.convolutionWeightGrad(a, g, kernel, options)),
        on(reference, [image, gradient], (a, g) => ops.conv2dWeightGrad(a, g, kernel, options)),
      );
    });
  }

  it('hands on the libraries’ reason where there is no plan', function () {
    if (simulated === undefined) return skip(this, 'the simulation is not built');
    const pooling = () => on(simulated, [normal([1, 4, 4, 8])], (x) => cudnn.maxPooling(x, { kernel: 2 }).y);
    expect(pooling).to.throw(UnsupportedError, /cudnnMaxPool/);
  });

  for (const backend of [reference, ...devices.filter(({ name }) => name === 'cpu')]) {
    it(`is refused on ${backend.name}, by name`, () => {
      const given = [normal([1, 4, 4, 2]), normal([2, 1, 1, 2])];
      expect(() => on(backend, given, (x, w) => cudnn.convolution(x, w))).to.throw(
        UnsupportedError,
        /cudnnConvolution/,
      );
    });
  }

  it('checks shapes before anything is asked of a device', () => {
    const c = [8] as const;
    const state = (x: Tensor, gamma: Tensor) =>
      cudnn.batchNormTraining(x, { gamma, beta: gamma, runningMean: gamma, runningVariance: gamma }).y;
    expect(() => on(reference, [normal([1, 4, 4, 6]), normal(c)], state)).to.throw(ShapeError, /gamma/);
    const gradient = (g: Tensor, x: Tensor, gamma: Tensor) =>
      cudnn.batchNormGrad(g, x, { mean: gamma, inverseDeviation: gamma, gamma }).dx;
    const uneven = [normal([1, 4, 4, 8]), normal([1, 4, 5, 8]), normal(c)];
    expect(() => on(reference, uneven, gradient)).to.throw(ShapeError, /x/);
    const pooled = (g: Tensor) => cudnn.averagePoolingGrad(g, [8, 8], { kernel: 2 });
    expect(() => on(reference, [normal([1, 3, 3, 8])], pooled)).to.throw(ShapeError, /3x3/);
  });
});
