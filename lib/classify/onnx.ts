// Classifiers as ONNX files: the inference program is traced, normalization is folded into the filters, and every
// instruction becomes an operation.

import type { Backend } from '../backend/backend.ts';
import { openDevice } from '../backend/devices.ts';
import { apply } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { withBackend } from '../core/device.ts';
import { ArgumentError } from '../core/errors.ts';
import { type Draft, Graph } from '../core/passes/graph.ts';
import { optimize, passNames } from '../core/passes/pipeline.ts';
import type { Instruction, ValueId } from '../core/program.ts';
import { Recorder } from '../core/recorder.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, tensor } from '../core/tensor.ts';
import { recording } from '../core/traceState.ts';
import { writeFileAtomic } from '../interop/atomic.ts';
import { encodeOnnx } from '../interop/onnx/schema.ts';
import { type OnnxProgram, writableOps, writeGraph } from '../interop/onnx/writer.ts';
import { ForwardContext } from '../nn/module.ts';
import { ops } from '../ops/index.ts';
import type { Classifier } from './classifier.ts';
import { preprocessings } from './preprocess.ts';

/** What a classifier gives. */
export type OnnxOutput = 'probabilities' | 'logits';

/** Options of {@link toOnnx}. */
export interface OnnxOptions {
  /** Edge of the images in pixels, which is fixed in the file. Default: the classifier's. */
  readonly size?: number;
  /** Outputs of the graph by name, each f32 [batch, classes]. Default: probabilities. */
  readonly outputs?: readonly OnnxOutput[];
}

/** Version of ONNX's operators that is asked for: the oldest that has all that is used, and which every runtime knows. */
const opset = 17;

/** Rules that fold what depends on weights alone; the other passes serve a backend. */
const folding = ['dead code', 'common subexpressions', 'fold normalization', 'bias and add', 'bias and relu'];

/** Where what depends on weights alone is computed, so that the same weights give the same bytes wherever the classifier is. */
const foldingBackend = ({ backend }: Classifier): Backend =>
  backend.name === 'cpu' ? backend : openDevice('cpu');

/** Copies of tensors on another backend, for the caller to dispose of. */
async function copied(
  tensors: ReadonlyMap<ValueId, Tensor>,
  backend: Backend,
): Promise<Map<ValueId, Tensor>> {
  const elements = await Promise.all([...tensors.values()].map((it) => it.data()));
  return new Map(
    [...tensors].map(([value, { shape }], i) => [
      value,
      tensor(elements[i] as Float32Array, shape, { backend }),
    ]),
  );
}

/**
 * The elements of all values that depend on weights alone.
 * @param weights the program's inputs that are weights
 * @param backends from: where the weights are; on: where their values are computed
 */
async function constantsOf(
  draft: Draft,
  weights: ReadonlyMap<ValueId, Tensor>,
  { from, on }: { readonly from: Backend; readonly on: Backend },
): Promise<Map<ValueId, Float32Array>> {
  const graph = new Graph(draft);
  const still = ({ outputs }: Instruction) => outputs.every((value) => graph.holdsStill(value));
  const read = new Set(draft.instructions.filter((it) => !still(it)).flatMap(({ inputs }) => inputs));
  const made = new Set<ValueId>();
  const copies = from === on ? undefined : await copied(weights, on);
  const tensors = new Map(copies ?? weights);
  // Scopes are synchronous: those that are read outlive this one, as its result.
  const kept = scope(() =>
    withBackend(on, () => {
      for (const instruction of draft.instructions.filter(still)) {
        const operands = instruction.inputs.map((value) => tensors.get(value) as Tensor);
        const results = apply(instruction.op, operands, instruction.attributes);
        results.forEach((result, i) => {
          const value = instruction.outputs[i] as ValueId;
          tensors.set(value, result);
          made.add(value);
        });
      }
      return [...made].filter((value) => read.has(value)).map((value) => tensors.get(value) as Tensor);
    }),
  );
  try {
    const constants = new Map<ValueId, Float32Array>([...made].map((value) => [value, new Float32Array()]));
    for (const value of read) {
      const operand = tensors.get(value);
      if (operand !== undefined) constants.set(value, (await operand.data()) as Float32Array);
    }
    return constants;
  } finally {
    for (const each of [...kept, ...(copies?.values() ?? [])]) each.dispose();
  }
}

/** The inference program of a classifier, with the values of everything that depends on its weights alone. */
async function tracedProgram(
  model: Classifier,
  size: number,
  outputs: readonly OnnxOutput[],
): Promise<OnnxProgram> {
  model.to(model.backend); // a new model's weights get their first values
  const recorder = new Recorder();
  try {
    const found: ValueId[] = [];
    recording(recorder, () =>
      scope(() => {
        const logits = model.logits(recorder.argument(aval([1, size, size, 3], 'f32')), new ForwardContext());
        const named = {
          logits: () => logits,
          probabilities: () => (model.activation === 'sigmoid' ? ops.sigmoid(logits) : ops.softmax(logits)),
        };
        for (const name of outputs) found.push(recorder.valueOf(named[name](), 'onnx'));
      }),
    );
    const { draft, captured } = recorder.finish(found);
    const disabled = new Set(passNames().filter((name) => !folding.includes(name)));
    const backend = foldingBackend(model);
    const { draft: folded } = optimize(
      { ...draft, stillFrom: 1 },
      (op, inputs, attributes) =>
        writableOps.includes(op.name) ? { supported: true } : backend.supports(op, inputs, attributes),
      { disabled },
    );
    // Inputs and outputs keep their positions in a rewritten program.
    const [input, ...weights] = folded.inputs as readonly [ValueId, ...ValueId[]];
    const own = new Map(weights.map((value, i) => [value, captured[i]?.tensor as Tensor]));
    const constants = await constantsOf(folded, own, { from: model.backend, on: backend });
    return {
      draft: folded,
      constants,
      input: { value: input, name: 'images' },
      outputs: outputs.map((name, i) => ({ name, value: folded.outputs[i] as ValueId })),
    };
  } finally {
    recorder.release();
  }
}

/**
 * The bytes of an ONNX file that computes what the classifier does: `images`, float32 [batch, size, size, 3] as the
 * network's input stands (already normalised), to `probabilities` or `logits`, float32 [batch, classes]. The batch is
 * free. Labels and the rule of preprocessing are in the file's metadata. The same weights give the same bytes on every device:
 * normalization is folded on the CPU.
 * @throws ArgumentError for a size that is not a whole number above 0; ShapeError for one that the network cannot take;
 *   UnsupportedError for a network with an op that ONNX does not have
 */
export async function toOnnx(model: Classifier, options: OnnxOptions = {}): Promise<Uint8Array> {
  const { arch, classes, labels, preprocessing } = model.config;
  const { size = model.config.size, outputs = ['probabilities'] } = options;
  if (!Number.isInteger(size) || size < 1 || outputs.length === 0 || new Set(outputs).size < outputs.length) {
    throw new ArgumentError(
      `onnx: expected a size above 0 and each output once, got ${size} and [${outputs.join(', ')}]`,
    );
  }
  const { nodes, initializers } = writeGraph(await tracedProgram(model, size, outputs));
  const { scale, shift } = preprocessings[preprocessing];
  const metadata = new Map([
    ['arch', arch],
    ['preprocessing', JSON.stringify({ rule: preprocessing, scale, shift })],
    ...(labels === undefined ? [] : [['labels', JSON.stringify(labels)] as const]),
  ]);
  return encodeOnnx({
    name: arch,
    docString: `${arch}, ${classes} classes`,
    opset,
    nodes,
    initializers,
    inputs: [
      {
        name: 'images',
        docString: `red, green, blue; pixel * scale + shift of the metadata (rule ${preprocessing})`,
        shape: ['batch', size, size, 3],
      },
    ],
    outputs: outputs.map((name) => ({
      name,
      docString: `${name} of the classes`,
      shape: ['batch', classes],
    })),
    metadata,
  });
}

/**
 * Writes a classifier as an ONNX file, atomically.
 * @throws as {@link toOnnx}, and CheckpointError when the file cannot be written
 */
export async function writeOnnx(file: string, model: Classifier, options: OnnxOptions = {}): Promise<void> {
  await writeFileAtomic(file, [await toOnnx(model, options)]);
}
