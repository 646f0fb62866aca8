// Packed filters on every device that packs: the convolution is the one of the filters as they were, the bytes asked for are
// those that packFilters takes, and others are refused.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { apply } from '../../lib/core/apply.ts';
import { withBackend } from '../../lib/core/device.ts';
import { UnsupportedError } from '../../lib/core/errors.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import {
  conv2dBiasAddOp,
  conv2dBiasOp,
  conv2dPackedAddOp,
  conv2dPackedOp,
  type EpilogueAttributes,
  packFiltersOp,
} from '../../lib/ops/inference.ts';
import { devices, reference } from '../support/devices.ts';
import { Random } from '../support/random.ts';
import { type OpCase, relativeError } from '../support/testOp.ts';
import { cases } from './cases.ts';

/** Shapes of Xception's layers on small images: x, w, rows and columns of the output. */
const layers = [
  { x: [2, 19, 19, 96], w: [136, 1, 1, 96], size: [19, 19], stride: 1, padding: 0 },
  { x: [1, 12, 12, 64], w: [128, 1, 1, 64], size: [6, 6], stride: 2, padding: 0 },
  { x: [3, 13, 13, 3], w: [32, 3, 3, 3], size: [6, 6], stride: 2, padding: 0 },
  { x: [2, 9, 9, 32], w: [64, 3, 3, 32], size: [9, 9], stride: 1, padding: 1 },
  { x: [2, 14, 13, 32], w: [40, 3, 3, 32], size: [14, 13], stride: 1, padding: 1 },
] as const;

function layer(random: Random, i: number, add: boolean): OpCase<EpilogueAttributes> {
  const { x, w, size, stride, padding: p } = layers[i % layers.length]!;
  const shapes = [x, w, w.slice(0, 1), ...(add ? [[x[0], ...size, w[0]]] : [])];
  return {
    inputs: shapes.map((shape) => random.normal(shape)),
    attributes: {
      stride: [stride, stride],
      padding: [p, p, p, p],
      dilation: [1, 1],
      groups: 1,
      relu: i % 2 === 0,
    },
  };
}

const tensors = ({ inputs }: OpCase<unknown>) =>
  inputs.map(({ values, shape }) => tensor(Float32Array.from(values), shape)) as [Tensor, Tensor, Tensor];

/** What the device gives from packed filters, or undefined where it does not pack these. */
function fromPacked(device: Backend, given: OpCase<EpilogueAttributes>, add: boolean): number[] | undefined {
  return withBackend(device, () =>
    scope(() => {
      const [x, w, bias, ...residual] = tensors(given);
      const { attributes } = given;
      const op = add ? conv2dBiasAddOp : conv2dBiasOp;
      const avals = [x, w, bias, ...residual].map((t) => t.aval);
      if (!device.supports(op, avals, attributes).supported) return undefined;
      const bytes = device.packedBytes?.(op, avals, attributes);
      if (bytes === undefined) return undefined;
      const [n, height, width] = x.shape as [number, number, number];
      const [, rows, columns] = op.infer(avals, attributes)[0]!.shape as [number, number, number];
      const target = { ...attributes, image: [n, height, width], size: [rows, columns], add } as const;
      const [packed] = apply(packFiltersOp, [w], { ...target, bytes });
      expect(() => apply(packFiltersOp, [w], { ...target, bytes: bytes + 64 })).to.throw(UnsupportedError);
      const filters = w.shape as [number, number, number, number];
      const [y] = apply(add ? conv2dPackedAddOp : conv2dPackedOp, [x, packed!, bias, ...residual], {
        ...attributes,
        filters,
      });
      return [...y!.dataSync()];
    }),
  );
}

// The CUDA backend computes with filters as they come.
for (const device of devices.filter(({ name }) => name === 'cpu')) {
  describe(`packed filters on ${device.name}`, () => {
    for (const add of [false, true]) {
      const op = add ? conv2dBiasAddOp : conv2dBiasOp;
      it(`give what ${op.name} gives`, () => {
        let packed = 0;
        for (let i = 0; i < 40; i++) {
          const random = new Random(`packing/${op.name}/${i}`);
          const made = i < layers.length ? layer(random, i, add) : cases[op.name](random, i);
          const given = made as OpCase<EpilogueAttributes>;
          const got = fromPacked(device, given, add);
          if (i < layers.length) expect(got, `layer ${i} is packed`).to.not.equal(undefined);
          if (got === undefined) continue;
          packed += 1;
          const expected = withBackend(reference, () =>
            scope(() => [...apply(op, tensors(given), given.attributes)[0]!.dataSync()]),
          );
          expect(relativeError(got, expected), `case ${i}`).to.be.below(1e-5);
        }
        expect(packed).to.be.above(layers.length);
      });
    }
  });
}
