// The lines of a growing file, as they come; a file that was cut back, as a resumed run's is, is read again from its start.

import { open } from 'node:fs/promises';

/** Bytes read at a time: parsing them must not hold up a training in the same process. */
const chunkBytes = 1 << 17;
/** Bytes before the place reached that must be what they were. */
const remembered = 128;

/** Reads a file line by line, any number of times, each time from where it was. */
export class Tail {
  readonly #file: string;
  readonly #line: (line: string) => void;
  readonly #restart: () => void;
  /** Behind the last whole line. */
  #offset = 0;
  /** What stands before it. */
  #before = Buffer.alloc(0);

  /**
   * @param line called with each whole line
   * @param restart called where what was read no longer holds, before all lines come again
   */
  constructor(file: string, line: (line: string) => void, restart: () => void) {
    this.#file = file;
    this.#line = line;
    this.#restart = restart;
  }

  /** Reads what is new. Nothing where there is no file. */
  async read(): Promise<void> {
    const handle = await open(this.#file, 'r').catch(() => undefined);
    if (handle === undefined) return;
    try {
      const before = Buffer.alloc(this.#before.length);
      await handle.read(before, 0, before.length, this.#offset - before.length);
      if (!before.equals(this.#before)) {
        this.#offset = 0;
        this.#before = Buffer.alloc(0);
        this.#restart();
      }
      let rest = Buffer.alloc(0);
      for (;;) {
        const { bytesRead, buffer } = await handle.read(
          Buffer.alloc(chunkBytes),
          0,
          chunkBytes,
          this.#offset + rest.length,
        );
        if (bytesRead === 0) break;
        const bytes = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const end = bytes.lastIndexOf(0x0a) + 1;
        for (const line of bytes.toString('utf8', 0, end).split('\n')) if (line !== '') this.#line(line);
        if (end > 0) this.#before = Buffer.from(bytes.subarray(Math.max(0, end - remembered), end));
        this.#offset += end;
        rest = Buffer.from(bytes.subarray(end));
      }
    } finally {
      await handle.close();
    }
  }
}
