// Types of modules and of ops of one's own. Compiled, never run: each @ts-expect-error has to be an error.

import type { Aval, Op, Tensor } from 'depthwise';
import { apply, Classifier, defineOp, nn, ops, ShapeError } from 'depthwise';
import { expectIs, expectSame } from './same.ts';

/** A module: children by name, a forward pass. */
class Head extends nn.Module {
  readonly dense = new nn.Linear(64, 10);

  override children() {
    return [['dense', this.dense]] as const;
  }

  forward(x: Tensor, context: nn.ForwardContext): Tensor {
    expectSame<typeof context.training, boolean>();
    return this.dense.forward(ops.relu(x), context);
  }
}

const network = new nn.Sequential(
  ['conv', new nn.Conv2d(3, 64, { kernel: 3, stride: 2, padding: 'same', bias: true })],
  ['norm', new nn.BatchNorm(64, { momentum: 0.9 })],
  nn.relu(),
  nn.globalAvgPool(),
  ['head', new Head()],
);
expectSame<ReturnType<typeof network.parameters>, Map<string, nn.Parameter>>();
network.module('head.dense').trainable = false;
new nn.Residual(network, new nn.Lambda('double', (x) => ops.add(x, x)));
// @ts-expect-error a module has a forward pass
new (class extends nn.Module {})();
// @ts-expect-error a convolution has a kernel
new nn.Conv2d(3, 64, { stride: 2 });
// @ts-expect-error layers are modules
new nn.Sequential('conv');
// @ts-expect-error a layer is given tensors
network.forward([1, 2, 3], new nn.ForwardContext());
// @ts-expect-error an image is no forward pass's context
network.forward(ops.zeros([1, 32, 32, 3]), { training: true });

new Classifier(network, { arch: 'small', classes: 10, size: 32, preprocessing: 'keras', options: {} });
// @ts-expect-error no such rule
new Classifier(network, { arch: 'small', classes: 10, size: 32, preprocessing: 'caffe', options: {} });
// @ts-expect-error a classifier has an image size
new Classifier(network, { arch: 'small', classes: 10, preprocessing: 'keras', options: {} });

// Ops: names of operands are literal, and the gradient's rule is held to them.
const square = defineOp<{ readonly power: number }>()({
  name: 'mySquare',
  inputs: ['x'],
  outputs: ['y'],
  infer: ([x]) => [x as Aval],
  encode: ({ power }) => [power],
  vjp: {
    differentiates: ['x'],
    reads: { inputs: ['x'] },
    rule: ({ cotangents, inputs, attributes }) => {
      expectSame<typeof inputs.x, Tensor>();
      expectSame<typeof cotangents.y, Tensor | undefined>();
      expectSame<typeof attributes.power, number>();
      return { x: ops.multiply(cotangents.y as Tensor, inputs.x) };
    },
  },
});
expectSame<typeof square.name, 'mySquare'>();
expectIs<Op<{ readonly power: number }, 'x', 'y'>>(square);
// @ts-expect-error attributes as they were declared
apply(square, { exponent: 2 }, [ops.zeros([1])]);

defineOp<undefined>()({
  name: 'blind',
  inputs: ['x'],
  outputs: ['y'],
  infer: ([x]) => [x as Aval],
  encode: () => [],
  vjp: {
    differentiates: ['x'],
    reads: { outputs: ['y'] },
    rule: ({ outputs, inputs }) => {
      expectSame<typeof outputs.y, Tensor>();
      // @ts-expect-error what a rule has not declared to read is not there
      inputs.x;
      return {};
    },
  },
});

// An op says what its gradient is, or that it has none.
// @ts-expect-error neither
defineOp<undefined>()({
  name: 'none',
  inputs: ['x'],
  outputs: ['y'],
  infer: ([x]: readonly Aval[]) => [x as Aval],
  encode: () => [],
});
defineOp<undefined>()({
  name: 'step',
  inputs: ['x'],
  outputs: ['y'],
  infer: ([x]) => [x as Aval],
  encode: () => [],
  vjp: { none: 'it is 0 almost everywhere' },
});
defineOp<undefined>()({
  name: 'typo',
  inputs: ['x'],
  outputs: ['y'],
  infer: ([x]) => [x as Aval],
  encode: () => [],
  vjp: {
    // @ts-expect-error no such input
    differentiates: ['w'],
    reads: {},
    rule: () => ({}),
  },
});

try {
  ops.add(ops.zeros([1]), ops.zeros([2]));
} catch (error) {
  if (error instanceof ShapeError) expectSame<typeof error.code, string>();
}
