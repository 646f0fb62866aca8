// Xception's whole training step as a compiled function, with weights of zeros: for what only looks at the program.

import type { Backend } from '../../lib/backend/backend.ts';
import { sizeOf } from '../../lib/core/aval.ts';
import { type Compiled, type CompileOptions, compile } from '../../lib/core/compile.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { xceptionNetwork } from '../../lib/models/xception.ts';
import { ForwardContext } from '../../lib/nn/module.ts';
import { ops } from '../../lib/ops/index.ts';
import { createOptimizer, PolyakAverage, sgd } from '../../lib/optim/index.ts';

export interface XceptionStep {
  readonly step: Compiled<Tensor[], { loss: Tensor; logits: Tensor }>;
  /** Arguments for {@link step}: a batch of zeros and the step's numbers. */
  readonly inputs: readonly Tensor[];
  dispose(): void;
}

/** Forward, loss, backward, momentum and Polyak average of a batch of images of `size` pixels. */
export function xceptionStep(
  backend: Backend,
  batch: number,
  size: number,
  options: CompileOptions = {},
): XceptionStep {
  const classes = 1000;
  const model = xceptionNetwork({ classes });
  for (const parameter of model.state().values()) parameter.give(new Float32Array(sizeOf(parameter.shape)));
  model.to(backend);
  const optimizer = createOptimizer(sgd({ momentum: 0.9 }), model.parameters(), { weightDecay: 1e-5 });
  const polyak = new PolyakAverage(model.parameters());
  const parameters = [...model.parameters().values()];
  const perChannel = (value: number) => tensor(new Float32Array(3).fill(value), [3], { backend });
  const step = compile((...inputs: Tensor[]) => {
    const [images, labels, lr, number, decay, counter] = inputs as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const { value, grads, aux } = valueAndGrad(() => {
      const logits = model.forward(
        ops.normalizeImages(images, perChannel(1 / 127.5), perChannel(-1)),
        new ForwardContext({ training: true, counter }),
      );
      return { value: ops.mean(ops.softmaxCrossEntropy(logits, labels)), aux: logits };
    }, parameters)();
    optimizer.step(grads, { lr, step: number });
    polyak.update(decay);
    return { loss: value, logits: aux };
  }, options);
  const scalar = (value: number) => tensor(value, [], { backend });
  const inputs = [
    tensor(new Uint8Array(batch * size * size * 3), [batch, size, size, 3], { backend }),
    tensor(new Int32Array(batch), [batch], { backend }),
    scalar(0.045),
    scalar(1),
    scalar(0.9999),
    tensor(new Int32Array(2), [2], { backend }),
  ];
  const dispose = () => {
    step.dispose();
    for (const input of inputs) input.dispose();
    for (const owner of [polyak, optimizer, model]) owner.dispose();
  };
  return { step, inputs, dispose };
}
