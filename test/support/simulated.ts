// Ops in f32, f16 and bf16 on the CUDA backend, on the simulation in all orders of threads, against float64 on operands that the type can
// hold. What is lost is a few roundings of the results, not of the sums.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { type Aval, aval, byteLength } from '../../lib/core/aval.ts';
import { arrayFor, type DType, isFloating, type TensorData, viewAs } from '../../lib/core/dtype.ts';
import { DTypeError } from '../../lib/core/errors.ts';
import type { AnyOp } from '../../lib/core/op.ts';
import { programOfOne } from '../../lib/core/program.ts';
import { opDevices, reference } from './devices.ts';
import { fromHalf, type Half, roundoff, toHalf } from './half.ts';
import type { Given } from './random.ts';
import { type OpCase, relativeError, runOp } from './testOp.ts';

/** The CUDA backend: the simulation, once for each order of threads, and a GPU where there is one. */
export const cudaDevices = opDevices.filter(({ name }) => name.startsWith('cuda'));

type Computing = Half | 'f32';
const isHalf = (dtype: DType): dtype is Half => dtype === 'f16' || dtype === 'bf16';

/** The attributes, with the type in place of f32. */
const attributesFor = (attributes: unknown, type: Computing): unknown =>
  typeof attributes === 'object' && attributes !== null && 'dtype' in attributes && attributes.dtype === 'f32'
    ? { ...attributes, dtype: type }
    : attributes;

/** Types of the operands: as many of the given one as the op accepts; sums, scales and the like stay f32. */
function operandTypes(
  op: AnyOp,
  inputs: readonly Given[],
  attributes: unknown,
  type: Computing,
): DType[] | undefined {
  const open = inputs.flatMap(({ dtype }, i) => (dtype === undefined ? [i] : []));
  const choices = Array.from({ length: 2 ** open.length }, (_, bits) =>
    inputs.map(({ dtype }, i) => dtype ?? ((bits >> open.indexOf(i)) & 1 ? 'f32' : type)),
  );
  const matching = (types: readonly DType[]) => types.filter((one) => one === type).length;
  return choices
    .sort((a, b) => matching(b) - matching(a))
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
  if (isHalf(dtype)) return toHalf(dtype, values);
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
    return isHalf(a.dtype) ? fromHalf(a.dtype, raw) : Float64Array.from(raw);
  });
  for (const buffer of [...from, ...to]) device.release(buffer);
  device.forget(program);
  return { outputs, results };
}

/** The largest relative error of an output. Fused ops round what they stand for in between. */
function tolerance(type: Computing, output: DType): number {
  if (type === 'f32') return 1e-5;
  // An f32 result may be a sum of rounded elements that cancel.
  return (output === type ? 4 : 16) * roundoff(type);
}

/**
 * Expects what the reference computes in float64 from every simulation that supports the op.
 * @returns on how many it ran
 */
export function checkSimulated(op: AnyOp, given: OpCase<unknown>, type: Computing): number {
  const attributes = attributesFor(given.attributes, type);
  const types = operandTypes(op, given.inputs, attributes, type);
  expect(types, 'types that the op accepts').not.to.equal(undefined);
  // What the device gets, so that the reference computes with the same numbers.
  const inputs = given.inputs.map((input, i) => {
    const dtype = types![i]!;
    return isHalf(dtype) ? { ...input, values: fromHalf(dtype, toHalf(dtype, input.values)) } : input;
  });
  const avals = inputs.map(({ shape }, i) => aval(shape, types![i] as DType));
  const expected = runOp(reference, op, { ...given, inputs }, 'f64').data;
  const supporting = cudaDevices.filter((device) => device.supports(op, avals, attributes).supported);
  for (const device of supporting) {
    const data = inputs.map(({ values }, i) => dataOf(values, types![i] as DType));
    const { outputs, results } = run(device, op, attributes, avals, data);
    outputs.forEach(({ dtype }, i) => {
      const what = `${device.name}: ${op.outputs[i]}`;
      if (!isFloating(dtype)) expect([...results[i]!], what).to.deep.equal([...expected[i]!]);
      else expect(relativeError(results[i]!, expected[i]!), what).to.be.at.most(tolerance(type, dtype));
    });
  }
  return supporting.length;
}
