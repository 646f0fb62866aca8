// Many names in one buffer: a million of them take the room of their bytes, and are made strings when they are asked for.

/** A list of strings that can only grow. */
export class PackedNames {
  #bytes = Buffer.alloc(1024);
  #ends = new Float64Array(64);
  #length = 0;

  static from(names: Iterable<string>): PackedNames {
    const packed = new PackedNames();
    for (const name of names) packed.push(name);
    return packed;
  }

  get length(): number {
    return this.#length;
  }

  push(name: string): void {
    const begin = this.#end(this.#length - 1);
    const room = begin + 3 * name.length; // UTF-8 takes at most three bytes for a UTF-16 code unit
    if (room > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(room, 2 * this.#bytes.length));
      this.#bytes.copy(grown, 0, 0, begin);
      this.#bytes = grown;
    }
    if (this.#length === this.#ends.length) {
      const grown = new Float64Array(2 * this.#length);
      grown.set(this.#ends);
      this.#ends = grown;
    }
    this.#ends[this.#length++] = begin + this.#bytes.write(name, begin, 'utf8');
  }

  /** @returns undefined outside of the list */
  at(index: number): string | undefined {
    if (index < 0 || index >= this.#length) return undefined;
    return this.#bytes.toString('utf8', this.#end(index - 1), this.#end(index));
  }

  *[Symbol.iterator](): Generator<string, void, undefined> {
    for (let i = 0; i < this.#length; i++) yield this.at(i) as string;
  }

  #end(index: number): number {
    return index < 0 ? 0 : (this.#ends[index] as number);
  }
}
