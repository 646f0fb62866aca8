// Events as TensorBoard reads them: the messages of protocol buffers that are written here, with the field numbers of the
// standard (github.com/tensorflow/tensorboard, tensorboard/compat/proto: event, summary, tensor).

import protobuf from 'protobufjs';

const field = (type: string, id: number) => ({ type, id });
const repeated = (type: string, id: number) => ({ type, id, rule: 'repeated' });

const messages = {
  Event: {
    wallTime: field('double', 1),
    step: field('int64', 2),
    fileVersion: field('string', 3),
    summary: field('Summary', 5),
    sessionLog: field('SessionLog', 7),
  },
  SessionLog: { status: field('int32', 1) },
  Summary: { value: repeated('Value', 1) },
  Value: {
    tag: field('string', 1),
    simpleValue: field('float', 2),
    image: field('Image', 4),
    histo: field('HistogramProto', 5),
    tensor: field('TensorProto', 8),
    metadata: field('SummaryMetadata', 9),
  },
  Image: {
    height: field('int32', 1),
    width: field('int32', 2),
    colorspace: field('int32', 3),
    encodedImageString: field('bytes', 4),
  },
  HistogramProto: {
    min: field('double', 1),
    max: field('double', 2),
    num: field('double', 3),
    sum: field('double', 4),
    sumSquares: field('double', 5),
    bucketLimit: repeated('double', 6),
    bucket: repeated('double', 7),
  },
  TensorProto: {
    dtype: field('int32', 1),
    tensorShape: field('TensorShapeProto', 2),
    stringVal: repeated('bytes', 8),
  },
  TensorShapeProto: { dim: repeated('Dim', 2) },
  Dim: { size: field('int64', 1) },
  SummaryMetadata: { pluginData: field('PluginData', 1) },
  PluginData: { pluginName: field('string', 1) },
} as const;

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(Object.entries(messages).map(([name, fields]) => [name, { fields }])),
});
const eventType = root.lookupType('Event');

/** How values are spread: counts between rising limits. */
export interface Histogram {
  readonly min: number;
  readonly max: number;
  readonly count: number;
  readonly sum: number;
  readonly sumOfSquares: number;
  /** Upper limit of each bucket. */
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

/** Something with a name. */
export type SummaryValue = { readonly tag: string } & (
  | { readonly scalar: number }
  /** Markdown. */
  | { readonly text: string }
  | { readonly histogram: Histogram }
  | { readonly png: Uint8Array; readonly width: number; readonly height: number }
);

/** DT_STRING of TensorFlow's types. */
const stringType = 7;
/** SessionLog.START: what earlier files say of this step and later ones does not hold. */
const start = 1;
/** Red, green, blue. */
const rgb = 3;

function valueMessage(value: SummaryValue): object {
  const { tag } = value;
  if ('scalar' in value) return { tag, simpleValue: value.scalar };
  if ('png' in value) {
    const { width, height, png } = value;
    return { tag, image: { height, width, colorspace: rgb, encodedImageString: png } };
  }
  if ('text' in value) {
    const stringVal = [new TextEncoder().encode(value.text)];
    const tensor = { dtype: stringType, tensorShape: { dim: [{ size: 1 }] }, stringVal };
    return { tag, tensor, metadata: { pluginData: { pluginName: 'text' } } };
  }
  const { min, max, count, sum, sumOfSquares, limits, counts } = value.histogram;
  const histo = { min, max, num: count, sum, sumSquares: sumOfSquares, bucketLimit: limits, bucket: counts };
  return { tag, histo };
}

const encode = (event: object): Uint8Array => eventType.encode(event).finish();

/** The first event of a file. @param seconds since 1970 */
export const versionEvent = (seconds: number): Uint8Array =>
  encode({ wallTime: seconds, fileVersion: 'brain.Event:2' });

/** Says that a process begins to write at `step`: what older files have of it and later steps is thrown away. */
export const startEvent = (seconds: number, step: number): Uint8Array =>
  encode({ wallTime: seconds, step, sessionLog: { status: start } });

/** Values at a step. @param seconds since 1970 */
export const summaryEvent = (seconds: number, step: number, values: readonly SummaryValue[]): Uint8Array =>
  encode({ wallTime: seconds, step, summary: { value: values.map(valueMessage) } });

/** The message in the bytes of an event, as a plain object without defaults; for tests. */
export function decodeEvent(bytes: Uint8Array): Record<string, unknown> {
  return eventType.toObject(eventType.decode(bytes), { longs: Number });
}
