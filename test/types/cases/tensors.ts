// Types of tensors, ops, gradients and compiled functions. Compiled, never run: each @ts-expect-error has to be an error.

import type { Compiled, DType, Shape, Tensor, TensorData, ValueAndGrad, Variable } from 'depthwise';
import {
  compile,
  type grad,
  type memory,
  openScope,
  ops,
  scope,
  tensor,
  valueAndGrad,
  variable,
} from 'depthwise';
import { expectIs, expectSame } from './same.ts';

const x = tensor(new Float32Array(24), [1, 2, 4, 3]);
const w = variable([1, 2, 3], [3]);
expectSame<typeof x, Tensor>();
expectSame<typeof w, Variable>();
expectSame<typeof x.shape, Shape>();
expectSame<typeof x.dtype, DType>();
expectSame<Awaited<ReturnType<typeof x.data>>, TensorData>();
expectSame<Awaited<ReturnType<typeof x.item>>, number>();
tensor(1);
tensor([1, 2, 3], [3], { dtype: 'i32' });
expectIs<Tensor>(w);
// @ts-expect-error a tensor is no variable
expectIs<Variable>(x);
// @ts-expect-error text is no data
tensor('1');
// @ts-expect-error a shape is a list of numbers
tensor([1, 2, 3], 3);
// @ts-expect-error no such type of number
tensor([1, 2, 3], [3], { dtype: 'float32' });
// @ts-expect-error a variable has a shape
variable([1, 2, 3]);
// @ts-expect-error shapes do not change
x.shape[0] = 2;
// @ts-expect-error nor do the types of tensors
x.dtype = 'f16';
// @ts-expect-error an array of numbers is no tensor
w.assign([1, 2, 3]);

// Ops take and give tensors; their attributes are checked by name and by value.
expectSame<ReturnType<typeof ops.relu>, Tensor>();
ops.conv2d(x, w, { stride: 2, padding: 'same', groups: 3 });
ops.conv2d(x, w, { stride: [1, 2], dilation: [2, 1] });
ops.maxPool(x, { kernel: 3, stride: 2, padding: 'same' });
// @ts-expect-error no such padding
ops.conv2d(x, w, { padding: 'full' });
// @ts-expect-error no such option
ops.conv2d(x, w, { strides: 2 });
// @ts-expect-error two numbers or one
ops.conv2d(x, w, { stride: [1, 2, 3] });
// @ts-expect-error a convolution has a weight
ops.conv2d(x);
// @ts-expect-error not an array of JavaScript
ops.relu([1, 2, 3]);
// @ts-expect-error no such op
ops.convolve(x, w);

// Gradients: of functions of tensors that return a loss.
const loss = (a: Tensor): Tensor => ops.mean(ops.square(ops.multiply(a, w)));
const both = valueAndGrad(loss, [w]);
expectSame<typeof both, (a: Tensor) => ValueAndGrad<undefined>>();
const { value, grads, aux } = both(x);
expectSame<typeof value, Tensor>();
expectSame<typeof grads, Tensor[]>();
expectSame<typeof aux, undefined>();
const withLogits = valueAndGrad((a: Tensor) => ({ value: ops.mean(a), aux: { logits: a } }), [w])(x);
expectSame<typeof withLogits.aux, { logits: Tensor }>();
expectSame<ReturnType<typeof grad<[Tensor]>>, (a: Tensor) => Tensor[]>();
// @ts-expect-error a loss is a tensor
valueAndGrad((a: Tensor) => a.size);
// @ts-expect-error with respect to tensors
valueAndGrad(loss, ['w']);
// @ts-expect-error the arguments are those of the loss
both(x, x);

// Compiled functions: called like what they are made from.
const step = compile(both);
expectSame<typeof step, Compiled<[a: Tensor], ValueAndGrad<undefined>>>();
expectIs<Tensor>(step(x).value);
compile(loss, { passes: { without: [] } });
step.dispose();
{
  using _compiled = compile(loss);
  using _scope = openScope();
}
// @ts-expect-error the arguments are those of the function
step(1);
// @ts-expect-error no such option
compile(loss, { optimize: true });
// @ts-expect-error no such choice of passes
compile(loss, { passes: 'some' });

const kept = scope(() => ({ a: x, n: 1 }));
expectSame<typeof kept, { a: Tensor; n: number }>();
expectSame<ReturnType<typeof memory>['bytes'], number>();
