// What a benchmark leaves behind: JSON for programs, Markdown for people, side by side in bench/results.

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { type Circumstances, showCircumstances } from './machine.ts';

/** Where results are kept that matter. */
export const resultsFolder = resolve(import.meta.dirname, '../results');

/** Cells of a table; the first row is the head. */
export type Rows = readonly (readonly string[])[];

/** A Markdown table. Columns of numbers are aligned to the right by `right`, by position. */
export function markdownTable([head = [], ...body]: Rows, right: readonly boolean[] = []): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (right[i] === true ? '---:' : '---'));
  return [line(head), line(rule), ...body.map(line)].join('\n');
}

/** Writes a file so that a process that is killed leaves the one before or the whole new one. Makes its folder. */
export function writeWhole(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const beside = `${path}.${process.pid}.tmp`;
  writeFileSync(beside, text);
  renameSync(beside, path);
}

/**
 * Writes figures as JSON, with where and when they were found. @returns the path, relative to the current
 * folder
 */
export function writeJson(path: string, at: Circumstances, found: object): string {
  writeWhole(path, `${JSON.stringify({ ...at, ...found }, null, 2)}\n`);
  return relative('.', path);
}

/** Writes `<name>.json` and `<name>.md`. @returns their paths, relative to the current folder */
export function writeResults(
  folder: string,
  name: string,
  title: string,
  at: Circumstances,
  found: object,
  sections: readonly string[],
): string[] {
  const json = writeJson(join(folder, `${name}.json`), at, found);
  const text = [`# ${title}`, `\`${at.command}\``, showCircumstances(at), ...sections].join('\n\n');
  const markdown = join(folder, `${name}.md`);
  writeWhole(markdown, `${text}\n`);
  return [json, relative('.', markdown)];
}
