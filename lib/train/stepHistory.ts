// The records of all steps of a training in 48 bytes each: a training of days has millions of them.

import type { StepRecord } from './metrics.ts';

/** Numbers of a record beside that of its step; those that may be missing are negative then, which none of them can be. */
const fields = ['loss', 'top1', 'lr', 'gradient_norm', 'loss_scale', 'skipped_steps'] as const;
const optional: ReadonlySet<string> = new Set(['gradient_norm', 'loss_scale', 'skipped_steps']);
const perBlock = 1024;

/** Records in their order. */
export class StepHistory {
  readonly #blocks: Float64Array[] = [];
  #first = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Adds the record of the step after the last one. */
  push(record: StepRecord): void {
    if (this.#length === 0) this.#first = record.step;
    const at = this.#length % perBlock;
    if (at === 0) this.#blocks.push(new Float64Array(perBlock * fields.length));
    const block = this.#blocks.at(-1) as Float64Array;
    fields.forEach((field, i) => {
      block[at * fields.length + i] = record[field] ?? -1;
    });
    this.#length += 1;
  }

  /** All records, made anew at each call. */
  toArray(): StepRecord[] {
    return Array.from({ length: this.#length }, (_, index) => {
      const block = this.#blocks[Math.floor(index / perBlock)] as Float64Array;
      const record: Record<string, number> = { step: this.#first + index };
      fields.forEach((field, i) => {
        const value = block[(index % perBlock) * fields.length + i] as number;
        if (!(optional.has(field) && value < 0)) record[field] = value;
      });
      return record as object as StepRecord;
    });
  }
}
