// Small programs for tests of passes: drafts written by hand, functions traced, and how often an op occurs.

import { type Aval, aval } from '../../lib/core/aval.ts';
import { compile } from '../../lib/core/compile.ts';
import { withBackend } from '../../lib/core/device.ts';
import type { AnyOp } from '../../lib/core/op.ts';
import type { Draft } from '../../lib/core/passes/graph.ts';
import type { Supports } from '../../lib/core/passes/rewrite.ts';
import type { Instruction, ValueId } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { reference } from '../support/devices.ts';

export const anything: Supports = () => ({ supported: true });

/** `[op, attributes, inputs]`, numbered on from the inputs, each output a value. */
export type Line = readonly [name: OpName, attributes: object, inputs: readonly ValueId[]];

/** A draft with inputs of the given shapes (f32). */
export function draftOf(
  shapes: readonly (readonly number[])[],
  lines: readonly Line[],
  outputs: readonly ValueId[],
): Draft {
  const values: Aval[] = shapes.map((shape) => aval(shape, 'f32'));
  const instructions: Instruction[] = lines.map(([name, attributes, inputs]) => {
    const op: AnyOp = allOps[name];
    const made = op.infer(
      inputs.map((id) => values[id]!),
      attributes,
    );
    return { op, attributes, inputs, outputs: made.map((a) => values.push(a) - 1) };
  });
  return { values, inputs: shapes.map((_, i) => i), outputs, instructions };
}

/** The draft as text, for comparisons: `add(0,0)>1`. */
export const lines = ({ instructions }: { readonly instructions: readonly Instruction[] }): string[] =>
  instructions.map(({ op, inputs, outputs }) => `${op.name}(${inputs})>${outputs}`);

/** How often each op occurs in a function traced without passes; inputs are zeros. */
export function traced(shapes: readonly (readonly number[])[], fn: (...inputs: Tensor[]) => unknown): Draft {
  return withBackend(reference, () => {
    using compiled = compile(fn, { passes: 'none' });
    let program: Draft | undefined;
    scope(() => {
      const inputs = shapes.map((shape) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape));
      program = compiled.program(...inputs);
      return undefined;
    });
    return program!;
  });
}

/** Names of the ops of a program, in order. */
export const opsOf = ({ instructions }: Pick<Draft, 'instructions'>): string[] =>
  instructions.map(({ op }) => op.name);
