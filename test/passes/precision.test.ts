// Programs in 16 bits: what of them is in 16 bits and what is not, and what memory they are planned to take.

import { expect } from 'chai';
import { createClassifier } from '../../lib/classify/load.ts';
import { computeTypeOf } from '../../lib/classify/precision.ts';
import { sizeOf } from '../../lib/core/aval.ts';
import { compile } from '../../lib/core/compile.ts';
import { instructionBytes, type Program } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { ForwardContext } from '../../lib/nn/module.ts';
import { createOptimizer, GradientGate, PolyakAverage, sgd } from '../../lib/optim/index.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import { planningBackend } from '../support/planning.ts';
import { batchOf, type Half, halves, stepOn } from '../train/mixed.ts';
import { tinyClassifier } from '../train/tiny.ts';

describe('the program of a step in 16 bits', () => {
  const programOf = (precision: 'fp32' | Half): Program => {
    using training = stepOn(planningBackend(), { precision });
    return training.step.program(batchOf(4));
  };
  const count = (program: Program, name: string) =>
    program.instructions.filter(({ op }) => op.name === name).length;

  it('has the activations and what they are multiplied with in 16 bits, and the rest in f32', () => {
    for (const [precision, type] of [
      ['bf16', 'bf16'],
      ['fp16', 'f16'],
    ] as const) {
      const { instructions, values } = programOf(precision);
      const large = new Set(instructions.filter(({ op }) => /^(conv2d|depthwise|linear)/.test(op.name)));
      expect(large.size).to.be.greaterThan(8);
      for (const { op, inputs, outputs } of instructions) {
        const types = [...inputs, ...outputs].map((id) => values[id]!);
        for (const { shape, dtype } of types) {
          if (shape.length === 4 && dtype !== 'u8') expect(dtype, op.name).to.equal(type);
        }
        if (/Update$|^polyak|CrossEntropy|^batchNormFinalize/.test(op.name)) {
          for (const { dtype } of types) expect(dtype, op.name).to.be.oneOf(['f32', 'i32']);
        }
      }
    }
  });

  it('casts the parameters, and the gradients of kernels, in one instruction each', () => {
    const { instructions, values } = programOf('bf16');
    const casts = instructions.filter(({ op }) => op.name === 'cast').map(({ inputs: [x] }) => values[x!]!);
    // The logits and their gradient are the others.
    expect(casts.map(({ shape }) => shape.length).sort()).to.deep.equal([1, 1, 2, 2]);
    expect(count(programOf('fp16'), 'unscale')).to.equal(2);
    for (const name of ['cast', 'unscale']) expect(count(programOf('fp32'), name), name).to.equal(0);
    expect(count(programOf('bf16'), 'unscale')).to.equal(0);
  });

  it('looks once at the gradients, and chooses only between decays and between running statistics', () => {
    for (const precision of ['fp32', ...halves] as const) {
      const { instructions, values } = programOf(precision);
      const inputsOf = (name: string) =>
        instructions.filter(({ op }) => op.name === name).map(({ inputs }) => values[inputs[1]!]!.shape);
      expect(inputsOf('gradientGate')).to.deep.equal([[]]);
      const running = 2 * 2 * 32; // mean and variance of two layers, each from a multiple of 32 elements on
      expect(inputsOf('select')).to.have.deep.members([[], [running]]);
    }
  });
});

describe('the program of inference in 16 bits', () => {
  it('folds normalization into kernels in f32, and rounds the product once', () => {
    for (const [precision, type] of [
      ['bf16', 'bf16'],
      ['fp16', 'f16'],
    ] as const) {
      const backend = planningBackend();
      using model = tinyClassifier().to(backend);
      const computeType = computeTypeOf(precision, backend);
      const forward = (x: Tensor) => model.logits(x, new ForwardContext({ computeType }));
      using compiled = compile(forward, { passes: { without: ['hoisting'] } });
      const { instructions, values } = scope(() =>
        compiled.program(tensor(new Uint8Array(192), [1, 8, 8, 3], { backend })),
      );
      const typesOf = (name: string) =>
        instructions
          .filter(({ op }) => op.name === name)
          .map(({ inputs, outputs }) => [...inputs, ...outputs].map((id) => values[id]!.dtype));
      const products = typesOf('filterMultiply');
      expect(products.length).to.equal(2);
      for (const types of products) expect(types).to.deep.equal(['f32', 'f32', 'f32']);
      for (const types of typesOf('conv2dBias')) expect(types).to.deep.equal([type, type, 'f32', type]);
      // Three kernels and that of the last layer, and its result.
      expect(typesOf('cast').length).to.equal(4 + 1);
    }
  });
});

describe("Xception's step at batch 8, 299 pixels, as planned", () => {
  const [batch, size] = [8, 299];

  const programOf = (precision: 'fp32' | Half): Program => {
    const backend = planningBackend();
    using model = createClassifier('xception', { classes: 1000, size });
    for (const parameter of model.network.state().values())
      parameter.give(new Float32Array(sizeOf(parameter.shape)));
    model.to(backend);
    const parameters = model.network.trainableParameters();
    using optimizer = createOptimizer(sgd(), parameters, { weightDecay: 1e-5 });
    using polyak = new PolyakAverage(parameters);
    using gate = new GradientGate(backend, precision === 'fp16' ? { lossScale: {} } : {});
    const parts = { model, optimizer, polyak, gate, computeType: computeTypeOf(precision, backend) };
    using step = new TrainingStep({
      ...{ ...parts, mode: 'compiled', loss: 'softmax', seed: 1 },
      ...{ labelSmoothing: 0, classWeights: undefined },
    });
    const images = new Uint8Array(batch * size * size * 3);
    return step.program({ images, shape: [batch, size, size, 3], labels: new Int32Array(batch) });
  };
  const traffic = (program: Program) =>
    program.instructions.reduce((sum, instruction) => sum + instructionBytes(program, instruction), 0);

  it('takes half the memory and nearly half the traffic of fp32, with the same fusions', () => {
    const full = programOf('fp32');
    for (const precision of halves) {
      const half = programOf(precision);
      const figures = [full, half].map((p) => [
        p.plan.arenaBytes / 1e6,
        traffic(p) / 1e9,
        p.instructions.length,
      ]);
      if (process.env.PARITY_FIGURES !== undefined) console.log(precision, figures);
      // The gradients of all parameters in f32 are there in both: 91 MB.
      expect(half.plan.arenaBytes / full.plan.arenaBytes).to.be.within(0.48, 0.55);
      expect(traffic(half) / traffic(full)).to.be.within(0.48, 0.58);
      // Casts of parameters, gradients, pixels and logits; loss scaling.
      const more = half.instructions.length - full.instructions.length;
      expect(more).to.be.within(3, precision === 'bf16' ? 6 : 16);
    }
  }).timeout(60_000);
});
