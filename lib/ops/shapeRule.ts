// Shape rules as patterns of operands, written as in the op table; and their errors.

import { type Aval, type Shape, sameShape, showNamed } from '../core/aval.ts';
import { accumulatorType, type DType, isFloating } from '../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError } from '../core/errors.ts';

/*
 * A pattern is `type[axes]`.
 *   type  T: one floating type for all operands that say T; E: the same, but of any kind;
 *         A: the accumulator type of T (f32, or f64 for f64); or types by name: `i32`, `u8|f32`.
 *   axes  names of extents; a name that comes twice has one extent.
 *         A leading `...` is any number of axes, the same ones wherever it comes.
 * An operand whose name ends with `?`, the last one, may be left out.
 */
type AxisNames<S extends string> = S extends `${infer Head},${infer Tail}` ? Head | AxisNames<Tail> : S;
type Axes<P extends Readonly<Record<string, string>>> = {
  [K in keyof P]: P[K] extends `${string}[${infer Names}]` ? Exclude<AxisNames<Names>, '...' | ''> : never;
}[keyof P];

/** Errors of one op; messages end with all operands: `conv2d: … (x f32[1,2,2,3], w f32[4,3,3,3])`. */
export interface Errors {
  readonly shapeError: (message: string) => ShapeError;
  readonly typeError: (message: string) => DTypeError;
  readonly argumentError: (message: string) => ArgumentError;
}

/** What the patterns of an op found in its operands, beside the named extents. */
export interface Match extends Errors {
  /** The type bound by `T` or `E`; without either, that of the first operand. */
  readonly dtype: DType;
  readonly accumulator: DType;
  /** The axes bound by `...`. */
  readonly lead: Shape;
}

export function errorsOf(op: string, names: readonly string[], inputs: readonly Aval[]): Errors {
  const whole = (message: string) =>
    inputs.length === 0 ? `${op}: ${message}` : `${op}: ${message} (${showNamed(names, inputs)})`;
  return {
    shapeError: (message) => new ShapeError(whole(message)),
    typeError: (message) => new DTypeError(whole(message)),
    argumentError: (message) => new ArgumentError(whole(message)),
  };
}

/**
 * Makes an op's `infer` from patterns of its operands and a rule that gives the outputs.
 *
 * `shapeRule('linear', { x: 'T[n,i]', w: 'T[o,i]' }, ({ n, o }, { dtype }) => [aval([n, o], dtype)])`
 */
export function shapeRule<A, const P extends Readonly<Record<string, string>>>(
  op: string,
  operands: P,
  rule: (axes: Readonly<Record<Axes<P>, number>>, match: Match, attributes: A) => readonly Aval[],
): (inputs: readonly Aval[], attributes: A) => readonly Aval[] {
  const entries = Object.entries(operands);
  const patterns = entries.map(([name, pattern]) => parse(name.replace('?', ''), pattern));
  const least = entries.filter(([name]) => !name.endsWith('?')).length;
  const names = patterns.map(({ name }) => name);
  return (inputs, attributes) => {
    const errors = errorsOf(op, names, inputs);
    if (inputs.length < least || inputs.length > patterns.length) {
      throw errors.argumentError(
        `expects ${patterns.length} operands, ${names.join(', ')}; got ${inputs.length}`,
      );
    }
    const bound = new Bindings(errors);
    const each = inputs.map((input, i) => [patterns[i] as Pattern, input] as const);
    // What A stands for follows from T, which may come later.
    for (const [pattern, input] of each) if (pattern.type !== 'A') bound.type(pattern, input);
    for (const [pattern, input] of each) if (pattern.type === 'A') bound.type(pattern, input);
    for (const [pattern, input] of each) bound.shape(pattern, input);
    const dtype = bound.dtype ?? inputs[0]?.dtype ?? 'f32';
    const match = { ...errors, dtype, accumulator: accumulatorType(dtype), lead: bound.lead ?? [] };
    return rule(bound.extents as Record<Axes<P>, number>, match, attributes);
  };
}

interface Pattern {
  readonly name: string;
  readonly type: string;
  readonly axes: readonly string[];
  /** Whether the axes begin with `...`. */
  readonly open: boolean;
}

function parse(name: string, pattern: string): Pattern {
  const bracket = pattern.indexOf('[');
  const list = pattern.slice(bracket + 1, -1);
  const axes = list === '' ? [] : list.split(',');
  const open = axes[0] === '...';
  return { name, type: pattern.slice(0, bracket), axes: open ? axes.slice(1) : axes, open };
}

/** Variables of the patterns of one op, and the operand that bound each: the first that has it. */
class Bindings {
  readonly extents: Record<string, number> = {};
  dtype: DType | undefined;
  lead: Shape | undefined;
  readonly #errors: Errors;
  readonly #boundBy: Record<string, string> = {};

  constructor(errors: Errors) {
    this.#errors = errors;
  }

  type({ name, type }: Pattern, { dtype }: Aval): void {
    const expects = (expected: string) => this.#errors.typeError(`${name} expects ${expected}, got ${dtype}`);
    if (type === 'T' || type === 'E') {
      if (this.dtype === undefined) {
        if (type === 'T' && !isFloating(dtype)) throw expects('a floating type');
        this.dtype = dtype;
        this.#boundBy.dtype = name;
      } else if (dtype !== this.dtype) throw expects(`${this.dtype} as ${this.#boundBy.dtype} has`);
    } else if (type === 'A') {
      if (this.dtype === undefined) {
        if (!isFloating(dtype) || accumulatorType(dtype) !== dtype) throw expects('f32 or f64');
        this.dtype = dtype;
        this.#boundBy.dtype = name;
      } else if (dtype !== accumulatorType(this.dtype)) {
        throw expects(
          `${accumulatorType(this.dtype)}, which goes with ${this.dtype} of ${this.#boundBy.dtype}`,
        );
      }
    } else if (!type.split('|').includes(dtype)) throw expects(type.replaceAll('|', ' or '));
  }

  shape({ name, axes, open }: Pattern, { shape }: Aval): void {
    const shapeError = this.#errors.shapeError;
    if (open ? shape.length < axes.length : shape.length !== axes.length) {
      const whole = `[${[...(open ? ['...'] : []), ...axes].join(',')}]`;
      throw shapeError(
        `${name} expects ${axes.length}${open ? ' or more' : ''} axes ${whole}, got ${shape.length}`,
      );
    }
    const lead = shape.slice(0, shape.length - axes.length);
    if (open && this.lead === undefined) {
      this.lead = lead;
      this.#boundBy['...'] = name;
    } else if (open && !sameShape(lead, this.lead as Shape)) {
      const by = this.#boundBy['...'];
      throw shapeError(
        `${name} expects [${this.lead}]${axes.length > 0 ? ' first' : ''} as ${by} has, got [${lead}]`,
      );
    }
    axes.forEach((axis, i) => {
      const extent = shape[lead.length + i] as number;
      const expected = this.extents[axis];
      if (expected === undefined) {
        this.extents[axis] = extent;
        this.#boundBy[axis] = name;
      } else if (extent !== expected) {
        throw shapeError(
          `${name} expects ${axis} = ${expected} as ${this.#boundBy[axis]} has, got ${extent}`,
        );
      }
    });
  }
}

/** Throws ArgumentError unless every value is a whole number of at least `least`. */
export function expectWhole(
  { argumentError }: Errors,
  attribute: string,
  values: readonly number[],
  least: number,
): void {
  if (!values.every((value) => Number.isSafeInteger(value) && value >= least)) {
    throw argumentError(`${attribute} expects whole numbers of at least ${least}, got ${values.join(', ')}`);
  }
}

/** Throws ArgumentError unless `value` is a finite number in [least, below). */
export function expectRange(
  { argumentError }: Errors,
  attribute: string,
  value: number,
  least: number,
  below = Number.POSITIVE_INFINITY,
): void {
  if (value >= least && value < below) return;
  const range =
    below === Number.POSITIVE_INFINITY ? `of at least ${least}` : `from ${least} to below ${below}`;
  throw argumentError(`${attribute} expects a number ${range}, got ${value}`);
}

/** Throws ArgumentError unless `value` is from 0 to 1, both allowed. */
export function expectShare({ argumentError }: Errors, attribute: string, value: number): void {
  if (!(value >= 0 && value <= 1))
    throw argumentError(`${attribute} expects a number from 0 to 1, got ${value}`);
}
