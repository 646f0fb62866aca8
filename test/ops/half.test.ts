// Every op that computes in f16 and bf16, on the simulation of CUDA in all orders of threads: against float64 on operands
// that a half can hold. What is lost is a few roundings of the results, not of the sums.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { type Aval, aval, byteLength } from '../../lib/core/aval.ts';
import { arrayFor, type DType, isFloating, type TensorData, viewAs } from '../../lib/core/dtype.ts';
import { DTypeError } from '../../lib/core/errors.ts';
import type { AnyOp } from '../../lib/core/op.ts';
import { programOfOne } from '../../lib/core/program.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { opDevices, reference } from '../support/devices.ts';
import { fromHalf, type Half, halfBits, halfValue, roundoff, toHalf } from '../support/half.ts';
import { type Given, Random } from '../support/random.ts';
import { type OpCase, relativeError, runOp } from '../support/testOp.ts';
import { cases } from './cases.ts';

const caseCount = 6;

/** Ops that a program computes in f32, whatever the type of its activations; and those in a layout of a backend's own. */
const left: readonly OpName[] = [
  'sgdUpdate',
  'momentumUpdate',
  'rmspropUpdate',
  'rmspropMomentumUpdate',
  'adamUpdate',
  'polyakUpdate',
  'packFilters',
  'conv2dPacked',
  'conv2dPackedAdd',
];

const simulations = opDevices.filter(({ name }) => name.startsWith('cudasim'));

/** The attributes, with a half in place of a floating type. */
const attributesFor = (attributes: unknown, half: Half): unknown =>
  typeof attributes === 'object' && attributes !== null && 'dtype' in attributes && attributes.dtype === 'f32'
    ? { ...attributes, dtype: half }
    : attributes;

/** Types of the operands: as many halves as the op accepts; sums, scales and the like stay f32. */
function operandTypes(
  op: AnyOp,
  inputs: readonly Given[],
  attributes: unknown,
  half: Half,
): DType[] | undefined {
  const open = inputs.flatMap(({ dtype }, i) => (dtype === undefined ? [i] : []));
  const choices = Array.from({ length: 2 ** open.length }, (_, bits) =>
    inputs.map(({ dtype }, i) => dtype ?? ((bits >> open.indexOf(i)) & 1 ? 'f32' : half)),
  );
  const halves = (types: readonly DType[]) => types.filter((type) => type === half).length;
  return choices
    .sort((a, b) => halves(b) - halves(a))
    .find((types) => {
      try {
        op.infer(
          inputs.map(({ shape }, i) => aval(shape, types[i] as DType)),
          attributes,
        );
        return true;
      } catch (error) {
        if (!(error instanceof DTypeError)) throw error;
        return false;
      }
    });
}

const dataOf = (values: ArrayLike<number>, dtype: DType): TensorData => {
  if (dtype === 'f16' || dtype === 'bf16') return toHalf(dtype, values);
  const data = arrayFor(dtype, values.length);
  data.set(Array.from(values));
  return data;
};

/** Outputs of one run, halves as numbers. */
function run(
  device: Backend,
  op: AnyOp,
  attributes: unknown,
  inputs: readonly Aval[],
  data: readonly TensorData[],
) {
  const outputs = op.infer(inputs, attributes);
  const program = device.prepare(programOfOne(op, attributes, inputs, outputs));
  const from = inputs.map((a, i) => {
    const buffer = device.allocate(byteLength(a));
    device.write(buffer, new Uint8Array(data[i]!.buffer, data[i]!.byteOffset, data[i]!.byteLength));
    return buffer;
  });
  const to = outputs.map((a) => device.allocate(byteLength(a)));
  device.run(program, from, to);
  const results = outputs.map((a, i) => {
    const raw = viewAs(a.dtype, device.readSync(to[i]!, byteLength(a)));
    return a.dtype === 'f16' || a.dtype === 'bf16' ? fromHalf(a.dtype, raw) : Float64Array.from(raw);
  });
  for (const buffer of [...from, ...to]) device.release(buffer);
  device.forget(program);
  return { outputs, results };
}

function check(op: AnyOp, given: OpCase<unknown>, half: Half): void {
  const attributes = attributesFor(given.attributes, half);
  const types = operandTypes(op, given.inputs, attributes, half);
  expect(types, 'types that the op accepts').not.to.equal(undefined);
  // What the device gets, so that the reference computes with the same numbers.
  const inputs = given.inputs.map((input, i) => ({
    ...input,
    values: types![i] === half ? fromHalf(half, toHalf(half, input.values)) : input.values,
  }));
  const avals = inputs.map(({ shape }, i) => aval(shape, types![i] as DType));
  const expected = runOp(reference, op, { ...given, inputs }, 'f64').data;
  for (const device of simulations) {
    if (!device.supports(op, avals, attributes).supported) continue;
    const data = inputs.map(({ values }, i) => dataOf(values, types![i] as DType));
    const { outputs, results } = run(device, op, attributes, avals, data);
    outputs.forEach(({ dtype }, i) => {
      const what = `${device.name}: ${op.outputs[i]}`;
      if (!isFloating(dtype)) expect([...results[i]!], what).to.deep.equal([...expected[i]!]);
      // Fused ops round what they stand for in between. An f32 result may be a sum of rounded elements that cancel.
      else {
        const roundings = dtype === half ? 4 : 16;
        expect(relativeError(results[i]!, expected[i]!), what).to.be.at.most(roundings * roundoff(half));
      }
    });
  }
}

describe('halves', () => {
  it('are rounded to the nearest', () => {
    for (const half of ['f16', 'bf16'] as const) {
      for (let bits = 0; bits < 0x7c00; bits += 1) {
        const [value, next] = [halfValue(half, bits), halfValue(half, bits + 1)];
        if (half === 'f16' && bits === 0x7bff) continue;
        expect(halfBits(half, value)).to.equal(bits);
        expect(halfBits(half, (value + next) / 2)).to.equal(bits + (bits % 2));
      }
    }
  });
});

for (const half of ['f16', 'bf16'] as const) {
  describe(`ops in ${half}`, () => {
    for (const name of (Object.keys(cases) as OpName[]).filter((name) => !left.includes(name))) {
      it(name, () => {
        for (let i = 0; i < caseCount; i++) {
          const random = new Random(`${name}/${half}/${i}`);
          check(allOps[name], cases[name](random, i), half);
        }
      });
    }
  });
}
