// Ten updates on recorded gradients against Keras and PyTorch (scripts/record/updates.py).

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { withBackend } from '../../lib/core/device.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { ops } from '../../lib/ops/index.ts';
import { devices, reference } from '../support/devices.ts';
import { generate } from '../support/generator.ts';

/** Hyper-parameters of a recorded run and the weights at its end. */
interface Recorded {
  readonly framework: 'keras' | 'pytorch';
  readonly rule: 'sgd' | 'rmsprop' | 'adam';
  readonly lr: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly rho?: number;
  readonly epsilon?: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly l2: number;
  readonly weights: Readonly<Record<string, readonly number[]>>;
}

interface Fixture {
  readonly seed: number;
  readonly steps: number;
  readonly tensors: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly scale: number;
  }[];
  readonly cases: readonly Recorded[];
}

const url = new URL('../fixtures/updates.json', import.meta.url);
const { seed, steps, tensors, cases }: Fixture = JSON.parse(readFileSync(url, 'utf8'));

/** The parameter and the optimizer's state, which starts at zeros. */
type State = Record<'w' | 'm' | 'v', Tensor>;

function update(recorded: Recorded, state: State, g: Tensor, lr: Tensor, step: Tensor): Partial<State> {
  const {
    rule,
    framework,
    momentum = 0,
    nesterov = false,
    rho = 0.9,
    epsilon = 1e-7,
    l2: weightDecay,
  } = recorded;
  const { w, m, v } = state;
  if (rule === 'adam') {
    const { beta1 = 0.9, beta2 = 0.999 } = recorded;
    return ops.adamUpdate(w, g, m, v, lr, step, { beta1, beta2, epsilon, weightDecay });
  }
  if (rule === 'rmsprop') {
    const options = { rho, epsilon, epsilonOutside: framework === 'pytorch', weightDecay };
    if (momentum === 0) return ops.rmspropUpdate(w, g, v, lr, options);
    return ops.rmspropMomentumUpdate(w, g, v, m, lr, { ...options, momentum });
  }
  if (momentum === 0) return { w: ops.sgdUpdate(w, g, lr, { weightDecay }) };
  return ops.momentumUpdate(w, g, m, lr, { momentum, nesterov, weightDecay });
}

for (const backend of [reference, ...devices]) {
  describe(`ten updates on ${backend.name}`, () => {
    for (const recorded of cases) {
      const { weights, framework, rule, ...parameters } = recorded;
      // PyTorch's Adam adds epsilon after the correction of v: another rule than Keras', which ours is.
      if (framework === 'pytorch' && rule === 'adam') continue;
      it(`are those of ${framework} ${rule} ${JSON.stringify(parameters)}`, () => {
        for (const { name, shape, scale } of tensors) {
          const w = withBackend(backend, () =>
            scope(() => {
              let state: State = {
                w: tensor(generate(`weight/${name}`, shape, seed), shape),
                m: ops.zeros(shape),
                v: ops.zeros(shape),
              };
              for (let step = 1; step <= steps; step++) {
                const g = tensor(generate(`gradient/${name}/${step}`, shape, seed, { limit: scale }), shape);
                state = { ...state, ...update(recorded, state, g, tensor(recorded.lr), tensor(step)) };
              }
              return state.w.dataSync();
            }),
          );
          const expected = weights[name]!;
          const distance = Math.max(...Array.from(w, (value, i) => Math.abs(value - expected[i]!)));
          expect(distance, `largest difference in ${name}`).to.be.at.most(1e-6);
        }
      });
    }
  });
}
