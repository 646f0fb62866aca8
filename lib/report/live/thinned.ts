// Curves of any length in bounded memory: rows of means over equally many lines, merged in pairs when there are too many.

/** A row: the step it ends at, then a mean for each column, null where no line had a value. */
export type Row = readonly (number | null)[];

/** Several columns over steps. */
export class ThinnedRows {
  readonly #columns: number;
  readonly #most: number;
  readonly #rows: Row[] = [];
  /** Lines in a row. */
  #size = 1;
  #generation = 0;
  // Of the row that is not full yet.
  #step = 0;
  #lines = 0;
  #sums: number[];
  #counts: number[];

  /** @param most rows that are kept; an even number */
  constructor(columns: number, most: number) {
    this.#columns = columns;
    this.#most = most;
    this.#sums = new Array<number>(columns).fill(0);
    this.#counts = new Array<number>(columns).fill(0);
  }

  /** Another number when rows that were given out have changed. */
  get generation(): number {
    return this.#generation;
  }

  add(step: number, values: readonly (number | null | undefined)[]): void {
    this.#step = step;
    this.#lines += 1;
    values.forEach((value, i) => {
      if (value === null || value === undefined || !Number.isFinite(value)) return;
      this.#sums[i] = (this.#sums[i] as number) + value;
      this.#counts[i] = (this.#counts[i] as number) + 1;
    });
    if (this.#lines < this.#size) return;
    this.#rows.push(this.#unfinished());
    this.#lines = 0;
    this.#sums.fill(0);
    this.#counts.fill(0);
    if (this.#rows.length >= this.#most) this.#merge();
  }

  /** Rows from the nth on that will not change in this generation, and the one that is not full yet. */
  from(first: number): { readonly rows: readonly Row[]; readonly unfinished: Row | null } {
    return { rows: this.#rows.slice(first), unfinished: this.#lines === 0 ? null : this.#unfinished() };
  }

  clear(): void {
    this.#rows.length = 0;
    this.#size = 1;
    this.#lines = 0;
    this.#sums.fill(0);
    this.#counts.fill(0);
    this.#generation += 1;
  }

  #unfinished(): Row {
    const mean = (sum: number, i: number) => {
      const count = this.#counts[i] as number;
      return count === 0 ? null : Number((sum / count).toPrecision(6));
    };
    return [this.#step, ...this.#sums.map(mean)];
  }

  #merge(): void {
    const merged: Row[] = [];
    for (let i = 0; i + 1 < this.#rows.length; i += 2) {
      const [a, b] = [this.#rows[i] as Row, this.#rows[i + 1] as Row];
      const column = (_: unknown, j: number): number | null => {
        const [x, y] = [a[j + 1] ?? null, b[j + 1] ?? null];
        return x === null ? y : y === null ? x : (x + y) / 2;
      };
      merged.push([b[0] as number, ...Array.from({ length: this.#columns }, column)]);
    }
    this.#rows.splice(0, this.#rows.length, ...merged);
    this.#size *= 2;
    this.#generation += 1;
  }
}
