// Signatures: what an eager op was called with, apart from values. What follows from one (the shapes of the results, a
// prepared program) is worked out once and found again without making strings or running the shape rule.

import { type Aval, aval, sameShape } from './aval.ts';
import { dtypeCode } from './dtype.ts';
import type { AnyOp } from './op.ts';
import type { Tensor } from './tensor.ts';

/** An op with attributes and operands of certain shapes and types. The same object for each call that is alike. */
export interface Signature {
  readonly op: AnyOp;
  /** A copy. */
  readonly attributes: unknown;
  readonly inputs: readonly Aval[];
  /** What the op infers. */
  readonly outputs: readonly Aval[];
}

/** One that is kept, with the others of its op that have its hash. */
interface Kept extends Signature {
  readonly next: Kept | undefined;
}

/** When there are so many, all are forgotten: they cost little to work out again. */
const capacity = 4096;
const byOp = new Map<AnyOp, Map<number, Kept>>();
let count = 0;

/** The signature of a call of `op`. Throws what its shape rule throws. */
export function signatureOf(op: AnyOp, inputs: readonly Tensor[], attributes: unknown): Signature {
  const hash = hashOf(inputs, attributes);
  const ofOp = byOp.get(op);
  const first = ofOp?.get(hash);
  for (let kept = first; kept !== undefined; kept = kept.next) {
    if (sameInputs(kept.inputs, inputs) && sameAttributes(kept.attributes, attributes)) return kept;
  }
  const avals = inputs.map((input) => copyOf(input.aval));
  const outputs = op.infer(avals, attributes).map(copyOf);
  const copied = copyAttributes(attributes);
  // Attributes of another form than ops have cannot be compared: such a signature is used once.
  if (copied === undefined) return { op, attributes, inputs: avals, outputs };
  const signature: Kept = { op, attributes: copied, inputs: avals, outputs, next: first };
  if (count === capacity) {
    byOp.clear();
    count = 0;
  }
  count += 1;
  const home = byOp.get(op);
  if (home === undefined) byOp.set(op, new Map([[hash, signature]]));
  else home.set(hash, signature);
  return signature;
}

/** Apart from its origin, which may be an array of the caller's. */
const copyOf = ({ shape, dtype }: Aval): Aval => aval([...shape], dtype);

const bits = new Float64Array(1);
const halves = new Int32Array(bits.buffer);

function mix(hash: number, value: unknown): number {
  if (typeof value !== 'number') return Math.imul(hash, 31) + (value === true ? 1 : 0);
  if ((value | 0) === value) return Math.imul(hash, 31) + value;
  bits[0] = value;
  return Math.imul(Math.imul(hash, 31) + (halves[0] as number), 31) + (halves[1] as number);
}

/** Equal for calls that are alike. */
function hashOf(inputs: readonly Tensor[], attributes: unknown): number {
  let hash = inputs.length;
  for (const { aval: a } of inputs) {
    hash = Math.imul(hash, 31) + dtypeCode(a.dtype);
    for (const extent of a.shape) hash = Math.imul(hash, 31) + extent;
  }
  if (attributes === null || typeof attributes !== 'object') return hash | 0;
  const fields = attributes as Record<string, unknown>;
  for (const name in fields) {
    const value = fields[name];
    if (Array.isArray(value)) for (const element of value) hash = mix(hash, element);
    else hash = mix(hash, value);
  }
  return hash | 0;
}

function sameInputs(kept: readonly Aval[], inputs: readonly Tensor[]): boolean {
  if (kept.length !== inputs.length) return false;
  for (let i = 0; i < kept.length; i++) {
    const a = kept[i] as Aval;
    const b = (inputs[i] as Tensor).aval;
    if (a !== b && (a.dtype !== b.dtype || !sameShape(a.shape, b.shape))) return false;
  }
  return true;
}

function sameAttributes(kept: unknown, attributes: unknown): boolean {
  if (attributes === null || typeof attributes !== 'object') return false;
  const a = kept as Record<string, unknown>;
  const b = attributes as Record<string, unknown>;
  let fields = 0;
  for (const name in b) {
    fields += 1;
    if (!sameValue(a[name], b[name])) return false;
  }
  for (const _ in a) fields -= 1;
  return fields === 0;
}

function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/** Numbers, booleans, strings, undefined and arrays of them by name, as attributes are; undefined: something else. */
function copyAttributes(attributes: unknown): Record<string, unknown> | undefined {
  if (attributes === null || typeof attributes !== 'object' || Array.isArray(attributes)) return undefined;
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(attributes)) {
    const isArray = Array.isArray(value);
    if (!(isArray ? value.every(isPlain) : isPlain(value))) return undefined;
    copy[name] = isArray ? [...value] : value;
  }
  return copy;
}

const isPlain = (value: unknown): boolean =>
  value === null || (typeof value !== 'object' && typeof value !== 'function');
