// A draft of a program with the questions that passes ask of it: who makes a value, who uses it, is it an output.

import type { Instruction, Program, ValueId } from '../program.ts';

/** A program whose memory is not planned yet. */
export interface Draft extends Omit<Program, 'plan'> {
  /** The inputs from this position on hold still between runs: weights that the program does not change. Default: none. */
  readonly stillFrom?: number;
}

/** A use of a value: instruction and position among its operands. */
export interface Use {
  readonly instruction: Instruction;
  readonly operand: number;
}

/** Index of a draft. It does not follow changes: a pass makes a new one. */
export class Graph {
  readonly draft: Draft;
  readonly #makers = new Map<ValueId, Instruction>();
  readonly #uses = new Map<ValueId, Use[]>();
  readonly #outputs: ReadonlySet<ValueId>;
  readonly #still = new Set<ValueId>();

  constructor(draft: Draft) {
    this.draft = draft;
    this.#outputs = new Set(draft.outputs);
    for (const value of draft.inputs.slice(draft.stillFrom ?? draft.inputs.length)) this.#still.add(value);
    for (const { value, of } of draft.parts ?? []) if (this.#still.has(of)) this.#still.add(value);
    // What has no operands is a constant, where there is anything that holds still.
    const constants = draft.stillFrom !== undefined && draft.stillFrom < draft.inputs.length;
    for (const instruction of draft.instructions) {
      const { inputs } = instruction;
      if ((constants || inputs.length > 0) && inputs.every((value) => this.#still.has(value))) {
        for (const value of instruction.outputs) this.#still.add(value);
      }
      for (const value of instruction.outputs) this.#makers.set(value, instruction);
      instruction.inputs.forEach((value, operand) => {
        const uses = this.#uses.get(value);
        if (uses === undefined) this.#uses.set(value, [{ instruction, operand }]);
        else uses.push({ instruction, operand });
      });
    }
  }

  /** The instruction that makes a value, if it is one of `name`; undefined for program inputs. */
  maker(value: ValueId, name?: string): Instruction | undefined {
    const found = this.#makers.get(value);
    return name === undefined || found?.op.name === name ? found : undefined;
  }

  uses(value: ValueId): readonly Use[] {
    return this.#uses.get(value) ?? [];
  }

  /** The instructions of `name` that use `value` as the operand called `operand`. */
  users(value: ValueId, name: string, operand: string): Instruction[] {
    return this.uses(value)
      .filter(({ instruction: { op }, operand: at }) => op.name === name && op.inputs[at] === operand)
      .map(({ instruction }) => instruction);
  }

  isOutput(value: ValueId): boolean {
    return this.#outputs.has(value);
  }

  /** Whether nothing reads a value but one instruction, so that fusing that one makes the value go away. */
  hasOneUse(value: ValueId): boolean {
    return !this.isOutput(value) && this.uses(value).length === 1;
  }

  /** Whether a value depends only on inputs that hold still between runs. */
  holdsStill(value: ValueId): boolean {
    return this.#still.has(value);
  }

  /** Shape and type of a value. */
  aval(value: ValueId) {
    return this.draft.values[value] as Draft['values'][number];
  }
}

/** The value of the operand called `name` of an instruction. */
export const operandOf = ({ op, inputs }: Instruction, name: string): ValueId =>
  inputs[op.inputs.indexOf(name)] as ValueId;

/** The value of the output called `name` of an instruction. */
export const outputOf = ({ op, outputs }: Instruction, name: string): ValueId =>
  outputs[op.outputs.indexOf(name)] as ValueId;
