// Names and values from files as messages show them: short, on one line, and unable to do anything to a terminal.

/** Longest name that is shown, in UTF-16 code units. */
const longestName = 80;
/** Longest part of a message that repeats what a file holds or a library says. */
const longestLine = 200;
/** Longest value that is shown, as JSON. */
const longestValue = 60;

/** What breaks a line, moves a terminal's cursor, colours it, or turns the direction of the text that follows. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/** Text with what cannot be printed as `\u001b`. */
export const escaped = (text: string): string =>
  text.replace(unprintable, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

const shortened = (text: string, longest: number): string =>
  text.length > longest ? `${text.slice(0, longest - 3)}...` : text;

/** A name of a file's, or other text that it holds. */
export const printable = (text: string): string => escaped(shortened(text, longestName));

/** A part of a message that repeats what a file holds or a library says of it, on one line. */
export const printableLine = (text: string): string =>
  escaped(shortened(text.replaceAll('\n', ' '), longestLine));

/** A name of a file's in quotation marks. */
export const quoted = (name: string): string => escaped(JSON.stringify(shortened(name, longestName)));

/** A value that came out of JSON, as JSON. It must not be nested deeper than `maximumNesting` (jsonText.ts). */
export const shown = (value: unknown): string =>
  escaped(shortened(JSON.stringify(value) ?? String(value), longestValue));
