// Random small networks with everything that the fusions know, and their training steps.

import type { Backend } from '../../lib/backend/backend.ts';
import { scope } from '../../lib/core/scope.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor, type Variable } from '../../lib/core/tensor.ts';
import {
  avgPool,
  BatchNorm,
  Concat,
  Conv2d,
  Dropout,
  elu,
  globalAvgPool,
  Lambda,
  Linear,
  maxPool,
  Residual,
  relu,
  SeparableConv2d,
  Sequential,
} from '../../lib/nn/layers.ts';
import { ForwardContext, Module } from '../../lib/nn/module.ts';
import { ops } from '../../lib/ops/index.ts';
import { createOptimizer, PolyakAverage, sgd } from '../../lib/optim/index.ts';
import { Random } from '../support/random.ts';

const classes = 3;

/** A network of two to four random modules: images [2, 9, 9, 3] to logits [2, 3]. */
export function randomNetwork(random: Random): Module {
  const normalized = (layer: Conv2d | SeparableConv2d, outputs: number) =>
    new Sequential(['layer', layer], ['bn', new BatchNorm(outputs)]);
  const separable = (inputs: number, outputs: number) =>
    normalized(new SeparableConv2d(inputs, outputs, { kernel: 3, padding: 'same' }), outputs);
  let channels = random.whole(2, 4);
  const layers: [string, Module][] = [
    ['stem', normalized(new Conv2d(3, channels, { kernel: 3, stride: random.whole(1, 2) }), channels)],
  ];
  if (random.uniform() < 0.7) layers.push(['', relu()]);
  const count = random.whole(2, 4);
  for (let i = 0; i < count; i += 1) {
    const inputs = channels;
    const outputs = random.whole(2, 4);
    const kind = random.pick(['middle', 'down', 'plain', 'dense', 'branches', 'unnormalized'] as const);
    const named = (module: Module) => layers.push([`${kind}${i}`, module]);
    if (kind === 'middle') {
      const unit = (n: number): [string, Module] => [`unit${n}`, separable(inputs, inputs)];
      named(new Residual(new Sequential(relu(), unit(1), relu(), unit(2))));
      continue;
    }
    channels = outputs;
    if (kind === 'down') {
      const strided = new Conv2d(inputs, outputs, { kernel: 1, stride: 2, padding: 'same' });
      named(
        new Residual(
          new Sequential(relu(), ['main', separable(inputs, outputs)], maxPool(3, 2, 'same')),
          new Sequential(['shortcut', normalized(strided, outputs)]),
        ),
      );
    } else if (kind === 'plain') {
      named(new Sequential(['unit', separable(inputs, outputs)], relu()));
    } else if (kind === 'branches') {
      // As Inception V3, with an activation inside a separable convolution as a variant of Xception has it.
      const unscaled = (width: number, kernel: [number, number]) =>
        new Sequential(
          ['layer', new Conv2d(inputs, width, { kernel, padding: 'same' })],
          ['bn', new BatchNorm(width, { scale: false })],
          relu(),
        );
      const between = new SeparableConv2d(inputs, 2, { kernel: 3, padding: 'same', between: elu() });
      named(
        new Concat(
          new Sequential(['a', unscaled(outputs, [1, 3])]),
          new Sequential(avgPool(3, 1, 'same'), ['b', unscaled(1, [3, 1])]),
          new Sequential(['c', normalized(between, 2)], relu()),
        ),
      );
      channels = outputs + 3;
    } else if (kind === 'dense') {
      named(normalized(new Conv2d(inputs, outputs, { kernel: 3, padding: 'same' }), outputs));
    } else {
      named(
        new Sequential(relu(), [
          'unit',
          new SeparableConv2d(inputs, outputs, { kernel: 3, padding: 'same' }),
        ]),
      );
    }
  }
  return new Sequential(...layers, globalAvgPool(), new Dropout(0.3), [
    'predictions',
    new Linear(channels, classes),
  ]);
}

/** Branches from one input, joined along the channels. */
class Branches extends Module {
  readonly #branches: readonly Module[];

  constructor(...branches: readonly Module[]) {
    super();
    this.#branches = branches;
  }

  override children() {
    return this.#branches.map((branch, i) => [`branch${i}`, branch] as const);
  }

  forward(x: Tensor, context: ForwardContext): Tensor {
    return ops.concat(
      this.#branches.map((branch) => branch.forward(x, context)),
      3,
    );
  }
}

/**
 * A small network of what Inception V3 is made of: convolutions of 1 by 7 and 7 by 1, average pooling, branches that are
 * joined, and a grid that is halved beside a pooling. Channels are no multiples of 8 in places.
 */
export function smallInception(): Module {
  const conv = (
    inputs: number,
    outputs: number,
    kernel: number | readonly [number, number],
    stride = 1,
  ): Module =>
    new Sequential(
      ['conv', new Conv2d(inputs, outputs, { kernel, stride, padding: stride > 1 ? 'valid' : 'same' })],
      ['bn', new BatchNorm(outputs)],
      relu(),
    );
  const pooled = new Lambda('avgPool', (x) => ops.avgPool(x, { kernel: 3, stride: 1, padding: 'same' }));
  return new Sequential(
    ['stem', conv(3, 12, 3, 2)],
    [
      'sevens', // 8 + 10 + 6 channels
      new Branches(
        conv(12, 8, 1),
        new Sequential(['a', conv(12, 7, 1)], ['b', conv(7, 7, [1, 7])], ['c', conv(7, 10, [7, 1])]),
        new Sequential(pooled, ['d', conv(12, 6, 1)]),
      ),
    ],
    ['halves', new Branches(conv(24, 8, 3, 2), maxPool(3, 2, 'valid'))], // 8 + 24 channels
    ['ones', new Branches(conv(32, 9, [1, 3]), conv(32, 9, [3, 1]))],
    globalAvgPool(),
    new Dropout(0.3),
    ['predictions', new Linear(18, classes)],
  );
}

/** A network in training: a step as a function to run as it is or to compile, its inputs, and all that it changes. */
export interface Training extends Disposable {
  readonly step: (...inputs: Tensor[]) => Tensor;
  /** Arguments of step `n`, from 1; the caller disposes of them. */
  inputs(n: number): Tensor[];
  readonly state: ReadonlyMap<string, Variable>;
}

/** Momentum, weight decay and Polyak average of a network, by default a random one; all depends on `seed` alone. */
export function training(
  backend: Backend,
  seed: string,
  rate = 0.05,
  network: Module = randomNetwork(new Random(seed)),
  [batch, size]: readonly [batch: number, size: number] = [2, 9],
): Training {
  const model = network.to(backend, { seed: 1 });
  const optimizer = createOptimizer(sgd({ momentum: 0.9 }), model.parameters(), { weightDecay: 1e-3 });
  const polyak = new PolyakAverage(model.parameters());
  const parameters = [...model.parameters().values()];
  const state = new Map<string, Variable>([
    ...model.state(),
    ...optimizer.state(),
    ...[...polyak.averages].map(([name, average]) => [`average ${name}`, average] as const),
  ]);
  const step = (...inputs: Tensor[]): Tensor => {
    const [images, labels, lr, number, decay, counter] = inputs as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    return scope(() => {
      const { value, grads } = valueAndGrad(() => {
        const logits = model.forward(images, new ForwardContext({ training: true, counter }));
        return ops.mean(ops.softmaxCrossEntropy(logits, labels));
      }, parameters)();
      optimizer.step(grads, { lr, step: number });
      polyak.update(decay);
      return value;
    });
  };
  return {
    step,
    state,
    inputs(n) {
      const random = new Random(`${seed}/${n}`);
      const image = [batch, size, size, 3];
      const scalar = (value: number) => tensor(value, [], { backend });
      return [
        tensor(Float32Array.from(random.normal(image).values), image, { backend }),
        tensor(Int32Array.from(random.wholes([batch], 'i32', 0, classes - 1).values), [batch], { backend }),
        scalar(rate),
        scalar(n),
        scalar(0.9),
        tensor(Int32Array.of(7, n), [2], { backend }),
      ];
    },
    [Symbol.dispose]() {
      for (const owner of [polyak, optimizer, model]) owner.dispose();
    },
  };
}
