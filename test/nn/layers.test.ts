// Modules: names, freezing, initial values, and what the layers compute.

import { expect } from 'chai';
import { setDefaultBackend } from '../../lib/core/device.ts';
import { ArgumentError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { scope } from '../../lib/core/scope.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import {
  BatchNorm,
  Conv2d,
  Dropout,
  ForwardContext,
  fans,
  glorotUniform,
  heNormal,
  keyFor,
  Linear,
  type Module,
  Residual,
  relu,
  SeparableConv2d,
  Sequential,
} from '../../lib/nn/index.ts';
import { ops } from '../../lib/ops/index.ts';
import { reference } from '../support/devices.ts';

const values = (t: Tensor) => [...t.dataSync()];
const image = (n: number, size: number, channels: number) =>
  tensor(
    Float32Array.from({ length: n * size * size * channels }, (_, i) => Math.sin(i * 0.37)),
    [n, size, size, channels],
  );

const small = (): Module =>
  new Sequential(
    ['conv', new Conv2d(3, 4, { kernel: 3, padding: 'same' })],
    ['conv_bn', new BatchNorm(4)],
    relu(),
    new Residual(
      new Sequential(['sep', new SeparableConv2d(4, 4, { kernel: 3, padding: 'same' })], new Dropout(0.5)),
    ),
  );

describe('modules', () => {
  let before: number;
  beforeEach(() => {
    setDefaultBackend(reference);
    before = memory().tensors;
  });
  afterEach(() => {
    expect(memory().tensors, 'tensors alive after the test').to.equal(before);
    setDefaultBackend(undefined);
  });

  it('name their tensors by path', () => {
    const network = small();
    expect([...network.parameters().keys()]).to.deep.equal([
      'conv.weight',
      'conv_bn.gamma',
      'conv_bn.beta',
      'sep.depthwise.weight',
      'sep.pointwise.weight',
    ]);
    expect([...network.statistics().keys()]).to.deep.equal(['conv_bn.running_mean', 'conv_bn.running_var']);
    expect(network.module('sep.depthwise')).to.be.instanceOf(Conv2d);
    expect(() => network.module('sep.nothing')).to.throw(ArgumentError, '"sep.nothing"');
    expect(memory().tensors).to.equal(before); // nothing has a value yet
  });

  it('refuse two tensors of one name', () => {
    const twice = new Sequential(new BatchNorm(1), new BatchNorm(1));
    expect(() => twice.state()).to.throw(ArgumentError, 'two tensors are named gamma');
  });

  it('take first values that depend on the seed and the path only', () => {
    const [a, b, c] = [small().to(reference, { seed: 1 }), small(), small().to(reference, { seed: 2 })];
    b.module('sep').to(reference, { seed: 9 }); // another order: sep has its values already
    b.to(reference, { seed: 1 });
    const weight = (network: Module, name: string) => values(network.parameters().get(name)!);
    expect(weight(a, 'conv.weight')).to.deep.equal(weight(b, 'conv.weight'));
    expect(weight(a, 'conv.weight')).to.not.deep.equal(weight(c, 'conv.weight'));
    expect(weight(a, 'sep.pointwise.weight')).to.not.deep.equal(weight(b, 'sep.pointwise.weight'));
    for (const network of [a, b, c]) network.dispose();
  });

  it('freeze: no update of statistics, no trainable parameters, normalization by running statistics', () => {
    const network = new Sequential(['bn', new BatchNorm(2)], ['head', new Linear(2, 1)]).to(reference);
    const x = tensor([1, 2, 3, 5], [2, 2]);
    const bn = network.module('bn') as BatchNorm;
    bn.trainable = false;
    expect([...network.trainableParameters().keys()]).to.deep.equal(['head.weight', 'head.bias']);
    scope(() => {
      const y = bn.forward(x, new ForwardContext({ training: true }));
      const scale = 1 / Math.sqrt(1 + 1e-3);
      values(y).forEach((v, i) => {
        expect(v).to.be.closeTo([1, 2, 3, 5][i]! * scale, 1e-6);
      });
      expect(values(bn.runningMean)).to.deep.equal([0, 0]);
      bn.trainable = true;
      bn.forward(x, new ForwardContext({ training: true }));
      expect(bn.runningMean.dataSync()[0]).to.be.closeTo(0.02, 1e-7);
      return undefined;
    });
    network.trainable = false;
    expect(network.trainableParameters().size).to.equal(0);
    x.dispose();
    network.dispose();
  });

  it('give every parameter of a small network a gradient', () => {
    const network = small().to(reference);
    const parameters = [...network.parameters().values()];
    scope(() => {
      const counter = tensor(new Int32Array([1, 2]));
      const loss = () =>
        ops.mean(
          ops.square(network.forward(image(2, 5, 3), new ForwardContext({ training: true, counter }))),
        );
      const { grads } = valueAndGrad(loss, parameters)();
      for (const g of grads) expect(values(g).some((v) => v !== 0)).to.equal(true);
      return undefined;
    });
    network.dispose();
  });

  it('drop out only in training, and then need a counter', () => {
    const layer = new Dropout(0.5);
    scope(() => {
      const x = image(1, 4, 4);
      expect(layer.forward(x, new ForwardContext())).to.equal(x);
      expect(() => layer.forward(x, new ForwardContext({ training: true }))).to.throw(
        ArgumentError,
        'counter',
      );
      const counter = tensor(new Int32Array([3, 1]));
      const context = new ForwardContext({ training: true, counter });
      const first = values(layer.forward(x, context));
      const second = values(layer.forward(x, context)); // a stream of its own
      expect(first).to.not.deep.equal(second);
      expect(values(layer.forward(x, new ForwardContext({ training: true, counter })))).to.deep.equal(first);
      return undefined;
    });
    expect(() => new Dropout(1)).to.throw(ArgumentError);
  });

  it('refuse groups that do not divide the channels', () => {
    expect(() => new Conv2d(6, 4, { kernel: 1, groups: 4 })).to.throw(ArgumentError, '6 and 4 channels');
  });
});

describe('initializers', () => {
  it('count fans as Keras does for each kind of kernel', () => {
    expect(fans([64, 3, 3, 32])).to.deep.equal({ fanIn: 288, fanOut: 576 });
    expect(fans([728, 3, 3, 1], 728)).to.deep.equal({ fanIn: 6552, fanOut: 9 });
    expect(fans([10, 2048])).to.deep.equal({ fanIn: 2048, fanOut: 10 });
  });

  it('draw Glorot uniform within its limits, with its deviation', () => {
    const drawn = glorotUniform()([64, 3, 3, 32], keyFor(1, 'x'));
    const limit = Math.sqrt(6 / (288 + 576));
    expect(Math.max(...drawn)).to.be.within(0.99 * limit, limit);
    expect(Math.min(...drawn)).to.be.within(-limit, -0.99 * limit);
    const deviation = Math.sqrt(drawn.reduce((sum, v) => sum + v * v, 0) / drawn.length);
    expect(deviation / (limit / Math.sqrt(3))).to.be.closeTo(1, 0.01);
  });

  it('draw He normal with its deviation, cut at two of the uncut', () => {
    const drawn = heNormal()([64, 3, 3, 32], keyFor(1, 'x'));
    const expected = Math.sqrt(2 / 288);
    const deviation = Math.sqrt(drawn.reduce((sum, v) => sum + v * v, 0) / drawn.length);
    expect(deviation / expected).to.be.closeTo(1, 0.02);
    expect(Math.max(...drawn.map(Math.abs))).to.be.at.most((2 * expected) / 0.8796);
  });
});
