// What a command prints: results on stdout, everything else for people on stderr. A closed pipe ends the printing only.

import { escaped } from '../index.ts';

let stdoutOpen = true;
let stderrOpen = true;

/** Called once, before anything is printed. */
export function watchPipes(): void {
  const closes = (error: NodeJS.ErrnoException, close: () => void) => {
    if (error.code !== 'EPIPE') throw error;
    close();
  };
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    closes(error, () => {
      stdoutOpen = false;
    }),
  );
  process.stderr.on('error', (error: NodeJS.ErrnoException) =>
    closes(error, () => {
      stderrOpen = false;
    }),
  );
}

/** Names of classes, tensors and files may hold what a terminal obeys; lines and columns end as they are meant to. */
const printable = (text: string): string =>
  text
    .split(/([\n\t])/)
    .map((part, i) => (i % 2 === 0 ? escaped(part) : part))
    .join('');

let kept: string | undefined;

/** A line for people that is said with the first result: a command that fails before says its error alone. */
export function sayWithResults(line: string): void {
  kept = line;
}

/** Results are about to come: says what was kept for now. */
export function resultsBegin(): void {
  if (kept !== undefined) say(kept);
  kept = undefined;
}

/** A line of results, for people or as JSON. */
export function print(line: string | object): void {
  resultsBegin();
  if (!stdoutOpen) return;
  process.stdout.write(`${typeof line === 'string' ? printable(line) : JSON.stringify(line)}\n`);
}

/** A line for people that is no result. */
export function say(line: string): void {
  if (stderrOpen) process.stderr.write(`${printable(line)}\n`);
}

/** Columns of text, numbers to the right. */
export function table(given: readonly (readonly (string | number)[])[]): string {
  // A cell is one line, whatever a name holds.
  const rows = given.map((row) => row.map((cell) => (typeof cell === 'number' ? cell : escaped(cell))));
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, String(cell).length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          typeof cell === 'number' || /^([\d.,]+( %)?|-)$/.test(cell)
            ? String(cell).padStart(widths[i] as number)
            : String(cell).padEnd(widths[i] as number),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `1 image`, `2 images` */
export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;

/** `22,855,952` */
export const withCommas = (value: number): string => value.toLocaleString('en-US');

/** A fraction as `93.1 %`. */
export const percent = (value: number | undefined): string =>
  value === undefined ? '-' : `${(value * 100).toFixed(1)} %`;
