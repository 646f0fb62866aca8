// Finding a key that an object of a JSON text has twice, which JSON.parse passes over in silence.

const quoteCode = 0x22;
const slashCode = 0x5c;
const openCode = 0x7b;
const closeCode = 0x7d;
const colonCode = 0x3a;

/** The index after the string that starts with the quote at `start`. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    const code = text.charCodeAt(at);
    if (code === slashCode) at++;
    else if (code === quoteCode) return at + 1;
  }
}

/** The keys of one object. Most objects have three, for which a Set each would be most of the work. */
class Keys {
  private readonly few: string[] = [];
  private many: Set<string> | undefined;

  addIfNew(key: string): boolean {
    if (this.many !== undefined) {
      if (this.many.has(key)) return false;
      this.many.add(key);
      return true;
    }
    if (this.few.includes(key)) return false;
    this.few.push(key);
    if (this.few.length > 8) this.many = new Set(this.few);
    return true;
  }
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

/**
 * The first key that occurs twice in one object of `text`, or undefined. `text` must be valid JSON: then a
 * string that is followed by a colon is a key, and braces outside of strings are those of objects.
 */
export function duplicateKey(text: string): string | undefined {
  const open: Keys[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === openCode) open.push(new Keys());
    else if (code === closeCode) open.pop();
    else if (code === quoteCode) {
      const end = stringEnd(text, at);
      let next = end;
      while (isSpace(text.charCodeAt(next))) next++;
      if (text.charCodeAt(next) === colonCode) {
        // Two spellings of one key, as "a" and "\u0061", are one key.
        const raw = text.slice(at + 1, end - 1);
        const key = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
        if (open.at(-1)?.addIfNew(key) === false) return key;
      }
      at = end - 1;
    }
  }
  return undefined;
}
