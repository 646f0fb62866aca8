// The part of ONNX's format that is written here: messages of protocol buffers with the field numbers of the standard
// (github.com/onnx/onnx, onnx/onnx.proto), as protobufjs takes them.

import protobuf from 'protobufjs';

const field = (type: string, id: number) => ({ type, id });
const repeated = (type: string, id: number) => ({ type, id, rule: 'repeated' });

const messages = {
  ModelProto: {
    irVersion: field('int64', 1),
    producerName: field('string', 2),
    producerVersion: field('string', 3),
    docString: field('string', 6),
    graph: field('GraphProto', 7),
    opsetImport: repeated('OperatorSetIdProto', 8),
    metadataProps: repeated('StringStringEntryProto', 14),
  },
  OperatorSetIdProto: { domain: field('string', 1), version: field('int64', 2) },
  StringStringEntryProto: { key: field('string', 1), value: field('string', 2) },
  GraphProto: {
    node: repeated('NodeProto', 1),
    name: field('string', 2),
    initializer: repeated('TensorProto', 5),
    input: repeated('ValueInfoProto', 11),
    output: repeated('ValueInfoProto', 12),
  },
  NodeProto: {
    input: repeated('string', 1),
    output: repeated('string', 2),
    name: field('string', 3),
    opType: field('string', 4),
    attribute: repeated('AttributeProto', 5),
  },
  AttributeProto: {
    name: field('string', 1),
    f: field('float', 2),
    i: field('int64', 3),
    ints: repeated('int64', 8),
    type: field('int32', 20),
  },
  TensorProto: {
    dims: repeated('int64', 1),
    dataType: field('int32', 2),
    name: field('string', 8),
    rawData: field('bytes', 9),
  },
  ValueInfoProto: {
    name: field('string', 1),
    type: field('TypeProto', 2),
    docString: field('string', 3),
  },
  TypeProto: { tensorType: field('TensorTypeProto', 1) },
  TensorTypeProto: { elemType: field('int32', 1), shape: field('TensorShapeProto', 2) },
  TensorShapeProto: { dim: repeated('DimensionProto', 1) },
  DimensionProto: { dimValue: field('int64', 1), dimParam: field('string', 2) },
} as const;

/** Codes of `AttributeProto.type`. */
const attributeTypes = { float: 1, int: 2, ints: 7 } as const;

/** Code of float32 in `TensorProto.data_type`. */
export const float32Type = 1;

/** One operation of a graph. */
export interface Node {
  readonly name: string;
  readonly opType: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly Attribute[];
}

export type Attribute = { readonly name: string; readonly type: number } & (
  | { readonly f: number }
  | { readonly i: number }
  | { readonly ints: readonly number[] }
);

/** A constant of float32. */
export interface Initializer {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  readonly rawData: Uint8Array;
}

/** An input or output: extents are numbers, or names where they are free. */
export interface ValueInfo {
  readonly name: string;
  readonly docString: string;
  readonly shape: readonly (number | string)[];
}

/** What a file holds. */
export interface OnnxModel {
  readonly name: string;
  readonly docString: string;
  /** Version of the set of operators. */
  readonly opset: number;
  readonly nodes: readonly Node[];
  readonly initializers: readonly Initializer[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly metadata: ReadonlyMap<string, string>;
}

export const intAttribute = (name: string, i: number): Attribute => ({ name, i, type: attributeTypes.int });
export const floatAttribute = (name: string, f: number): Attribute => ({
  name,
  f,
  type: attributeTypes.float,
});
export const intsAttribute = (name: string, ints: readonly number[]): Attribute => ({
  name,
  ints,
  type: attributeTypes.ints,
});

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(Object.entries(messages).map(([name, fields]) => [name, { fields }])),
});
const modelType = root.lookupType('ModelProto');

/** Version 8 of the format came with version 17 of the operators; readers take all older ones. */
const irVersion = 8;

const valueInfo = ({ name, docString, shape }: ValueInfo) => ({
  name,
  docString,
  type: {
    tensorType: {
      elemType: float32Type,
      shape: {
        dim: shape.map((extent) =>
          typeof extent === 'number' ? { dimValue: extent } : { dimParam: extent },
        ),
      },
    },
  },
});

/** The bytes of an ONNX file; the same model gives the same bytes. */
export function encodeOnnx(model: OnnxModel): Uint8Array {
  return modelType
    .encode({
      irVersion,
      producerName: 'depthwise',
      docString: model.docString,
      opsetImport: [{ domain: '', version: model.opset }],
      metadataProps: [...model.metadata].map(([key, value]) => ({ key, value })),
      graph: {
        name: model.name,
        node: model.nodes,
        initializer: model.initializers,
        input: model.inputs.map(valueInfo),
        output: model.outputs.map(valueInfo),
      },
    })
    .finish();
}

/** The messages in the bytes of an ONNX file, as plain objects, without defaults; for tests. */
export function decodeOnnx(bytes: Uint8Array): Record<string, unknown> {
  return modelType.toObject(modelType.decode(bytes), { longs: Number });
}
