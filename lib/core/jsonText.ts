// What JSON.parse leaves to its callers: whether a value is an object, and what it passes over in silence, namely a key
// that an object has twice, and nesting so deep that whoever walks the result runs out of stack.

/** Whether a value out of JSON is an object, which a list is not. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a value is a whole number from 0 that JavaScript holds exactly. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

const quoteCode = 0x22;
const slashCode = 0x5c;
const openCode = 0x7b;
const closeCode = 0x7d;
const openListCode = 0x5b;
const closeListCode = 0x5d;
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

/** No file of weights nests its JSON deeper; what does would exhaust the stack of functions that call themselves. */
export const maximumNesting = 64;

/** Whether objects and lists of `text`, which must be valid JSON, lie in one another deeper than {@link maximumNesting}. */
export function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === openCode || code === openListCode) {
      depth += 1;
      if (depth > maximumNesting) return true;
    } else if (code === closeCode || code === closeListCode) depth -= 1;
    else if (code === quoteCode) at = stringEnd(text, at) - 1;
  }
  return false;
}
