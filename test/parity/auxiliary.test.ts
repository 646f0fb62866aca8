// Parity with torchvision's classifier at the side of Inception V3: the loss of both classifiers, and the gradients of the
// one at the side, on recorded values. Other parity tests leave it out, as it needs images of 299 pixels.

import { expect } from 'chai';
import { createClassifier } from '../../lib/classify/load.ts';
import { compile } from '../../lib/core/compile.ts';
import { scope } from '../../lib/core/scope.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { ForwardContext } from '../../lib/nn/index.ts';
import { ops } from '../../lib/ops/index.ts';
import { networkDevices } from '../support/devices.ts';
import { isRecorded, readJson, recordedOptions, relativeError } from '../support/fixtures.ts';
import { networkWeights, sketch, smoothImages } from '../support/generator.ts';

interface Recorded {
  readonly images: number;
  readonly size: number;
  readonly labels: readonly number[];
  readonly weight: number;
  readonly buckets: number;
  readonly gain: number;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, { norm: number; float32_error: number; sketch: number[] }>>;
}

for (const backend of networkDevices) {
  describe(`parity with torchvision's classifier at the side on ${backend.name}`, function () {
    this.timeout(600_000);

    it('gives its loss and gradients', async function () {
      if (!isRecorded('torchvision')) this.skip();
      const recorded = readJson<Recorded>('torchvision/auxiliary.json');
      const { arch, options } = recordedOptions('torchvision');
      const variant = { ...options.variant, auxiliary: true };
      using model = createClassifier(arch, { classes: 10, dropout: 0, ...options, variant });
      const shapes = new Map([...model.network.state()].map(([name, { shape }]) => [name, shape]));
      model.loadWeights(networkWeights(shapes, { gain: recorded.gain }));
      model.to(backend);
      const names = Object.keys(recorded.gradients);
      const parameters = model.network.parameters();
      const { size, images, labels } = recorded;
      const { value, grads } = scope(() => {
        const x = tensor(smoothImages(images, size), [images, size, size, 3], { backend });
        const y = tensor(Int32Array.from(labels), [images], { backend });
        const loss = (x: Tensor, y: Tensor) => {
          const context = new ForwardContext({ training: true });
          const main = ops.mean(ops.softmaxCrossEntropy(model.logits(x, context), y));
          const [side] = context.auxiliary;
          expect(side?.weight).to.equal(recorded.weight);
          const beside = ops.mean(ops.softmaxCrossEntropy(side!.logits, y));
          return ops.add(main, ops.scale(beside, side!.weight));
        };
        using compiled = compile(
          valueAndGrad(
            loss,
            names.map((name) => parameters.get(name)!),
          ),
        );
        return compiled(x, y);
      });
      expect(Math.abs((await value.item()) / recorded.loss - 1), 'loss').to.be.at.most(1e-4);
      value.dispose();
      expect(names.filter((name) => name.startsWith('aux_'))).to.have.length(8);
      for (const [i, name] of names.entries()) {
        const { sketch: expected, norm } = recorded.gradients[name]!;
        const gradient = (await grads[i]!.data()) as Float32Array;
        grads[i]!.dispose();
        const distance = relativeError(sketch(name, gradient, recorded.buckets), expected);
        if (process.env.PARITY_FIGURES !== undefined) console.log(name, distance);
        expect(distance, name).to.be.at.most(2e-3);
        expect(Math.hypot(...sketch(name, gradient, recorded.buckets)) / norm, name).to.be.closeTo(1, 0.3);
      }
    });
  });
}
