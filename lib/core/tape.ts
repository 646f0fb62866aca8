// Reverse-mode differentiation: a tape notes the ops on the way to a loss; walked backwards, each op's rule turns the
// cotangents of its outputs into those of its inputs. Rules are written in ops, so this works eagerly and while tracing,
// and a gradient can itself be differentiated.

import { type Aval, isScalarFloat, showAval } from './aval.ts';
import { isFloating } from './dtype.ts';
import { ArgumentError, ShapeError, UnsupportedError } from './errors.ts';
import { type AnyOp, hasGradient, type Vjp } from './op.ts';
import { currentScope, scope } from './scope.ts';
import { Tensor } from './tensor.ts';
import { currentNote, noting } from './traceState.ts';
import { tensorsIn } from './tree.ts';

/** The two ops that differentiation itself needs; lib/ops provides them. */
export interface StructuralOps {
  add(a: Tensor, b: Tensor): Tensor;
  /** A tensor of the shape and type of `x`, where `x` is, with every element `value`. */
  fillLike(x: Tensor, value: number): Tensor;
}

let structural: StructuralOps | undefined;

export function registerStructuralOps(ops: StructuralOps): void {
  structural = ops;
}

function structuralOps(): StructuralOps {
  if (structural === undefined) throw new ArgumentError('valueAndGrad: lib/ops is not loaded');
  return structural;
}

type Rule = Vjp<unknown, string, string>;

interface Entry {
  readonly op: AnyOp;
  readonly attributes: unknown;
  readonly rule: Rule | undefined;
  readonly inputIds: readonly number[];
  readonly inputAvals: readonly Aval[];
  readonly outputIds: readonly number[];
  readonly outputAvals: readonly Aval[];
  /** Which operands lead back to something that is differentiated. */
  readonly tracked: readonly boolean[];
  /** The values that the rule reads, by operand name; nothing else is kept alive. */
  readonly savedInputs: Readonly<Record<string, Tensor>>;
  readonly savedOutputs: Readonly<Record<string, Tensor>>;
  readonly note: string | undefined;
}

/** Name of operand `i`; a variadic op's last name repeats. */
const operandName = (op: AnyOp, i: number): string => op.inputs[Math.min(i, op.inputs.length - 1)] as string;

class Tape {
  readonly entries: Entry[] = [];
  readonly tracked = new Set<number>();

  note(op: AnyOp, attributes: unknown, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const rule = hasGradient(op.vjp) ? op.vjp : undefined;
    const tracked = inputs.map(
      (input, i) =>
        this.tracked.has(input.id) &&
        (rule === undefined || rule.differentiates.includes(operandName(op, i))),
    );
    if (!tracked.includes(true)) return;
    const through = rule?.through ?? op.outputs;
    outputs.forEach((output, i) => {
      // Outputs that gradients do not pass through are tracked too, so that using them in a loss is an error.
      if (isFloating(output.dtype) || through.includes(op.outputs[i] as string)) this.tracked.add(output.id);
    });
    const save = (names: readonly string[] | undefined, all: readonly string[], tensors: readonly Tensor[]) =>
      Object.fromEntries((names ?? []).map((name) => [name, (tensors[all.indexOf(name)] as Tensor).alias()]));
    this.entries.push({
      op,
      attributes,
      rule,
      inputIds: inputs.map((input) => input.id),
      inputAvals: inputs.map((input) => input.aval),
      outputIds: outputs.map((output) => output.id),
      outputAvals: outputs.map((output) => output.aval),
      tracked,
      savedInputs: save(rule?.reads.inputs, op.inputs, inputs),
      savedOutputs: save(rule?.reads.outputs, op.outputs, outputs),
      note: currentNote(),
    });
  }

  dispose(): void {
    for (const entry of this.entries.splice(0)) forget(entry);
  }
}

function forget(entry: Entry): void {
  for (const saved of Object.values(entry.savedInputs)) saved.dispose();
  for (const saved of Object.values(entry.savedOutputs)) saved.dispose();
}

let active: readonly Tape[] = [];

/** Called by `apply` for every op. */
export function noteOnTapes(
  op: AnyOp,
  attributes: unknown,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
): void {
  for (const tape of active) tape.note(op, attributes, inputs, outputs);
}

/** Runs `body` with no tape noting: its result is a constant to every gradient being taken. */
export function withoutGradient<T>(body: () => T): T {
  const outer = active;
  active = [];
  try {
    return body();
  } finally {
    active = outer;
  }
}

/** Cotangents by tensor identity. Each is an alias that the map owns. */
class Cotangents {
  readonly #byId = new Map<number, Tensor>();

  take(id: number): Tensor | undefined {
    const found = this.#byId.get(id);
    this.#byId.delete(id);
    return found;
  }

  peek(id: number): Tensor | undefined {
    return this.#byId.get(id);
  }

  accumulate(id: number, cotangent: Tensor): void {
    const sofar = this.take(id);
    if (sofar === undefined) {
      this.#byId.set(id, cotangent.alias());
      return;
    }
    scope(() => this.#byId.set(id, structuralOps().add(sofar, cotangent).alias()) && undefined);
    sofar.dispose();
  }

  dispose(): void {
    for (const cotangent of this.#byId.values()) cotangent.dispose();
    this.#byId.clear();
  }
}

/** Runs one op's rule and adds its results to the cotangents of the op's inputs. */
function pullBack(entry: Entry, cotangents: Cotangents, isTarget: (id: number) => boolean): void {
  const { op, rule } = entry;
  const arrived: Record<string, Tensor> = {};
  entry.outputIds.forEach((id, i) => {
    const cotangent = isTarget(id) ? cotangents.peek(id)?.alias() : cotangents.take(id);
    if (cotangent !== undefined) arrived[op.outputs[i] as string] = cotangent;
  });
  const names = Object.keys(arrived);
  try {
    if (names.length === 0) return;
    if (rule === undefined) {
      throw new UnsupportedError(`${op.name}: has no gradient: ${'none' in op.vjp ? op.vjp.none : ''}`);
    }
    const blocked = names.find((name) => !(rule.through ?? op.outputs).includes(name));
    if (blocked !== undefined) {
      throw new UnsupportedError(`${op.name}: no gradient passes through its output ${blocked}`);
    }
    scope(() => {
      const result = rule.rule({
        attributes: entry.attributes,
        cotangents: arrived,
        inputs: entry.savedInputs,
        outputs: entry.savedOutputs,
        inputAvals: entry.inputAvals,
        outputAvals: entry.outputAvals,
        needs: (name) => entry.tracked.some((wanted, i) => wanted && operandName(op, i) === name),
      });
      entry.inputIds.forEach((id, i) => {
        if (entry.tracked[i] !== true) return;
        const given = result[operandName(op, i)];
        const cotangent = given instanceof Tensor ? given : given?.[i - (op.inputs.length - 1)];
        if (cotangent === undefined) {
          throw new UnsupportedError(`${op.name}: its gradient rule gave nothing for ${operandName(op, i)}`);
        }
        const expected = entry.inputAvals[i] as Aval;
        if (showAval(cotangent.aval) !== showAval(expected)) {
          throw new ShapeError(
            `${op.name}: its gradient rule gave ${showAval(cotangent.aval)} for ${operandName(op, i)}, ` +
              `which is ${showAval(expected)}`,
          );
        }
        cotangents.accumulate(id, cotangent);
      });
    });
  } finally {
    for (const cotangent of Object.values(arrived)) cotangent.dispose();
  }
}

/** What a differentiated function may return beside a bare loss: the loss and anything else of interest. */
export interface WithAux<X> {
  /** The loss, a floating scalar. */
  readonly value: Tensor;
  /** Anything. */
  readonly aux: X;
}

/** A loss, its gradients in the order of the tensors differentiated, and what the function returned beside the loss. */
export interface ValueAndGrad<X> {
  /** The loss. */
  readonly value: Tensor;
  /** One for each tensor differentiated, of its shape and type. */
  readonly grads: Tensor[];
  /** What the function returned beside the loss. */
  readonly aux: X;
}

/**
 * Differentiates a function that returns a scalar loss (or `{ value: loss, aux }`).
 *
 * @param fn called with the arguments; every op it applies is noted
 * @param wrt the tensors to differentiate with respect to, usually variables; default: the floating tensor arguments
 * @returns a function of the same arguments that gives `{ value, grads, aux }`; a tensor that the loss does not depend
 * on has a gradient of zeros
 * @throws ShapeError if the loss is not a scalar; UnsupportedError if an op on the way has no gradient
 */
export function valueAndGrad<P extends unknown[], X = undefined>(
  fn: (...args: P) => Tensor | WithAux<X>,
  wrt?: readonly Tensor[],
): (...args: P) => ValueAndGrad<X> {
  return (...args) => {
    const targets = wrt ?? tensorsIn(args).filter((argument) => isFloating(argument.dtype));
    for (const target of targets) {
      if (!isFloating(target.dtype)) {
        throw new ArgumentError(
          `valueAndGrad: cannot differentiate with respect to ${showAval(target.aval)}`,
        );
      }
    }
    const tape = new Tape();
    for (const target of targets) tape.tracked.add(target.id);
    const cotangents = new Cotangents();
    const outer = active;
    try {
      active = [...outer, tape];
      const returned = fn(...args);
      active = outer;
      const { value, aux } =
        returned instanceof Tensor ? { value: returned, aux: undefined as X } : (returned as WithAux<X>);
      if (!isScalarFloat(value.aval)) {
        throw new ShapeError(`valueAndGrad: expected a floating scalar as loss, got ${showAval(value.aval)}`);
      }
      const targetIds = new Set(targets.map((target) => target.id));
      scope(() => cotangents.accumulate(value.id, structuralOps().fillLike(value, 1)));
      for (let entry = tape.entries.pop(); entry !== undefined; entry = tape.entries.pop()) {
        try {
          const gradient = entry.note === undefined ? undefined : `${entry.note} gradient`;
          noting(gradient, () => pullBack(entry, cotangents, (id) => targetIds.has(id)));
        } finally {
          forget(entry);
        }
      }
      const grads = targets.map((target) => {
        const found = cotangents.peek(target.id)?.alias();
        if (found === undefined) return structuralOps().fillLike(target, 0);
        found.moveTo(currentScope());
        return found;
      });
      return { value, grads, aux };
    } finally {
      active = outer;
      cotangents.dispose();
      tape.dispose();
    }
  };
}

/** As {@link valueAndGrad}, giving the gradients alone. */
export function grad<P extends unknown[]>(
  fn: (...args: P) => Tensor,
  wrt?: readonly Tensor[],
): (...args: P) => Tensor[] {
  const both = valueAndGrad(fn, wrt);
  return (...args) => {
    const { value, grads } = both(...args);
    if (!tensorsIn(args).includes(value)) value.dispose();
    return grads;
  };
}
