// Problems as users write them: their numbers for native code, and what is refused before anything is asked of cuDNN.

import { expect } from 'chai';
import { type ConvolutionProblem, describedDevices, type Problem, plans } from '../../lib/cudnn/index.ts';
import { encodeProblem } from '../../lib/cudnn/problems.ts';
import { ArgumentError, ShapeError } from '../../lib/index.ts';

const depthwise: ConvolutionProblem = {
  kind: 'convolution',
  direction: 'forward',
  x: [2, 74, 74, 128],
  w: [128, 3, 3, 1],
};

describe('cudnn: problems', () => {
  it('tells groups from the shapes, and resolves padding by TensorFlow’s rule', () => {
    const numbers = encodeProblem({ ...depthwise, stride: 2, padding: 'same', dtype: 'bf16' });
    const shapes = [2, 74, 74, 128, 128, 37, 37, 3, 3];
    const window = [2, 2, 0, 1, 0, 1]; // the odd row and column at the bottom and right
    expect(numbers).to.deep.equal([0, 0, 0, 3, 3, ...shapes, ...window, 1, 1, 128, 0, 0, 0, 0]);
  });

  it('activates only where a fusion does', () => {
    const flags = (problem: ConvolutionProblem) => encodeProblem(problem).slice(-4);
    expect(flags({ ...depthwise, tf32: true, deterministic: true })).to.deep.equal([0, 0, 1, 1]);
    expect(flags({ ...depthwise, fusion: 'bias', residual: true })).to.deep.equal([1, 1, 0, 0]);
    expect(flags({ ...depthwise, fusion: 'bias', relu: false })).to.deep.equal([0, 0, 0, 0]);
    expect(flags({ ...depthwise, fusion: 'sums', residual: true })).to.deep.equal([0, 0, 0, 0]);
  });

  it('writes normalization and pooling as numbers', () => {
    const x = [4, 6, 6, 8];
    expect(encodeProblem({ kind: 'normalization', phase: 'backward', x, dtype: 'f16' })).to.deep.equal([
      ...[1, 2, 2, ...x, 1e-3, 0.99, 0, 0],
    ]);
    const pooling = {
      kind: 'pooling',
      pooling: 'average',
      x,
      kernel: 3,
      stride: 2,
      padding: 'same',
    } as const;
    expect(encodeProblem(pooling)).to.deep.equal([
      ...[2, 1, 0, 0, ...x, 3, 3, 3, 3, 2, 2, 0, 1, 0, 1, 0], // kind to c, then oh, ow, kernel, window
    ]);
  });

  const wrong: readonly (readonly [string, Problem, typeof ArgumentError | typeof ShapeError, RegExp])[] = [
    ['three extents', { ...depthwise, x: [2, 8, 8] }, ArgumentError, /x expects 4 positive extents/],
    ['an extent of 0', { ...depthwise, x: [0, 8, 8, 128] }, ArgumentError, /x expects 4 positive extents/],
    ['channels that do not fit', { ...depthwise, w: [64, 3, 3, 96] }, ShapeError, /96 input channels/],
    [
      'a fusion of another direction',
      { ...depthwise, direction: 'weightGrad', fusion: 'mask' },
      ArgumentError,
      /fusion of weightGrad expects none, affine2, affineRelu, got "mask"/,
    ],
    [
      'padding as large as the window',
      { kind: 'pooling', pooling: 'max', x: [1, 4, 4, 8], kernel: 2, padding: 2 },
      ArgumentError,
      /padding expects to be smaller/,
    ],
  ];
  for (const [what, problem, kind, message] of wrong) {
    it(`refuses ${what}`, () => {
      expect(() => encodeProblem(problem)).to.throw(kind, message);
    });
  }

  it('refuses a device together with a description, and limits that are none', async () => {
    const failure = (options: Parameters<typeof plans>[1]) =>
      plans(depthwise, options).then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(await failure({ device: 0, description: 'h200' })).to.be.instanceOf(ArgumentError);
    expect(await failure({ description: 'h200', build: -1 })).to.be.instanceOf(ArgumentError);
    expect(await failure({ description: 'h200', seconds: Number.NaN })).to.be.instanceOf(ArgumentError);
  });

  it('describes each device by its own figures', () => {
    const all = Object.values(describedDevices);
    expect(new Set(all.map(({ deviceName }) => deviceName)).size).to.equal(all.length);
    expect(all.map(({ deviceVer }) => deviceVer)).to.deep.equal([750, 800, 890, 900, 900, 1000, 1200]);
  });
});
