// Ops against numbers known from elsewhere, and corners of their attributes.

import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { scope } from '../../lib/core/scope.ts';
import { grad } from '../../lib/core/tape.ts';
import { type Tensor, type TensorOptions, tensor } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import type { PaddingOption } from '../../lib/ops/window.ts';
import { devices, reference } from '../support/devices.ts';
import { Random } from '../support/random.ts';
import { relativeError } from '../support/testOp.ts';

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
const i32: TensorOptions = { dtype: 'i32' };
const random = new Random('known');
const normal = (shape: readonly number[]): Tensor =>
  tensor(Float32Array.from(random.normal(shape).values), shape);

for (const backend of [reference, ...devices]) {
  /** A test on this device whose tensors go when it ends. */
  const test = (title: string, body: () => void) => it(title, () => withBackend(backend, () => scope(body)));
  const close = (got: Tensor, expected: readonly number[], within = 1e-6) =>
    expect(
      relativeError(got.dataSync(), expected),
      `[${got.dataSync()}] against [${expected}]`,
    ).to.be.at.most(within);
  const equal = (got: Tensor, expected: readonly number[]) =>
    expect([...got.dataSync()]).to.deep.equal([...expected]);

  describe(`known values on ${backend.name}`, () => {
    test('conv2d is a cross-correlation: Sobel on a ramp', () => {
      const x = tensor(range(16), [1, 4, 4, 1]); // rows grow by 4, columns by 1
      const sobel = tensor([-1, 0, 1, -2, 0, 2, -1, 0, 1], [1, 3, 3, 1]);
      equal(ops.conv2d(x, sobel), [8, 8, 8, 8]);
    });

    test('conv2d with dilation and stride takes the taps apart', () => {
      const x = tensor(range(25), [1, 5, 5, 1]);
      const corners = tensor([1, 0, 0, 100], [1, 2, 2, 1]);
      equal(ops.conv2d(x, corners, { dilation: 2, stride: 2 }), [1301, 1503, 2311, 2513]);
    });

    test('conv2d with groups mixes only within a group', () => {
      const x = tensor([1, 2, 3, 4], [1, 1, 1, 4]);
      const w = tensor([1, 10, 1, 10], [2, 1, 1, 2]);
      equal(ops.conv2d(x, w, { groups: 2 }), [21, 43]);
      equal(ops.conv2d(x, tensor([2, 3, 4, 5], [4, 1, 1, 1]), { groups: 4 }), [2, 6, 12, 20]);
    });

    test('conv2d pads each side by itself', () => {
      const x = tensor([1], [1, 1, 1, 1]);
      const w = tensor(range(9), [1, 3, 3, 1]);
      const padded = ops.conv2d(x, w, { padding: { top: 2, bottom: 0, left: 0, right: 2 } });
      equal(padded, [7]);
      expect(ops.conv2d(x, w, { padding: [2, 1] }).shape).to.deep.equal([1, 3, 1, 1]);
    });

    test('a depthwise convolution of 728 channels is 728 convolutions', () => {
      const [x, w] = [normal([1, 4, 4, 728]), normal([728, 3, 3, 1])];
      const whole = ops.conv2d(x, w, { groups: 728, padding: 'same' });
      const one = ops.conv2d(ops.slice(x, [0, 0, 0, 727], [1, 4, 4, 1]), ops.slice(w, [727, 0, 0, 0]), {
        padding: 'same',
      });
      close(ops.slice(whole, [0, 0, 0, 727]), [...one.dataSync()]);
    });

    test('a pointwise convolution is a matrix product', () => {
      const [x, w] = [normal([2, 3, 3, 5]), normal([4, 1, 1, 5])];
      const product = ops.linear(ops.reshape(x, [18, 5]), ops.reshape(w, [4, 5]));
      close(ops.conv2d(x, w), [...product.dataSync()], 1e-5);
    });

    // tf.nn.conv2d's rule: out = ceil(in / stride); the odd row goes to the bottom.
    // [extent, kernel, stride, dilation] → [padding before, after, out]
    for (const [extent, kernel, stride, dilation, before, after, out] of [
      [5, 3, 1, 1, 1, 1, 5],
      [5, 2, 1, 1, 0, 1, 5],
      [6, 3, 2, 1, 0, 1, 3],
      [7, 3, 2, 1, 1, 1, 4],
      [147, 3, 2, 1, 1, 1, 74],
      [10, 3, 3, 1, 1, 1, 4],
      [9, 3, 3, 1, 0, 0, 3],
      [4, 1, 2, 1, 0, 0, 2],
      [8, 4, 1, 1, 1, 2, 8],
      [8, 3, 1, 2, 2, 2, 8],
      [1, 7, 1, 1, 3, 3, 1],
    ] as const) {
      test(`'same' of extent ${extent}, kernel ${kernel}, stride ${stride}, dilation ${dilation}`, () => {
        const [x, w] = [normal([1, extent, 1, 1]), normal([1, kernel, 1, 1])];
        const conv = (padding: PaddingOption) =>
          ops.conv2d(x, w, { padding, stride: [stride, 1], dilation: [dilation, 1] });
        const same = conv('same');
        expect(same.shape).to.deep.equal([1, out, 1, 1]);
        equal(same, [...conv({ top: before, bottom: after, left: 0, right: 0 }).dataSync()]);
      });
    }

    test('batch normalization gives mean beta and deviation gamma', () => {
      const x = ops.add(ops.scale(normal([8, 4, 4, 3]), 3), 5);
      const [gamma, beta] = [tensor([1, 2, 3]), tensor([0, -1, 4])];
      const { y } = ops.batchNormTraining(x, gamma, beta, ops.zeros([3]), ops.ones([3]), { epsilon: 0 });
      const flat = ops.reshape(y, [128, 3]);
      const mean = ops.mean(flat, { axes: 0 });
      close(mean, [0, -1, 4], 1e-4);
      close(ops.mean(ops.square(ops.subtract(flat, mean)), { axes: 0 }), [1, 4, 9], 1e-4);
    });

    test('running statistics follow the biased or the unbiased variance', () => {
      const x = tensor([1, 3], [2, 1]); // mean 2, variance 1 biased, 2 unbiased
      const run = (unbiased: boolean) =>
        ops.batchNormTraining(x, tensor([1]), tensor([0]), tensor([10]), tensor([10]), {
          momentum: 0.9,
          unbiased,
        });
      close(run(false).runningMean, [9.2]);
      close(run(false).runningVariance, [9.1]);
      close(run(true).runningVariance, [9.2]);
    });

    test('the variance of a constant is 0, not what rounding makes of it', () => {
      const x = ops.fill([1000, 1], 1000.1);
      const { y } = ops.batchNormTraining(x, tensor([1]), tensor([2]), tensor([0]), tensor([0]), {
        momentum: 0,
      });
      expect([...y.dataSync()].every(Number.isFinite)).to.equal(true);
    });

    test('inference normalizes by the statistics given', () => {
      const y = ops.batchNormInference(
        tensor([5, 9], [2, 1]),
        tensor([2]),
        tensor([1]),
        tensor([3]),
        tensor([4]),
        {
          epsilon: 0,
        },
      );
      close(y, [3, 7]);
    });

    test('activations', () => {
      const x = tensor([-2, 0, 3]);
      equal(ops.relu(x), [0, 0, 3]);
      close(ops.elu(x, { alpha: 0.5 }), [0.5 * (Math.exp(-2) - 1), 0, 3]);
      close(ops.sigmoid(x), [1 / (1 + Math.exp(2)), 0.5, 1 / (1 + Math.exp(-3))]);
      close(ops.sigmoid(tensor([-100, 100])), [0, 1]);
    });

    test('max pooling takes the first of equals, and never the padding', () => {
      const x = tensor([-1, -1, -3, -4], [1, 2, 2, 1]);
      const { y, argmax } = ops.maxPoolWithArgmax(x, { kernel: 3, stride: 2, padding: 1 });
      equal(y, [-1]);
      equal(argmax, [4]);
      const [dx] = grad((input: Tensor) => ops.sum(ops.maxPool(input, { kernel: 2 })))(x);
      equal(dx!, [1, 0, 0, 0]);
    });

    test('average pooling counts the padding, or not', () => {
      const x = tensor([2, 4, 6, 8], [1, 2, 2, 1]);
      const pool = (countPadding: boolean) =>
        ops.avgPool(x, {
          kernel: 2,
          stride: 2,
          padding: { top: 1, bottom: 1, left: 0, right: 0 },
          countPadding,
        });
      equal(pool(false), [3, 7]);
      equal(pool(true), [1.5, 3.5]);
      equal(ops.globalAvgPool(x), [5]);
    });

    test('broadcasting is that of NumPy', () => {
      const [column, row] = [tensor([1, 2], [2, 1]), tensor([10, 20, 30])];
      equal(ops.add(column, row), [11, 21, 31, 12, 22, 32]);
      equal(ops.subtract(row, 1), [9, 19, 29]);
      equal(ops.subtract(1, row), [-9, -19, -29]);
      equal(ops.multiply(column, column), [1, 4]);
      equal(ops.multiply(3, row), [30, 60, 90]);
      const [dColumn, dRow] = grad((a: Tensor, b: Tensor) => ops.sum(ops.multiply(a, b)))(column, row);
      equal(dColumn!, [60, 60]);
      equal(dRow!, [3, 3, 3]);
    });

    test('sums and means', () => {
      const x = tensor(range(6), [2, 3]);
      equal(ops.sum(x), [21]);
      equal(ops.sum(x, { axes: 0 }), [5, 7, 9]);
      equal(ops.mean(x, { axes: -1 }), [2, 5]);
      expect(ops.mean(x, { axes: [0, 1], keepDims: true }).shape).to.deep.equal([1, 1]);
    });

    test('moving elements about', () => {
      const x = tensor(range(6), [2, 3]);
      equal(ops.concat([x, tensor([7, 8], [2, 1])], -1), [1, 2, 3, 7, 4, 5, 6, 8]);
      equal(ops.slice(x, [0, 1]), [2, 3, 5, 6]);
      equal(ops.pad(x, [0, 1], [1, 0]), [0, 1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0]);
      expect(ops.reshape(x, [3, -1]).shape).to.deep.equal([3, 2]);
    });

    test('casting to an integer type truncates and saturates', () => {
      const x = tensor([-1.9, 1.9, 300, -300, 3e9, Number.NaN]);
      equal(ops.cast(x, 'u8'), [0, 1, 255, 0, 255, 0]);
      equal(ops.cast(x, 'i32'), [-1, 1, 300, -300, 2 ** 31 - 1, 0]);
    });

    test('softmax and cross-entropy', () => {
      const logits = tensor([Math.log(1), Math.log(3), 1000, 1000], [2, 2]);
      close(ops.softmax(logits), [0.25, 0.75, 0.5, 0.5]);
      const labels = tensor([1, 0], [2], i32);
      close(ops.softmaxCrossEntropy(logits, labels), [-Math.log(0.75), Math.log(2)]);
      const smoothed = -(0.95 * Math.log(0.75) + 0.05 * Math.log(0.25));
      close(ops.softmaxCrossEntropy(logits, labels, { smoothing: 0.1 }), [smoothed, Math.log(2)]);
      const targets = tensor([1, 0, 1, 0], [2, 2]);
      close(ops.sigmoidCrossEntropy(logits, targets), [(Math.log(2) + Math.log(4)) / 2, 500]);
    });

    test('a label that is no class is an error at the next read, and only there', () => {
      const logits = ops.zeros([2, 3]);
      const loss = ops.softmaxCrossEntropy(logits, tensor([0, 3], [2], i32));
      expect(() => loss.dataSync())
        .to.throw(/label/i)
        .with.property('code', 'DEVICE');
      equal(ops.add(tensor([1]), 1), [2]);
    });

    test('images are normalized per channel', () => {
      const x = tensor(Uint8Array.from([0, 255, 51, 102]), [1, 1, 2, 2]);
      close(ops.normalizeImages(x, tensor([1 / 255, 2 / 255]), tensor([0, -1])), [0, 1, 0.2, -0.2]);
    });

    test('the Polyak average moves by its share', () => {
      close(ops.polyakUpdate(tensor([1, 2]), tensor([3, 2]), tensor(0.9)), [1.2, 2]);
    });
  });
}
