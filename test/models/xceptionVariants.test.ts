// The paper's variants of Xception: parameters against formulas, a training step of each, and what files keep of them.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadModel, type XceptionVariant, xception } from '../../lib/classify/load.ts';
import { ArgumentError, CheckpointError } from '../../lib/core/errors.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { arrays } from '../../lib/data/index.ts';
import { architecture } from '../../lib/models/registry.ts';
import { groupsOf } from '../../lib/models/xception.ts';
import { Conv2d, ForwardContext, type Module, SeparableConv2d } from '../../lib/nn/index.ts';
import { ops } from '../../lib/ops/index.ts';
import { constant, sgd } from '../../lib/optim/index.ts';
import { Trainer } from '../../lib/train/index.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { generate, xceptionShapes } from '../support/generator.ts';

const count = (network: Module) =>
  [...network.parameters().values()].reduce((sum, { size }) => sum + size, 0);

const build = (variant: XceptionVariant) => architecture('xception').build({ classes: 1000, variant });

/** [inputs, outputs] of the 34 separable convolutions. */
const separable = [...xceptionShapes(1000)]
  .filter(([name]) => name.endsWith('.pointwise.weight'))
  .map(([, [outputs = 0, , , inputs = 0]]) => [inputs, outputs] as const);

const figure5 = 22_855_952;

/** Whole numbers from -4 to 4. */
const wholeNumbers = (name: string, shape: readonly number[]) =>
  generate(name, shape, 1, { limit: 4.5 }).map((value) => Math.max(-4, Math.min(4, Math.round(value))));

/**
 * A 3 x 3 convolution in groups, zeros around the image, then a pointwise one: by their definition.
 * @param x [n, height, width, channels] @param filters [channels, 3, 3, channels / groups]
 * @param mix [outputs, 1, 1, channels] @returns [n, height, width, outputs]
 */
function separableByHand(
  x: Float32Array,
  filters: Float32Array,
  mix: Float32Array,
  [n, height, width, channels]: readonly [number, number, number, number],
  groups: number,
): number[] {
  const inner = channels / groups;
  const pixel = (image: number, y: number, column: number, c: number): number =>
    y < 0 || column < 0 || y >= height || column >= width
      ? 0
      : (x[((image * height + y) * width + column) * channels + c] as number);
  const found: number[] = [];
  for (let place = 0; place < n * height * width; place += 1) {
    const image = Math.floor(place / (height * width));
    const y = Math.floor(place / width) % height;
    const spatial = Array.from({ length: channels }, (_, o) => {
      let sum = 0;
      for (let tap = 0; tap < 9; tap += 1) {
        for (let d = 0; d < inner; d += 1) {
          const c = Math.floor(o / inner) * inner + d;
          const filter = filters[(o * 9 + tap) * inner + d] as number;
          sum += filter * pixel(image, y + Math.floor(tap / 3) - 1, (place % width) + (tap % 3) - 1, c);
        }
      }
      return sum;
    });
    for (let o = 0; o < mix.length / channels; o += 1) {
      found.push(spatial.reduce((sum, value, c) => sum + value * (mix[o * channels + c] as number), 0));
    }
  }
  return found;
}

describe('variants of xception', () => {
  it('without residual connections: no strided shortcuts and their normalization', () => {
    const shortcuts = [
      [64, 128],
      [128, 256],
      [256, 728],
      [728, 1024],
    ] as const;
    const less = shortcuts.reduce((sum, [inputs, outputs]) => sum + inputs * outputs + 2 * outputs, 0);
    expect(count(build({ residual: false }))).to.equal(figure5 - less);
  });

  it('an activation between depthwise and pointwise has no parameters', () => {
    for (const intermediateActivation of ['relu', 'elu'] as const) {
      expect(count(build({ intermediateActivation }))).to.equal(figure5);
    }
  });

  it('two fully connected layers of 4,096', () => {
    const layers = 2048 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000;
    const expected = figure5 - (2048 * 1000 + 1000) + layers;
    expect(count(build({ fullyConnected: [4096, 4096] }))).to.equal(expected);
  });

  it('segments from a regular to a depthwise convolution', () => {
    expect([1, 2, 3, 8, 100, 728, 5000].map((n) => groupsOf(728, n))).to.deep.equal([
      1, 2, 2, 8, 91, 728, 728,
    ]);
    expect(groupsOf(728, 'channels')).to.equal(728);
    for (const segments of [1, 2, 4, 8, 100, 1536, 'channels'] as const) {
      const spatial = separable.reduce(
        (sum, [inputs]) => sum + 9 * inputs * (inputs / groupsOf(inputs, segments) - 1),
        0,
      );
      expect(count(build({ segments })), String(segments)).to.equal(figure5 + spatial);
    }
    expect(count(build({ segments: 1536 }))).to.equal(figure5);
  });

  it('a plain stack in the layout of VGG-16', () => {
    const widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
    const stack = widths.slice(1).reduce((sum, outputs, i) => {
      const inputs = widths[i] as number;
      return sum + 9 * inputs + inputs * outputs + 2 * outputs;
    }, 0);
    expect(count(build({ style: 'vgg' }))).to.equal(stack + 512 * 1000 + 1000);
  });

  it('refuses what it does not have', () => {
    expect(() => build({ segments: 0 })).to.throw(
      ArgumentError,
      'segments expects a whole number of at least 1',
    );
    expect(() => build({ fullyConnected: [0] })).to.throw(
      ArgumentError,
      'fullyConnected expects whole numbers',
    );
    expect(() => xception({ variant: { depth: 3 } })).to.throw(ArgumentError, 'no option depth');
  });
});

for (const backend of [reference, ...networkDevices]) {
  describe(`segments on ${backend.name}`, () => {
    const channels = 6;
    const x = generate('x', [2, 5, 5, channels], 1);
    const valuesOf = async (forward: (x: Tensor) => Tensor, images = x) => {
      using y = scope(() => forward(tensor(images, [2, 5, 5, channels], { backend })));
      return (await y.data()) as Float32Array;
    };
    const values = (module: Module) => valuesOf((x) => module.forward(x, new ForwardContext()));
    /** A separable convolution with generated weights. */
    const separableOf = (groups: number) => {
      const module = new SeparableConv2d(channels, 4, { kernel: 3, padding: 'same', groups });
      const spatial = module.depthwise.weight;
      spatial.give(generate('spatial', spatial.shape, 1));
      module.pointwise.weight.give(generate('pointwise', module.pointwise.weight.shape, 1));
      return module.to(backend);
    };

    it('one segment is a regular convolution, exactly', async () => {
      using separable = separableOf(1);
      const convolution = new Conv2d(channels, channels, { kernel: 3, padding: 'same' });
      convolution.weight.give(generate('spatial', [channels, 3, 3, channels], 1));
      using regular: Module = convolution.to(backend);
      const both = await valuesOf((x) =>
        ops.conv2d(regular.forward(x, new ForwardContext()), separable.pointwise.weight),
      );
      expect(await values(separable)).to.deep.equal(both);
    });

    it('as many as channels is a depthwise convolution, exactly', async () => {
      using separable = separableOf(channels);
      using plain = new SeparableConv2d(channels, 4, { kernel: 3, padding: 'same' });
      plain.depthwise.weight.give(generate('spatial', [channels, 3, 3, 1], 1));
      plain.pointwise.weight.give(generate('pointwise', [4, 1, 1, channels], 1));
      expect(await values(separable)).to.deep.equal(await values(plain.to(backend)));
    });

    for (const groups of [1, 2, 3, channels]) {
      it(`${groups} segments see ${channels / groups} channels each, exactly`, async () => {
        // Whole numbers, whose sums are exact in whatever order they are made.
        const [images, filters, mix] = [
          wholeNumbers('x', [2, 5, 5, channels]),
          wholeNumbers('spatial', [channels, 3, 3, channels / groups]),
          wholeNumbers('pointwise', [4, 1, 1, channels]),
        ];
        using module = new SeparableConv2d(channels, 4, { kernel: 3, padding: 'same', groups });
        module.depthwise.weight.give(filters);
        module.pointwise.weight.give(mix);
        module.to(backend);
        const found = await valuesOf((x) => module.forward(x, new ForwardContext()), images);
        const expected = separableByHand(images, filters, mix, [2, 5, 5, channels], groups);
        expect(Array.from(found, (value) => value + 0)).to.deep.equal(expected); // + 0: there is no -0 by hand
      });
    }
  });
}

/** Small where a width is free; otherwise whole networks at the smallest size. */
const trained: readonly (readonly [string, XceptionVariant])[] = [
  ['without residual connections', { residual: false }],
  ['with ReLU between', { intermediateActivation: 'relu' }],
  ['with ELU between', { intermediateActivation: 'elu' }],
  ['with fully connected layers', { fullyConnected: [48, 32] }],
  ['in eight segments', { segments: 8 }],
  ['as a plain stack', { style: 'vgg', fullyConnected: [32] }],
];

for (const backend of networkDevices) {
  describe(`training variants of xception on ${backend.name}`, function () {
    this.timeout(600_000);
    const images = { data: generate('images', [2, 71, 71, 3], 1), shape: [2, 71, 71, 3] };

    for (const [name, variant] of trained) {
      it(`${name}: a step changes every parameter, and files keep the network`, async () => {
        using model = xception({ classes: 3, size: 71, dropout: 0, ...variant });
        model.to(backend);
        const before = await model.weights();
        const trainer = new Trainer(model, {
          device: backend.name,
          optimizer: sgd({ momentum: 0 }),
          schedule: constant(0.1),
          batchSize: 2,
          polyak: 0,
        });
        const { steps } = await trainer.fit(arrays(images, Int32Array.of(0, 2), { classes: 3 }), {
          steps: 1,
        });
        expect(steps[0]?.loss).to.be.within(0.1, 10);
        const after = await model.weights();
        for (const [weight, { data }] of after) {
          expect(data.every(Number.isFinite), weight).to.equal(true);
          expect(data, weight).not.to.deep.equal(before.get(weight)?.data);
        }

        const folder = mkdtempSync(join(tmpdir(), 'depthwise-variant-'));
        try {
          const file = join(folder, 'model.safetensors');
          await model.save(file);
          using again = await loadModel(file);
          expect(again.config.options).to.deep.equal({ dropout: 0, batchNormMomentum: 0.99, ...variant });
          again.to(backend);
          const outputs = await model.outputs(images, { logits: true });
          expect(await again.outputs(images, { logits: true })).to.deep.equal(outputs);
          const eager = await model.outputs(images, { logits: true, mode: 'eager' });
          const largest = outputs.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          eager.forEach((value, i) => {
            expect(value).to.be.closeTo(outputs[i] as number, 1e-4 * largest);
          });
          const error = await model.save(join(folder, 'model.weights.h5')).catch((reason) => reason);
          expect(error).to.be.instanceOf(CheckpointError);
        } finally {
          rmSync(folder, { recursive: true });
        }
      });
    }
  });
}
