// Programs as ONNX graphs: an instruction becomes an operation of ONNX. Knows ops and no network; every network whose
// inference program consists of these ops can be written.
//
// Images are NHWC here and NCHW in ONNX: values of four axes are kept as NCHW in the graph, the input is transposed once.

import { type Aval, showAval, sizeOf } from '../../core/aval.ts';
import { UnsupportedError } from '../../core/errors.ts';
import type { Draft } from '../../core/passes/graph.ts';
import type { Instruction, ValueId } from '../../core/program.ts';
import type { ConvAttributes } from '../../ops/conv2d.ts';
import type { EpilogueAttributes } from '../../ops/inference.ts';
import type { AvgPoolAttributes, PoolAttributes } from '../../ops/pool.ts';
import type { Margins } from '../../ops/window.ts';
import { transposedEach } from '../transpose.ts';
import {
  type Attribute,
  float32Type,
  floatAttribute,
  type Initializer,
  intAttribute,
  intsAttribute,
  type Node,
} from './schema.ts';

/** A program to be written: what it computes with and from. */
export interface OnnxProgram {
  /** Traced for a batch of 1, which becomes free. */
  readonly draft: Draft;
  /** Elements of the values that do not depend on the input, as they lie in memory here. */
  readonly constants: ReadonlyMap<ValueId, Float32Array>;
  /** Name of the one value that the program takes: f32 [1, height, width, channels]. */
  readonly input: { readonly value: ValueId; readonly name: string };
  /** Names of what it gives. */
  readonly outputs: readonly { readonly value: ValueId; readonly name: string }[];
}

/** Operations and constants of a graph. */
export interface OnnxGraph {
  readonly nodes: readonly Node[];
  readonly initializers: readonly Initializer[];
}

/** How a constant is laid out in ONNX. */
type Layout = 'kernel' | 'channels' | 'as it is';

class Writer {
  readonly nodes: Node[] = [];
  readonly initializers: Initializer[] = [];
  readonly #program: OnnxProgram;
  /** Names of values that have been made. */
  readonly #names = new Map<ValueId, string>();
  readonly #constants = new Map<string, string>();
  readonly #used = new Set<string>();

  constructor(program: OnnxProgram) {
    this.#program = program;
    for (const { name } of [program.input, ...program.outputs]) this.#used.add(name);
  }

  aval(value: ValueId): Aval {
    return this.#program.draft.values[value] as Aval;
  }

  /** `wanted`, or with a number behind it where it is taken. */
  unique(wanted: string): string {
    let name = wanted;
    for (let n = 2; this.#used.has(name); n += 1) name = `${wanted}_${n}`;
    this.#used.add(name);
    return name;
  }

  setName(value: ValueId, name: string): void {
    this.#names.set(value, name);
  }

  /** The name of a value that an operation has made. */
  made(value: ValueId): string {
    const name = this.#names.get(value);
    if (name === undefined) throw new UnsupportedError(`onnx: %${value}, an output, depends on no input`);
    return name;
  }

  /** The name of a value that an operation reads, which becomes a constant of the graph if it is one. */
  read(value: ValueId, instruction: Instruction, operand: string, layout: Layout = 'as it is'): string {
    const name = this.#names.get(value);
    if (name !== undefined) return name;
    const data = this.#program.constants.get(value);
    if (data === undefined)
      throw new UnsupportedError(`onnx: %${value} of ${instruction.op.name} is unknown`);
    const key = `${value} ${layout}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const { shape } = this.aval(value);
    if (shape.length === 4 && layout !== 'kernel') {
      throw new UnsupportedError(
        `onnx: ${instruction.op.name} with a constant of [${shape}], expected kernels`,
      );
    }
    const { dims, elements } = inLayout(data, shape, layout);
    const made = this.unique(`${instruction.note ?? instruction.op.name}.${operand}`);
    this.#constants.set(key, made);
    const rawData = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
    this.initializers.push({ name: made, dims, dataType: float32Type, rawData });
    return made;
  }

  /** Adds an operation and returns the name of its result. */
  add(
    opType: string,
    input: readonly string[],
    instruction: Instruction | undefined,
    attribute: readonly Attribute[] = [],
    output = this.unique(`${instruction?.note ?? 'input'}/${opType}`),
  ): string {
    this.nodes.push({ name: `${output}.node`, opType, input, output: [output], attribute });
    return output;
  }
}

/** A constant as ONNX wants it: kernels [out, in, height, width], per-channel numbers [channels, 1, 1]. */
function inLayout(
  data: Float32Array,
  shape: readonly number[],
  layout: Layout,
): { dims: readonly number[]; elements: Float32Array } {
  if (layout === 'channels') return { dims: [...shape, 1, 1], elements: data };
  if (layout === 'as it is' || shape.length !== 4) return { dims: shape, elements: data };
  const [out = 1, height = 1, width = 1, inner = 1] = shape;
  return { dims: [out, inner, height, width], elements: transposedEach(data, out, height * width, inner) };
}

const pads = ([top, bottom, left, right]: Margins): Attribute =>
  intsAttribute('pads', [top, left, bottom, right]);

/** Writes an instruction; the name of its first result comes back. */
type Rule = (writer: Writer, instruction: Instruction) => string;

/** conv2d and what was folded into it: a bias, a residual, a ReLU. */
const convolve: Rule = (writer, instruction) => {
  const { op, inputs, attributes } = instruction;
  const { stride, padding, dilation, groups, ...epilogue } = attributes as ConvAttributes &
    Partial<EpilogueAttributes>;
  const [x, w, bias, residual] = inputs as [ValueId, ValueId, ValueId?, ValueId?];
  const [, height = 1, width = 1] = writer.aval(w).shape;
  const operands = [writer.read(x, instruction, 'x'), writer.read(w, instruction, 'weight', 'kernel')];
  if (bias !== undefined) operands.push(writer.read(bias, instruction, 'bias'));
  let y = writer.add('Conv', operands, instruction, [
    intsAttribute('kernel_shape', [height, width]),
    intsAttribute('strides', stride),
    pads(padding),
    intsAttribute('dilations', dilation),
    intAttribute('group', groups),
  ]);
  if (op.name === 'conv2dBiasAdd' && residual !== undefined) {
    y = writer.add('Add', [y, writer.read(residual, instruction, 'residual')], instruction);
  }
  return epilogue.relu === true ? writer.add('Relu', [y], instruction) : y;
};

const pool =
  (opType: string, more: (attributes: AvgPoolAttributes) => readonly Attribute[]): Rule =>
  (writer, instruction) => {
    const attributes = instruction.attributes as AvgPoolAttributes;
    const { kernel, stride, padding }: PoolAttributes = attributes;
    return writer.add(
      opType,
      [writer.read(instruction.inputs[0] as ValueId, instruction, 'x')],
      instruction,
      [
        intsAttribute('kernel_shape', kernel),
        intsAttribute('strides', stride),
        pads(padding),
        ...more(attributes),
      ],
    );
  };

/** An operation of the same operands in both. */
const plain =
  (opType: string, attributes: (instruction: Instruction) => readonly Attribute[] = () => []): Rule =>
  (writer, instruction) =>
    writer.add(
      opType,
      instruction.inputs.map((value, i) => writer.read(value, instruction, `operand${i + 1}`)),
      instruction,
      attributes(instruction),
    );

/** Where an axis of a value here is in ONNX. */
const axisOf = (axis: number, rank: number): number => (rank === 4 ? ([0, 2, 3, 1][axis] as number) : axis);

const rules: Readonly<Record<string, Rule>> = {
  conv2d: convolve,
  conv2dBias: convolve,
  conv2dBiasAdd: convolve,
  channelAffine: (writer, instruction) => {
    const [x, scale, shift] = instruction.inputs as [ValueId, ValueId, ValueId];
    const layout = writer.aval(x).shape.length === 4 ? 'channels' : 'as it is';
    const product = writer.add(
      'Mul',
      [writer.read(x, instruction, 'x'), writer.read(scale, instruction, 'scale', layout)],
      instruction,
    );
    return writer.add('Add', [product, writer.read(shift, instruction, 'shift', layout)], instruction);
  },
  maxPool: pool('MaxPool', () => []),
  avgPool: pool('AveragePool', ({ countPadding }) => [
    intAttribute('count_include_pad', Number(countPadding)),
  ]),
  globalAvgPool: (writer, instruction) => {
    const mean = plain('GlobalAveragePool')(writer, instruction);
    return writer.add('Flatten', [mean], instruction, [intAttribute('axis', 1)]);
  },
  linear: plain('Gemm', () => [intAttribute('transB', 1)]),
  addBias: (writer, instruction) => {
    const [x, bias] = instruction.inputs as [ValueId, ValueId];
    const layout = writer.aval(x).shape.length === 4 ? 'channels' : 'as it is';
    return writer.add(
      'Add',
      [writer.read(x, instruction, 'x'), writer.read(bias, instruction, 'bias', layout)],
      instruction,
    );
  },
  add: plain('Add'),
  subtract: plain('Sub'),
  multiply: plain('Mul'),
  relu: plain('Relu'),
  elu: plain('Elu', ({ attributes }) => [
    floatAttribute('alpha', (attributes as { readonly alpha: number }).alpha),
  ]),
  sigmoid: plain('Sigmoid'),
  softmax: plain('Softmax', () => [intAttribute('axis', -1)]),
  concat: (writer, instruction) => {
    const rank = writer.aval(instruction.inputs[0] as ValueId).shape.length;
    const { axis } = instruction.attributes as { readonly axis: number };
    return plain('Concat', () => [intAttribute('axis', axisOf(axis, rank))])(writer, instruction);
  },
};

/** Names of the ops that can be written. */
export const writableOps: readonly string[] = Object.keys(rules);

/**
 * The graph of a program.
 * @throws UnsupportedError for an op that is not among {@link writableOps}, or a value of another type than f32
 */
export function writeGraph(program: OnnxProgram): OnnxGraph {
  const { draft, input, outputs } = program;
  const writer = new Writer(program);
  // NHWC to NCHW
  writer.setName(
    input.value,
    writer.add('Transpose', [input.name], undefined, [intsAttribute('perm', [0, 3, 1, 2])]),
  );
  for (const instruction of draft.instructions) {
    if (instruction.outputs.every((value) => program.constants.has(value))) continue;
    const [y] = instruction.outputs as readonly [ValueId];
    const a = writer.aval(y);
    const rule = rules[instruction.op.name];
    if (rule === undefined || a.dtype !== 'f32' || sizeOf(a.shape) === 0) {
      throw new UnsupportedError(
        `onnx: ${instruction.op.name} to ${showAval(a)} cannot be written; expected f32 by ${writableOps.join(', ')}`,
      );
    }
    writer.setName(y, rule(writer, instruction));
  }
  for (const { value, name } of outputs) writer.add('Identity', [writer.made(value)], undefined, [], name);
  return { nodes: writer.nodes, initializers: writer.initializers };
}
