// What a network consists of: its layers with shapes, parameters and multiply-adds, from one forward pass of shapes alone.
// No weight is made and no device is opened.

import { type Aval, aval, byteLength, type Shape } from '../core/aval.ts';
import { ArgumentError } from '../core/errors.ts';
import type { AnyOp } from '../core/op.ts';
import { scope } from '../core/scope.ts';
import { Tensor } from '../core/tensor.ts';
import { recording, type Trace } from '../core/traceState.ts';
import { Conv2d } from '../nn/layers.ts';
import { ForwardContext, type Module } from '../nn/module.ts';
import { multiplyAddsOf } from '../ops/cost.ts';

/** One layer. */
export interface LayerSummary {
  /** Path of the module, or the kind and a number for a layer without parameters. */
  readonly name: string;
  readonly type: string;
  /** Of one image, without the batch axis. */
  readonly output: Shape;
  /** Trainable ones and running statistics. */
  readonly parameters: number;
  /** Products of convolutions and dense layers for one image; 0 for the others. */
  readonly multiplyAdds: number;
}

/** A network in figures. */
export interface NetworkSummary {
  readonly layers: readonly LayerSummary[];
  /** `total` includes the running statistics. */
  readonly parameters: { readonly trainable: number; readonly total: number };
  readonly multiplyAdds: number;
  /** Bytes of all layers' outputs for one image: about what training keeps until the backward pass. */
  readonly activationBytes: number;
}

/** An op of the forward pass that makes activations, with the module whose tensors it reads. */
interface Seen {
  readonly op: string;
  readonly owner: string | undefined;
  readonly output: Aval;
  readonly multiplyAdds: number;
}

/** Names of layers by op; the pieces of one layer (a bias, the parts of a normalization) are one line. */
const types: Readonly<Record<string, string>> = {
  channelAffine: 'batchNorm',
  linear: 'linear',
  addBias: 'linear',
};

/** A trace that keeps shapes only. */
class ShapeTrace implements Trace {
  readonly seen: Seen[] = [];
  /** Of traced values that come from a module's own tensors alone: that module. */
  readonly #owners = new Map<number, string>();
  /** Traced values that depend on nothing: numbers that a layer has without being told. */
  readonly #constants = new Set<number>();
  readonly #pathOf: ReadonlyMap<number, string>;
  #values = 0;

  constructor(network: Module) {
    this.#pathOf = new Map(
      [...network.state()].map(([path, parameter]) => [
        parameter.id,
        path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : '',
      ]),
    );
  }

  argument(a: Aval): Tensor {
    this.#values += 1;
    return new Tensor(a, { kind: 'traced', trace: this, value: this.#values });
  }

  record(op: AnyOp, inputs: readonly Tensor[], attributes: unknown, outputs: readonly Aval[]): Tensor[] {
    const ownerOf = ({ id }: Tensor) => this.#pathOf.get(id) ?? this.#owners.get(id);
    const owners = inputs.filter(({ id }) => !this.#constants.has(id)).map(ownerOf);
    const owner = owners.find((path) => path !== undefined);
    const made = outputs.map((a) => this.argument(a));
    if (owners.length === 0) {
      for (const { id } of made) this.#constants.add(id);
    } else if (owner !== undefined && !owners.includes(undefined)) {
      for (const { id } of made) this.#owners.set(id, owner);
    } else {
      const output = outputs[0] as Aval;
      this.seen.push({
        op: op.name,
        owner,
        output,
        multiplyAdds: multiplyAddsOf(
          op.name,
          inputs.map((input) => input.aval),
          [output],
          attributes,
        ),
      });
    }
    return made;
  }

  lift(tensor: Tensor): Tensor {
    return tensor;
  }

  assign(): void {
    throw new ArgumentError('summary: a forward pass without training assigns nothing');
  }
}

/**
 * Layers, parameters and multiply-adds of a network for one image.
 * @param shape [height, width, channels] of the image
 */
export function summarize(network: Module, shape: Shape): NetworkSummary {
  const trace = new ShapeTrace(network);
  recording(trace, () => {
    scope(() => {
      network.forward(trace.argument(aval([1, ...shape], 'f32')), new ForwardContext());
    });
  });
  const count = (tensors: Iterable<Tensor>) => [...tensors].reduce((sum, { size }) => sum + size, 0);
  const modules = new Map(network.modules());
  const layers: LayerSummary[] = [];
  const numbers = new Map<string, number>();
  let last: Seen | undefined;
  for (const seen of trace.seen) {
    const { op, owner, output } = seen;
    const continues = owner !== undefined && owner === last?.owner;
    last = seen;
    const [, ...one] = output.shape;
    if (continues) continue; // the bias of a layer that is listed already
    let type = types[op] ?? op;
    let name: string;
    let parameters = 0;
    if (owner === undefined) {
      const number = (numbers.get(op) ?? 0) + 1;
      numbers.set(op, number);
      name = `${op}_${number}`;
    } else {
      name = owner;
      const module = modules.get(owner);
      if (module !== undefined) {
        const own = { ...module.ownParameters(), ...module.ownStatistics() };
        parameters = count(Object.values(own));
      }
      if (module instanceof Conv2d && (module.options.groups ?? 1) > 1) {
        type = module.weight.shape[3] === 1 ? 'depthwiseConv2d' : 'groupedConv2d';
      }
    }
    layers.push({ name, type, output: one, parameters, multiplyAdds: seen.multiplyAdds });
  }
  return {
    layers,
    parameters: { trainable: count(network.parameters().values()), total: count(network.state().values()) },
    multiplyAdds: layers.reduce((sum, layer) => sum + layer.multiplyAdds, 0),
    activationBytes: trace.seen.reduce((sum, { output }) => sum + byteLength(output), 0),
  };
}
