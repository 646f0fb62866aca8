// Each fusion: where it applies, with the results of before, bit for bit on the reference backend; and where it must not.

import { expect } from 'chai';
import { applyOne } from '../../lib/core/apply.ts';
import { sizeOf } from '../../lib/core/aval.ts';
import { compile } from '../../lib/core/compile.ts';
import { withBackend } from '../../lib/core/device.ts';
import { arrayFor } from '../../lib/core/dtype.ts';
import { showProgram } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { tensorsIn } from '../../lib/core/tree.ts';
import * as fused from '../../lib/ops/fused.ts';
import { ops, opTable } from '../../lib/ops/index.ts';
import { reference } from '../support/devices.ts';
import { planningBackend } from '../support/planning.ts';
import { Random } from '../support/random.ts';
import { opsOf } from './drafts.ts';

type Fn = (...inputs: Tensor[]) => unknown;
type Shapes = readonly (readonly number[])[];

/** The ops of the program, rewritten; the results of both are checked against each other, in f32 and f64. */
function rewritten(seed: string, shapes: Shapes, fn: Fn): string[] {
  let names: string[] = [];
  for (const dtype of ['f32', 'f64'] as const) {
    const random = new Random(seed);
    withBackend(reference, () =>
      scope(() => {
        using plain = compile(fn, { passes: 'none' });
        using rewrites = compile(fn);
        const inputs = shapes.map((shape) => {
          const data = arrayFor(dtype, sizeOf(shape));
          data.set(random.normal(shape).values);
          return tensor(data, shape, { dtype });
        });
        const results = [plain, rewrites].map((f) => tensorsIn(f(...inputs)).map((t) => [...t.dataSync()]));
        expect(results[1], `results in ${dtype}`).to.deep.equal(results[0]);
        const program = rewrites.program(...inputs);
        names = opsOf(program);
        for (const { rule } of rewrites.rewritings(...inputs)) {
          if (!['dead code', 'common subexpressions'].includes(rule))
            expect(showProgram(program)).to.contain(rule);
        }
      }),
    );
  }
  return names;
}

const [x, c, w] = [[2, 6, 5, 3], [3], [3, 3, 3, 1]] as const;
const square = (y: Tensor) => ops.sum(ops.square(y));
const depthwise = (a: Tensor, kernel: Tensor, dilation = 1) =>
  ops.conv2d(a, kernel, { groups: 3, padding: 'same', dilation });
const affine = (a: Tensor, scale: Tensor, shift: Tensor) => ops.channelAffine(a, scale, shift);
const reluGrad = (g: Tensor, y: Tensor) => applyOne(opTable.reluGrad, [g, y], {});
const affine2 = (...operands: Tensor[]) => applyOne(opTable.channelAffine2, operands, {});
const pointwise = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 } as const;
const pointwiseInputGrad = (g: Tensor, k: Tensor) =>
  applyOne(opTable.conv2dInputGrad, [g, k], { ...pointwise, size: [6, 5] });
const pointwiseWeightGrad = (a: Tensor, g: Tensor) =>
  applyOne(opTable.conv2dWeightGrad, [a, g], { ...pointwise, kernel: [1, 1] });
const pool = (a: Tensor) => ops.maxPool(a, { kernel: 3, stride: 2, padding: 'same' });
const pooled = [2, 3, 3, 3];
/** A function of `n` tensors, with the gradients of all. */
const gradients = (fn: (...inputs: Tensor[]) => Tensor): Fn => valueAndGrad(fn);

/** One line per case: what it shows, its operands, the function, ops that must be there and ops that must not. */
type Case = readonly [what: string, shapes: Shapes, fn: Fn, present: string[], absent: string[]];

const cases: Readonly<Record<string, readonly Case[]>> = {
  'normalize on load': [
    [
      'affine, relu, depthwise convolution',
      [x, c, c, w],
      (a, s, b, k) => depthwise(ops.relu(affine(a!, s!, b!)), k!),
      ['depthwiseAffine'],
      ['channelAffine', 'relu', 'affineRelu', 'conv2d'],
    ],
    [
      'affine without relu',
      [x, c, c, w],
      (a, s, b, k) => depthwise(affine(a!, s!, b!), k!),
      ['depthwiseAffine'],
      ['channelAffine', 'conv2d'],
    ],
    ['relu alone', [x, w], (a, k) => depthwise(ops.relu(a!), k!), ['depthwiseRelu'], ['relu', 'conv2d']],
    [
      'two filters per channel, strided',
      [x, c, c, [6, 3, 3, 1]],
      (a, s, b, k) => ops.conv2d(ops.relu(affine(a!, s!, b!)), k!, { groups: 3, stride: 2 }),
      ['depthwiseAffine'],
      ['conv2d'],
    ],
    [
      'an activation that something else reads too: it stays',
      [x, c, c, w],
      (a, s, b, k) => {
        const activated = ops.relu(affine(a!, s!, b!));
        return [depthwise(activated, k!), ops.square(activated)];
      },
      ['depthwiseAffine', 'affineRelu'],
      ['conv2d'],
    ],
    [
      'not: nothing before the convolution',
      [x, w],
      (a, k) => depthwise(a!, k!),
      ['conv2d'],
      ['depthwiseRelu'],
    ],
    [
      'not: fewer groups than channels',
      [x, c, c, [2, 3, 3, 3]],
      (a, s, b, k) => ops.conv2d(ops.relu(affine(a!, s!, b!)), k!),
      ['affineRelu', 'conv2d'],
      ['depthwiseAffine'],
    ],
    [
      'not: one channel, which is as dense as it is depthwise',
      [[2, 5, 5, 1], [1], [1], [1, 3, 3, 1]],
      (a, s, b, k) => ops.conv2d(ops.relu(affine(a!, s!, b!)), k!),
      ['affineRelu', 'conv2d'],
      ['depthwiseAffine'],
    ],
    [
      'not: another activation',
      [x, w],
      (a, k) => depthwise(ops.elu(a!), k!),
      ['elu', 'conv2d'],
      ['depthwiseRelu'],
    ],
  ],
  'depthwise backward': [
    [
      'both gradients, mask and sums',
      [x, c, c, w],
      gradients((a, s, b, k) => square(depthwise(ops.relu(affine(a!, s!, b!)), k!))),
      ['depthwiseAffineGrad'],
      ['conv2dInputGrad', 'conv2dWeightGrad', 'reluGrad', 'channelGradSums'],
    ],
    [
      'a gradient that comes from elsewhere and is read elsewhere',
      [x, c, c, w, x],
      (a, s, b, k, g) => [
        valueAndGrad((...inputs) => {
          const [p, q, r, t] = inputs as [Tensor, Tensor, Tensor, Tensor];
          return ops.sum(ops.multiply(depthwise(ops.relu(affine(p, q, r)), t), g!));
        })(a!, s!, b!, k!),
        ops.square(g!),
      ],
      ['depthwiseAffineGrad'],
      ['conv2dInputGrad', 'conv2dWeightGrad'],
    ],
    [
      'after a relu alone, with the other path of a residual module',
      [x, w],
      gradients((a, k) => square(ops.add(depthwise(ops.relu(a!), k!), a!))),
      ['depthwiseReluGrad', 'depthwiseRelu'],
      ['conv2dInputGrad', 'conv2dWeightGrad', 'reluGrad', 'relu'],
    ],
    [
      'not: after a relu alone, without another path',
      [x, w],
      gradients((a, k) => square(depthwise(ops.relu(a!), k!))),
      ['conv2dInputGrad', 'conv2dWeightGrad', 'reluGrad'],
      ['depthwiseReluGrad'],
    ],
    [
      'not: sums over another tensor',
      [x, c, c, w, x, x],
      (a, s, b, k, g, other) => {
        const activated = ops.relu(affine(a!, s!, b!));
        const dx = reluGrad(ops.conv2dInputGrad(g!, k!, [6, 5], { groups: 3, padding: 'same' }), activated);
        const dw = ops.conv2dWeightGrad(activated, g!, [3, 3], { groups: 3, padding: 'same' });
        return [dx, dw, ops.channelGradSums(dx, other!)];
      },
      ['conv2dInputGrad', 'conv2dWeightGrad', 'reluGrad', 'channelGradSums'],
      ['depthwiseAffineGrad'],
    ],
    [
      'not: the weight gradient of another convolution of the same tensors',
      [x, c, c, w, x],
      (a, s, b, k, g) => {
        const activated = ops.relu(affine(a!, s!, b!));
        const dx = reluGrad(ops.conv2dInputGrad(g!, k!, [6, 5], { groups: 3, padding: 'same' }), activated);
        const dw = ops.conv2dWeightGrad(activated, g!, [3, 3], { groups: 3, padding: 'same', dilation: 2 });
        return [dx, dw, ops.channelGradSums(dx, a!)];
      },
      ['conv2dInputGrad', 'conv2dWeightGrad'],
      ['depthwiseAffineGrad'],
    ],
    [
      'not: a weight that is frozen',
      [x, c, c, w],
      (a, s, b, k) =>
        valueAndGrad((...inputs) => {
          const [p, q, r] = inputs as [Tensor, Tensor, Tensor];
          return square(depthwise(ops.relu(affine(p, q, r)), k!));
        })(a!, s!, b!),
      ['conv2dInputGrad'],
      ['depthwiseAffineGrad'],
    ],
    [
      'not: an input gradient that is read before the mask too',
      [x, c, c, w, x],
      (a, s, b, k, g) => {
        const activated = ops.relu(affine(a!, s!, b!));
        const unmasked = ops.conv2dInputGrad(g!, k!, [6, 5], { groups: 3, padding: 'same' });
        const dx = reluGrad(unmasked, activated);
        const dw = ops.conv2dWeightGrad(activated, g!, [3, 3], { groups: 3, padding: 'same' });
        return [dx, dw, ops.channelGradSums(dx, a!), unmasked];
      },
      ['conv2dInputGrad', 'conv2dWeightGrad', 'affineReluGrad'],
      ['depthwiseAffineGrad'],
    ],
    [
      'not: a masked gradient that is read beside the sum of a residual module',
      [x, w, x, x],
      (a, k, g, residual) => {
        const activated = ops.relu(a!);
        const dx = reluGrad(ops.conv2dInputGrad(g!, k!, [6, 5], { groups: 3, padding: 'same' }), activated);
        const dw = ops.conv2dWeightGrad(activated, g!, [3, 3], { groups: 3, padding: 'same' });
        return [ops.add(residual!, dx), dw, dx];
      },
      ['conv2dInputGrad', 'reluGrad', 'add'],
      ['depthwiseReluGrad'],
    ],
    [
      'not: two convolutions of one activation, whose gradients add up before the mask',
      [x, c, c, w, w],
      gradients((a, s, b, k, l) => {
        const activated = ops.relu(affine(a!, s!, b!));
        return square(ops.add(depthwise(activated, k!), depthwise(activated, l!, 2)));
      }),
      ['conv2dInputGrad', 'conv2dWeightGrad', 'affineReluGrad'],
      ['depthwiseAffineGrad'],
    ],
  ],
  'sums in epilogue': [
    [
      'convolution and channel sums',
      [x, [4, 1, 1, 3]],
      (a, k) => {
        const y = ops.conv2d(a!, k!);
        return [y, ops.channelSums(y)];
      },
      ['conv2dSums'],
      ['conv2d', 'channelSums'],
    ],
    [
      'not: sums over what follows the convolution',
      [x, [4, 1, 1, 3]],
      (a, k) => ops.channelSums(ops.relu(ops.conv2d(a!, k!))),
      ['conv2d', 'channelSums'],
      ['conv2dSums'],
    ],
    ['not: sums over an input', [x], (a) => ops.channelSums(a!), ['channelSums'], ['conv2dSums']],
  ],
  'normalization gradient': [
    [
      'the gradient of batch normalization',
      [x, c, c, c, c],
      gradients((a, gamma, beta, mean, variance) =>
        square(ops.batchNormTraining(a!, gamma!, beta!, mean!, variance!).y),
      ),
      ['channelAffine2'],
      ['channelMultiply', 'add'],
    ],
    [
      'in the other order',
      [x, x, c, c, c],
      (a, b, p, q, r) => ops.add(affine(b!, q!, r!), ops.channelMultiply(a!, p!)),
      ['channelAffine2'],
      ['channelMultiply', 'channelAffine', 'add', 'affineAdd'],
    ],
    [
      'not: a product that is read elsewhere',
      [x, x, c, c, c],
      (a, b, p, q, r) => {
        const product = ops.channelMultiply(a!, p!);
        return [ops.add(product, affine(b!, q!, r!)), product];
      },
      ['channelMultiply', 'affineAdd'],
      ['channelAffine2'],
    ],
    [
      'not: an affine map that is read elsewhere',
      [x, x, c, c, c],
      (a, b, p, q, r) => {
        const mapped = affine(b!, q!, r!);
        return [ops.add(ops.channelMultiply(a!, p!), mapped), mapped];
      },
      ['channelMultiply', 'channelAffine', 'add'],
      ['channelAffine2', 'affineAdd'],
    ],
    [
      'not: two products',
      [x, x, c, c],
      (a, b, p, q) => ops.add(ops.channelMultiply(a!, p!), ops.channelMultiply(b!, q!)),
      ['channelMultiply', 'add'],
      ['channelAffine2'],
    ],
  ],
  'normalization gradient on load': [
    [
      'normalization after a convolution',
      [x, [4, 1, 1, 3], [4], [4], [4], [4]],
      gradients((a, k, gamma, beta, mean, variance) =>
        square(ops.batchNormTraining(ops.conv2d(a!, k!), gamma!, beta!, mean!, variance!).y),
      ),
      ['conv2dInputGradAffine2', 'conv2dWeightGradAffine2'],
      ['channelAffine2', 'conv2dInputGrad', 'conv2dWeightGrad'],
    ],
    [
      'not: one of the gradients alone',
      [x, x, c, c, c, [3, 1, 1, 3]],
      (g, y, p, q, r, k) => pointwiseInputGrad(affine2(g!, y!, p!, q!, r!), k!),
      ['channelAffine2', 'conv2dInputGrad'],
      ['conv2dInputGradAffine2'],
    ],
    [
      'not: a gradient that is read elsewhere',
      [x, x, c, c, c, [3, 1, 1, 3]],
      (g, y, p, q, r, k) => {
        const sum = affine2(g!, y!, p!, q!, r!);
        return [pointwiseInputGrad(sum, k!), pointwiseWeightGrad(y!, sum), sum];
      },
      ['channelAffine2', 'conv2dInputGrad', 'conv2dWeightGrad'],
      ['conv2dInputGradAffine2', 'conv2dWeightGradAffine2'],
    ],
  ],
  'affine, pool, add': [
    [
      'pooled normalization and the shortcut',
      [x, c, c, pooled],
      (a, s, b, r) => ops.add(pool(affine(a!, s!, b!)), r!),
      ['affineMaxPoolAdd'],
      ['channelAffine', 'maxPool', 'add', 'affineAdd'],
    ],
    [
      'with the gradient, which reads the places of the largest',
      [x, c, c, pooled],
      gradients((a, s, b, r) => square(ops.add(r!, pool(affine(a!, s!, b!))))),
      ['affineMaxPoolAdd', 'maxPoolGradSums'],
      ['channelAffine', 'maxPool', 'maxPoolGrad', 'channelGradSums'],
    ],
    [
      'not: a normalization that is read elsewhere',
      [x, c, c, pooled],
      (a, s, b, r) => {
        const mapped = affine(a!, s!, b!);
        return [ops.add(pool(mapped), r!), mapped];
      },
      ['channelAffine', 'maxPool', 'add'],
      ['affineMaxPoolAdd'],
    ],
    [
      'not: what was pooled is read elsewhere',
      [x, c, c, pooled],
      (a, s, b, r) => {
        const y = pool(affine(a!, s!, b!));
        return [ops.add(y, r!), y];
      },
      ['channelAffine', 'maxPool', 'add'],
      ['affineMaxPoolAdd'],
    ],
    [
      'not: what was pooled, added to itself',
      [x, c, c],
      (a, s, b) => {
        const y = pool(affine(a!, s!, b!));
        return ops.add(y, y);
      },
      ['maxPool', 'add'],
      ['affineMaxPoolAdd'],
    ],
    [
      'not: no normalization',
      [x, pooled],
      (a, r) => ops.add(pool(a!), r!),
      ['maxPool', 'add'],
      ['affineMaxPoolAdd'],
    ],
  ],
  'pool gradient with sums': [
    [
      'gradient of pooling after a normalization',
      [x, c, c],
      gradients((a, s, b) => square(pool(affine(a!, s!, b!)))),
      ['maxPoolGradSums'],
      ['maxPoolGrad', 'channelGradSums'],
    ],
    ['not: no sums', [x], gradients((a) => square(pool(a!))), ['maxPoolGrad'], ['maxPoolGradSums']],
  ],
  'affine and add': [
    [
      'the end of a module',
      [x, c, c, x],
      (a, s, b, r) => ops.add(affine(a!, s!, b!), r!),
      ['affineAdd'],
      ['channelAffine', 'add'],
    ],
    [
      'two of them, of which one is taken',
      [x, c, c, x, c, c],
      (a, s, b, d, t, e) => ops.add(affine(a!, s!, b!), affine(d!, t!, e!)),
      ['affineAdd', 'channelAffine'],
      ['add'],
    ],
    [
      'not: the sum of an affine map with itself',
      [x, c, c],
      (a, s, b) => {
        const y = affine(a!, s!, b!);
        return ops.add(y, y);
      },
      ['channelAffine', 'add'],
      ['affineAdd'],
    ],
  ],
  'relu gradient with sums': [
    [
      'a normalization and its ReLU, where no depthwise convolution follows',
      [x, c, c],
      gradients((a, s, b) => square(ops.relu(affine(a!, s!, b!)))),
      ['affineReluGrad', 'affineRelu'],
      ['reluGrad', 'channelGradSums', 'relu', 'channelAffine'],
    ],
    [
      'not: no normalization before the ReLU',
      [x],
      gradients((a) => square(ops.relu(a!))),
      ['reluGrad', 'relu'],
      ['affineReluGrad', 'affineRelu'],
    ],
  ],
  'affine and relu': [
    [
      'a normalization and its ReLU',
      [x, c, c],
      (a, s, b) => ops.relu(affine(a!, s!, b!)),
      ['affineRelu'],
      ['channelAffine', 'relu'],
    ],
    ['not: ReLU alone', [x], (a) => ops.relu(a!), ['relu'], ['affineRelu']],
  ],
};

for (const [rule, examples] of Object.entries(cases)) {
  describe(`fusion: ${rule}`, () => {
    for (const [what, shapes, fn, present, absent] of examples) {
      it(what, () => {
        const names = rewritten(`${rule}/${what}`, shapes, fn);
        expect(names).to.include.members(present);
        for (const name of absent) expect(names).not.to.include(name);
      });
    }
  });
}

describe('fusions', () => {
  it('leave a program alone whose backend supports no fused op', () => {
    const fusedNames = Object.values(fused).map(({ name }) => name);
    const backend = planningBackend(fusedNames);
    const step = gradients((a, s, b, k) => square(depthwise(ops.relu(affine(a!, s!, b!)), k!)));
    using compiled = compile(step);
    scope(() => {
      const inputs = [x, c, c, w].map((shape) => tensor(new Float32Array(sizeOf(shape)), shape, { backend }));
      const names = opsOf(compiled.program(...inputs));
      for (const name of fusedNames) expect(names).not.to.include(name);
      const done = compiled.rewritings(...inputs).map(({ rule }) => rule);
      expect(['dead code', 'common subexpressions']).to.include.members(done);
    });
  });

  it('are switched off one by one', () => {
    const fn = (a: Tensor, s: Tensor, b: Tensor) => ops.relu(affine(a, s, b));
    using without = compile(fn, { passes: { without: ['affine and relu'] } });
    withBackend(reference, () =>
      scope(() => {
        const inputs = [x, c, c].map((shape) => tensor(new Float32Array(sizeOf(shape)), shape));
        const [a, s, b] = inputs as [Tensor, Tensor, Tensor];
        expect(opsOf(without.program(a, s, b))).to.deep.equal(['channelAffine', 'relu']);
        expect(without.rewritings(a, s, b)).to.deep.equal([]);
      }),
    );
  });
});
