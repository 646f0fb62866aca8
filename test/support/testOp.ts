// A whole op test in one line: forward, gradient, every device, encoding, and memory back to where it was.

import { expect } from 'chai';
import type { Backend } from '../../lib/backend/backend.ts';
import { apply } from '../../lib/core/apply.ts';
import { type Aval, aval, byteLength, showAval, sizeOf } from '../../lib/core/aval.ts';
import { bufferCounters } from '../../lib/core/buffer.ts';
import { compile } from '../../lib/core/compile.ts';
import { withBackend } from '../../lib/core/device.ts';
import { arrayFor, isFloating, type TensorData, viewAs } from '../../lib/core/dtype.ts';
import { type AnyOp, hasGradient, type Op } from '../../lib/core/op.ts';
import { programOfOne, showAttributes } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { valueAndGrad } from '../../lib/core/tape.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { allOps, type OpName, ops, type opTable } from '../../lib/ops/index.ts';
import { opDevices as devices, reference } from './devices.ts';
import { type Given, Random } from './random.ts';

/** Attributes of an op, by its name. */
export type AttributesOf<N extends OpName> =
  (typeof opTable)[N] extends Op<infer A, infer _I, infer _O> ? A : never;

/** One random case of an op. */
export interface OpCase<A> {
  readonly inputs: readonly Given[];
  readonly attributes: A;
}

/** Makes case `i` of an op. */
export type CaseMaker<A> = (random: Random, i: number) => OpCase<A>;

const caseCount = 20;
type Floating = 'f32' | 'f64';

const avalOf = ({ shape, dtype }: Given, floating: Floating): Aval => aval(shape, dtype ?? floating);

function dataOf(given: Given, floating: Floating): TensorData {
  const data = arrayFor(given.dtype ?? floating, given.values.length);
  data.set(given.values);
  return data;
}

/** An attribute `dtype: 'f32'` takes the type of the run, as floating operands do. */
function attributesFor(attributes: unknown, floating: Floating): unknown {
  const ofF32 = typeof attributes === 'object' && attributes !== null && 'dtype' in attributes;
  return ofF32 && attributes.dtype === 'f32' ? { ...attributes, dtype: floating } : attributes;
}

const bytesOf = (data: TensorData): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** A function from inputs to outputs: an op at fixed shapes and attributes, prepared once on a backend. */
function prepareOp(backend: Backend, op: AnyOp, attributes: unknown, inputs: readonly Aval[]) {
  const outputs = op.infer(inputs, attributes);
  const program = backend.prepare(programOfOne(op, attributes, inputs, outputs));
  const run = (data: readonly TensorData[]): TensorData[] => {
    const from = inputs.map((a) => backend.allocate(byteLength(a)));
    const to = outputs.map((a) => backend.allocate(byteLength(a)));
    try {
      from.forEach((buffer, i) => {
        backend.write(buffer, bytesOf(data[i]!));
      });
      backend.run(program, from, to);
      return outputs.map((a, i) => viewAs(a.dtype, backend.readSync(to[i]!, byteLength(a))));
    } finally {
      for (const buffer of [...from, ...to]) backend.release(buffer);
    }
  };
  return { outputs, run, forget: () => backend.forget(program) };
}

/** Runs one op once, without tensors. */
export function runOp(
  backend: Backend,
  op: AnyOp,
  { inputs, attributes }: OpCase<unknown>,
  floating: Floating = 'f32',
): { avals: readonly Aval[]; data: TensorData[] } {
  const avals = inputs.map((given) => avalOf(given, floating));
  const { outputs, run, forget } = prepareOp(backend, op, attributesFor(attributes, floating), avals);
  try {
    return { avals: outputs, data: run(inputs.map((given) => dataOf(given, floating))) };
  } finally {
    forget();
  }
}

const norm = (values: ArrayLike<number>): number =>
  Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));

/** |got - expected| / |expected|, or the absolute distance where nothing larger than 1e-4 is expected. */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(got.length, 'number of elements').to.equal(expected.length);
  const distance = norm(Array.from(expected, (value, i) => value - got[i]!));
  return Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance / Math.max(norm(expected), 1e-4);
}

const inner = (a: Float64Array, b: ArrayLike<number>): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** Expects floating outputs within a relative error, and others equal. */
export function expectClose(
  op: AnyOp,
  got: readonly TensorData[],
  expected: readonly TensorData[],
  within: number,
): void {
  op.outputs.forEach((name, i) => {
    if (expected[i] instanceof Float32Array || expected[i] instanceof Float64Array) {
      expect(relativeError(got[i]!, expected[i]!), `relative error of ${name}`).to.be.at.most(within);
    } else {
      expect([...got[i]!], name).to.deep.equal([...expected[i]!]);
    }
  });
}

/** Coordinates at which a gradient is compared one by one; a random direction covers the rest. */
const coordinates = 16;
const step = 1e-5;
const gradientTolerance = 1e-5;

/**
 * Compares an op's rule, as the tape applies it, with central differences of sum(cotangent * output) in
 * float64, for every input that it says it differentiates.
 */
function checkGradient(op: AnyOp, given: OpCase<unknown>, random: Random): void {
  if (!hasGradient(op.vjp)) return;
  const { differentiates, through = op.outputs } = op.vjp;
  const inputs = given.inputs;
  const attributes = attributesFor(given.attributes, 'f64');
  const wrt = inputs.flatMap(({ dtype }, i) => {
    const name = op.inputs[Math.min(i, op.inputs.length - 1)]!;
    return dtype === undefined && differentiates.includes(name) ? [i] : [];
  });
  const avals = inputs.map((input) => avalOf(input, 'f64'));
  const { outputs, run, forget } = prepareOp(reference, op, attributes, avals);
  const values = inputs.map((input) => dataOf(input, 'f64'));
  const cotangents = outputs.map(({ shape, dtype }, i) =>
    isFloating(dtype) && through.includes(op.outputs[i]!) ? random.normal(shape) : undefined,
  );
  if (wrt.length === 0 || cotangents.every((cotangent) => cotangent === undefined)) {
    forget();
    return;
  }
  const loss = (data: readonly TensorData[]): number =>
    run(data).reduce((total, y, k) => {
      const cotangent = cotangents[k]?.values;
      return cotangent === undefined ? total : total + inner(cotangent, y);
    }, 0);

  const analytic = withBackend(reference, () =>
    scope(() => {
      const tensors = avals.map(({ shape, dtype }, i) => tensor(values[i]!, shape, { dtype }));
      const weighted = (y: Tensor, k: number) => {
        const cotangent = cotangents[k];
        return cotangent && ops.sum(ops.multiply(y, tensor(cotangent.values, cotangent.shape)));
      };
      const total = () =>
        apply(op, tensors, attributes)
          .flatMap((y, k) => weighted(y, k) ?? [])
          .reduce((a, b) => ops.add(a, b));
      const { grads } = valueAndGrad(
        total,
        wrt.map((i) => tensors[i]!),
      )();
      return grads.map((grad) => grad.dataSync());
    }),
  );

  const slope = (at: number, direction: ArrayLike<number>): number => {
    const moved = (by: number) =>
      loss(
        values.map((data, i) =>
          i === at ? Float64Array.from(data, (x, j) => x + by * direction[j]!) : data,
        ),
      );
    return (moved(step) - moved(-step)) / (2 * step);
  };
  wrt.forEach((at, k) => {
    const size = sizeOf(inputs[at]!.shape);
    const units = Array.from({ length: Math.min(size, coordinates) }, (_, i) => {
      const place = size <= coordinates ? i : random.whole(0, size - 1);
      return Float64Array.from({ length: size }, (_, j) => Number(j === place));
    });
    const directions = [...units, random.normal([size]).values];
    const numeric = directions.map((direction) => slope(at, direction));
    const expected = directions.map((direction) => inner(direction, analytic[k]!));
    const error = relativeError(expected, numeric);
    expect(error, `relative error of the gradient of operand ${at}`).to.be.at.most(gradientTolerance);
  });
  forget();
}

/** Eager and compiled runs give the same bits. */
function checkCompiled(backend: Backend, op: AnyOp, { inputs, attributes }: OpCase<unknown>): void {
  const run = (...operands: Tensor[]) => apply(op, operands, attributes);
  using compiled = compile(run);
  withBackend(backend, () =>
    scope(() => {
      const operands = inputs.map((given) => tensor(dataOf(given, 'f32'), given.shape));
      const [eager, traced] = [run, compiled].map((f) => f(...operands).map((y) => [...y.dataSync()]));
      expect(traced, `compiled on ${backend.name}`).to.deep.equal(eager);
    }),
  );
}

/** Ops that a device need not have: programs fall back on what these stand for. */
const optionalOps: readonly OpName[] = [
  'depthwiseAffine',
  'depthwiseRelu',
  'depthwiseAffineGrad',
  'depthwiseReluGrad',
  'conv2dSums',
  'channelAffine2',
  'conv2dInputGradAffine2',
  'conv2dWeightGradAffine2',
  'affineRelu',
  'affineReluGrad',
  'affineAdd',
  'affineMaxPoolAdd',
  'maxPoolGradSums',
  'filterMultiply',
  'conv2dBias',
  'conv2dBiasAdd',
];

/** Ops with operands in a layout of each backend's own, which no other can read: test/ops/packing.test.ts has these. */
const ownLayouts: readonly OpName[] = ['packFilters', 'conv2dPacked', 'conv2dPackedAdd'];

const printed = new Set<string>();

/** Whether a device does not support an op that it need not; prints why. Anything else unsupported is a failure. */
function skipped(device: Backend, op: AnyOp, { inputs, attributes }: OpCase<unknown>): boolean {
  const avals = inputs.map((given) => avalOf(given, 'f32'));
  const support = device.supports(op, avals, attributes);
  const optional = optionalOps.some((name) => name === op.name);
  if (support.supported || !optional) {
    expect(support, device.name).to.deep.equal({ supported: true });
    return false;
  }
  const line = `op ${op.name} skipped on ${device.name}: ${support.reason}\n`;
  if (!printed.has(line)) process.stderr.write(line);
  printed.add(line);
  return true;
}

/** An output that may take an operand's memory has the same bits when it does. */
function checkInPlace(backend: Backend, op: AnyOp, { inputs, attributes }: OpCase<unknown>): void {
  if (op.inPlace === undefined) return;
  const avals = inputs.map((given) => avalOf(given, 'f32'));
  const outputs = op.infer(avals, attributes);
  const program = backend.prepare(programOfOne(op, attributes, avals, outputs));
  const run = (inPlace: boolean): number[][] => {
    const from = inputs.map((given, i) => {
      const buffer = backend.allocate(byteLength(avals[i]!));
      backend.write(buffer, bytesOf(dataOf(given, 'f32')));
      return buffer;
    });
    const to = outputs.map((a, i) => {
      const operand = op.inPlace?.[i];
      if (!inPlace || operand === undefined) return backend.allocate(byteLength(a));
      const shared = from[op.inputs.indexOf(operand)]!;
      backend.retain(shared);
      return shared;
    });
    backend.run(program, from, to);
    const results = to.map((buffer, i) => [...backend.readSync(buffer, byteLength(outputs[i]!))]);
    for (const buffer of [...from, ...to]) backend.release(buffer);
    return results;
  };
  expect(run(true), `in place on ${backend.name}`).to.deep.equal(run(false));
  backend.forget(program);
}

/** Runs `body` and expects that no device holds more or less than before. */
function expectMemoryBack(backends: readonly Backend[], body: () => void): void {
  const held = () => [
    bufferCounters().buffers,
    ...backends.flatMap((b) => [b.memory().buffers, b.memory().live]),
  ];
  const before = held();
  body();
  expect(held(), 'memory held').to.deep.equal(before);
}

/**
 * Tests an op on 20 random cases: the reference backend in float32 against float64, the gradient against
 * finite differences, every device against the reference, eager against compiled, and the encoding. A case's name reproduces it.
 */
export function testOp(name: OpName, make: CaseMaker<unknown>): void {
  const op = allOps[name];
  const reason = 'none' in op.vjp ? ` (no gradient: ${op.vjp.none})` : '';
  describe(`${name}${reason}`, () => {
    for (let i = 0; i < caseCount; i++) {
      const random = new Random(`${name}/${i}`);
      const given = make(random, i);
      const shapes = given.inputs.map((input) => showAval(avalOf(input, 'f32'))).join(' ');
      it(`${i}: ${shapes} ${showAttributes(given.attributes)}`.trimEnd(), () => {
        expectMemoryBack([reference, ...devices], () => {
          const single = runOp(reference, op, given);
          const double = runOp(reference, op, given, 'f64');
          expect(single.avals.map(({ shape }) => shape)).to.deep.equal(
            double.avals.map(({ shape }) => shape),
          );
          expectClose(op, single.data, double.data, 1e-6);
          checkGradient(op, given, random);
          checkCompiled(reference, op, given);
          for (const device of ownLayouts.includes(name) ? [] : devices) {
            if (skipped(device, op, given)) continue;
            checkCompiled(device, op, given);
            expectClose(op, runOp(device, op, given).data, single.data, 1e-5);
            checkInPlace(device, op, given);
          }
        });
        const encoded = op.encode(given.attributes);
        expect(encoded.every(Number.isFinite), 'encoding is of finite numbers').to.equal(true);
        expect(op.encode(structuredClone(given.attributes))).to.deep.equal(encoded);
      });
    }
  });
}
