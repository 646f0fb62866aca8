// Optimizers and averages over parameters in one block of memory: the bits of one update per parameter, and what comes
// from outside.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { compile } from '../../lib/core/compile.ts';
import { setDefaultBackend } from '../../lib/core/device.ts';
import { ArgumentError, DisposedError } from '../../lib/core/errors.ts';
import { memory } from '../../lib/core/memory.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor, type Variable, variable } from '../../lib/core/tensor.ts';
import { Parameter } from '../../lib/nn/module.ts';
import { ops } from '../../lib/ops/index.ts';
import {
  adam,
  createOptimizer,
  type Optimizer,
  type OptimizerSpec,
  PolyakAverage,
  rmsprop,
  sgd,
} from '../../lib/optim/index.ts';
import { devices, reference } from '../support/devices.ts';
import { Random } from '../support/random.ts';

/** Sizes that leave gaps between parts, and vectors with a rest; kernels (which decay) and others take turns. */
const shapes: readonly (readonly number[])[] = [[5, 3, 3, 2], [7], [31, 9], [], [64], [1000, 37], [33]];
const decays = (i: number) => i % 2 === 0;
const weightDecay = 0.01;

const normal = (name: string, shape: readonly number[]): Float32Array =>
  Float32Array.from(new Random(name).normal(shape).values);

/** Parameters with the same values each time. */
function makeParameters(): Map<string, Parameter> {
  return new Map(
    shapes.map((shape, i) => {
      const parameter = new Parameter(shape, () => normal(`w${i}`, shape), { decay: decays(i) });
      parameter.give(normal(`w${i}`, shape));
      return [`p${i}`, parameter];
    }),
  );
}

const gradients = (step: number): Tensor[] =>
  shapes.map((shape, i) => tensor(normal(`g${i}/${step}`, shape), shape));

/** One parameter at a time, by the ops themselves. */
function updateOne(spec: OptimizerSpec, state: Record<string, Tensor>, g: Tensor, i: number, step: number) {
  const [lr, number] = [tensor(0.05), tensor(step)];
  const decay = { weightDecay: decays(i) ? weightDecay : 0, decayed: g.size };
  const made = spec.update(
    state.w as Tensor,
    g,
    state as Record<string, Variable>,
    { lr, step: number },
    decay,
  );
  for (const [name, value] of Object.entries(made)) (state[name] as Variable).assign(value);
}

const specs: readonly (readonly [string, OptimizerSpec])[] = [
  ['sgd', sgd({ momentum: 0 })],
  ['momentum', sgd()],
  ['nesterov', sgd({ nesterov: true })],
  ['rmsprop', rmsprop({ momentum: 0 })],
  ['rmsprop with momentum', rmsprop()],
  ['rmsprop of PyTorch', rmsprop({ epsilonOutside: true, momentum: 0.5 })],
  ['adam', adam()],
];

for (const backend of [reference, ...devices]) {
  describe(`optimizers on ${backend.name}`, () => {
    before(() => setDefaultBackend(backend));
    after(() => setDefaultBackend(undefined));

    for (const [name, spec] of specs) {
      it(`gives the bits of one update per parameter: ${name}`, () => {
        const expected = alone(spec);
        for (const mode of ['eager', 'none', 'all'] as const) {
          expect(trained(backend, spec, mode), mode).to.deep.equal(expected);
        }
      });
    }

    it('takes up what parameters and state are given from outside', () => {
      withOptimizer((optimizer, parameters, average) => {
        using step = compiledStep(optimizer, average);
        step(1);
        const p1 = parameters.get('p1')!;
        const values = new Float32Array(7).fill(3);
        p1.set(values);
        const momentum = optimizer.state().get('p5/momentum')!;
        momentum.set(new Float32Array(momentum.size));
        average.averages.get('p0')!.set(new Float32Array(90));
        step(2);
        const g = normal('g1/2', [7]);
        const m = normal('g1/1', [7]);
        const at = (i: number) => 3 + 0.9 * -0.05 * m[i]! - 0.05 * g[i]!;
        [...p1.dataSync()].forEach((value, i) => {
          expect(value).to.be.closeTo(at(i), 1e-5);
        });
        const p5 = normal('g5/2', [1000, 37]);
        const m5 = momentum.dataSync();
        expect(m5[0]! / p5[0]!, 'started anew').to.be.closeTo(-0.05, 0.01);
        expect(average.averages.get('p0')!.dataSync()[0]).to.be.closeTo(
          0.1 * parameters.get('p0')!.dataSync()[0]!,
          1e-6,
        );
      });
    });

    it('exchanges parameters and averages and trains on as if it had not', async () => {
      const run = async (exchange: boolean): Promise<number[][]> => {
        let result: number[][] = [];
        await withOptimizer(async (optimizer, parameters, average) => {
          using step = compiledStep(optimizer, average);
          step(1);
          if (exchange) {
            await average.during(async () => {
              expect([...parameters.get('p1')!.dataSync()]).not.to.deep.equal([
                ...average.averages.get('p1')!.dataSync(),
              ]);
            });
          }
          step(2);
          result = [...parameters.values(), ...average.averages.values()].map((v) => [...v.dataSync()]);
        });
        return result;
      };
      expect(await run(true)).to.deep.equal(await run(false));
    });

    it('updates the parameters that it was given and leaves the others alone', () => {
      const parameters = makeParameters();
      const some = new Map([...parameters].filter(([path]) => path !== 'p2' && path !== 'p5'));
      const frozen = [...parameters.get('p5')!.dataSync()];
      const optimizer = createOptimizer(sgd(), some, { weightDecay });
      scope(() => {
        const grads = gradients(1).filter((_, i) => i !== 2 && i !== 5);
        optimizer.step(grads, { lr: tensor(0.05), step: tensor(1) });
        expect([...parameters.get('p5')!.dataSync()]).to.deep.equal(frozen);
        expect([...parameters.get('p4')!.dataSync()]).not.to.deep.equal([...normal('w4', [64])]);
        expect(() => optimizer.step(gradients(1), { lr: tensor(0.05), step: tensor(1) })).to.throw(
          ArgumentError,
          '5 parameters, 7 gradients',
        );
      });
      optimizer.dispose();
      // Then everything, by a fresh one: the head first, then all.
      const all = createOptimizer(sgd(), parameters);
      scope(() => all.step(gradients(2), { lr: tensor(0.05), step: tensor(1) }));
      expect([...parameters.get('p5')!.dataSync()]).not.to.deep.equal(frozen);
      all.dispose();
      for (const parameter of parameters.values()) parameter.dispose();
    });

    it('has nothing to do without parameters', () => {
      const optimizer = createOptimizer(adam(), new Map());
      const average = new PolyakAverage(new Map());
      scope(() => {
        optimizer.step([], { lr: tensor(1), step: tensor(1) });
        average.update(tensor(0.9));
      });
      expect([optimizer.state().size, average.averages.size]).to.deep.equal([0, 0]);
      optimizer.dispose();
      average.dispose();
    });

    it('says which parameter is gone', () => {
      withOptimizer((optimizer, parameters) => {
        parameters.get('p2')!.dispose();
        scope(() => {
          const inputs = { lr: tensor(0.05), step: tensor(1) };
          expect(() => optimizer.step(gradients(1), inputs)).to.throw(DisposedError, 'f32[31,9]');
        });
      });
    });

    it('averages variables that no optimizer has, or several', () => {
      scope(() => {
        const parameters = makeParameters();
        const first = createOptimizer(sgd(), new Map([...parameters].slice(0, 3)));
        const second = createOptimizer(sgd(), new Map([...parameters].slice(3, 5)));
        const statistic = variable([1, 2], [2]);
        const average = new PolyakAverage(new Map<string, Variable>([...parameters, ['s', statistic]]));
        statistic.set([3, 6]);
        parameters.get('p3')!.set([5]);
        average.update(tensor(0.5));
        expect([...average.averages.get('s')!.dataSync()]).to.deep.equal([2, 4]);
        const before = normal('w3', [])[0]!;
        expect(average.averages.get('p3')!.dataSync()[0]).to.be.closeTo(before + 0.5 * (5 - before), 1e-6);
        for (const owner of [average, first, second, statistic, ...parameters.values()]) owner.dispose();
      });
    });
  });
}

/** Three updates of each parameter by itself, each followed by that of its average, with decay 0.9. */
function alone(spec: OptimizerSpec): number[][] {
  const states = shapes.map((shape, i) => {
    const zero = () => variable(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
    const w = variable(normal(`w${i}`, shape), shape);
    return { w, ...Object.fromEntries(spec.stateNames.map((name) => [name, zero()])) };
  });
  const averages = shapes.map((shape, i) => variable(normal(`w${i}`, shape), shape));
  for (let step = 1; step <= 3; step += 1) {
    scope(() => {
      gradients(step).forEach((g, i) => {
        const state = states[i]!;
        updateOne(spec, state, g, i, step);
        averages[i]!.assign(ops.polyakUpdate(averages[i]!, state.w, tensor(0.9)));
      });
    });
  }
  const all = [...states.flatMap((state) => Object.values(state)), ...averages] as Variable[];
  const result = all.map((v) => [...v.dataSync()]);
  for (const each of all) each.dispose();
  return result;
}

/** The same by an optimizer. */
function trained(backend: Backend, spec: OptimizerSpec, mode: 'eager' | 'none' | 'all'): number[][] {
  const before = memory(backend);
  const parameters = makeParameters();
  const optimizer = createOptimizer(spec, parameters, { weightDecay });
  const average = new PolyakAverage(parameters);
  const body = (lr: Tensor, step: Tensor, decay: Tensor, ...grads: Tensor[]) => {
    optimizer.step(grads, { lr, step });
    average.update(decay);
  };
  const compiled = mode === 'eager' ? undefined : compile(body, { passes: mode });
  for (let step = 1; step <= 3; step += 1) {
    scope(() => (compiled ?? body)(tensor(0.05), tensor(step), tensor(0.9), ...gradients(step)));
  }
  const state = optimizer.state();
  const result = [
    ...[...parameters].flatMap(([path, w]) => [
      w,
      ...spec.stateNames.map((name) => state.get(`${path}/${name}`)!),
    ]),
    ...average.averages.values(),
  ].map((v) => [...v.dataSync()]);
  compiled?.dispose();
  for (const owner of [average, optimizer, ...parameters.values()]) owner.dispose();
  const { tensors, bytes } = memory(backend);
  expect([tensors, bytes], 'memory held').to.deep.equal([before.tensors, before.bytes]);
  return result;
}

/** Momentum over fresh parameters, with an average, for the time of `body`. */
function withOptimizer<T>(
  body: (optimizer: Optimizer, parameters: Map<string, Parameter>, average: PolyakAverage) => T,
): T {
  const parameters = makeParameters();
  const optimizer = createOptimizer(sgd(), parameters);
  const average = new PolyakAverage(parameters);
  const dispose = () => {
    for (const owner of [average, optimizer, ...parameters.values()]) owner.dispose();
  };
  const result = body(optimizer, parameters, average);
  if (result instanceof Promise) return result.finally(dispose) as T;
  dispose();
  return result;
}

/** Runs step `n` of an optimizer, then of an average with decay 0.9, compiled. */
function compiledStep(optimizer: Optimizer, average: PolyakAverage) {
  const step = compile((lr: Tensor, number: Tensor, decay: Tensor, ...grads: Tensor[]) => {
    optimizer.step(grads, { lr, step: number });
    average.update(decay);
  });
  const run = (n: number) => scope(() => step(tensor(0.05), tensor(n), tensor(0.9), ...gradients(n)));
  return Object.assign(run, { [Symbol.dispose]: () => step.dispose() });
}
