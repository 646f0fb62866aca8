// Code blocks of Markdown pages: what language they are in, and what the tests do with them.
//
//   ```ts                      type-checked and run as a module
//   ```ts continued            goes on with the module of the ts block before it
//   ```sh                      run by bash, in the page's folder
//   ```ts from=lib/a.ts        (any language) lines of that file, as they stand
//   ```sh not-run: network     (any language) left out, for one of the reasons below
//   ```text                    no code: output, layouts of folders

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../support/builtPackage.ts';

/** Why a block may be left out. */
export const reasons = {
  network: 'installs from a registry, or downloads',
  system: 'changes the machine, not a folder',
  gpu: 'needs an NVIDIA GPU',
  python: 'is Python, which this package does not need',
  checkout: 'is what the tests themselves, or CI, run',
} as const;

/** What the tests do with a block. */
export type Treatment =
  | { readonly kind: 'ts' | 'ts continued' | 'sh' | 'text' }
  | { readonly kind: 'excerpt'; readonly file: string }
  | { readonly kind: 'not run'; readonly reason: keyof typeof reasons };

/** A fenced block of a page. */
export interface Block {
  readonly page: string;
  /** Of the fence, from 1. */
  readonly line: number;
  readonly code: string;
  readonly treatment: Treatment;
}

/** What the words behind a fence say. @throws Error for words that say nothing that is known */
export function treatmentOf(info: string): Treatment {
  const [language = '', ...rest] = info.trim().split(/\s+/);
  const words = rest.join(' ');
  const from = /^from=(\S+)$/.exec(words);
  if (from !== null) return { kind: 'excerpt', file: from[1] as string };
  const left = /^not-run: (\S+)$/.exec(words);
  if (left !== null && Object.hasOwn(reasons, left[1] as string)) {
    return { kind: 'not run', reason: left[1] as keyof typeof reasons };
  }
  const kinds = ['ts', 'ts continued', 'sh', 'text'] as const;
  const kind = kinds.find((known) => known === [language, ...rest].join(' '));
  if (kind !== undefined) return { kind };
  throw new Error(
    `a block is marked \`${info}\`; expected ${kinds.join(', ')}, from=FILE or not-run: REASON`,
  );
}

/** The blocks of a page of the checkout, in order. @throws Error for a fence that is not closed or says nothing known */
export function blocksOf(page: string): Block[] {
  return blocksIn(page, readFileSync(join(root, page), 'utf8'));
}

/** As {@link blocksOf}, of a page's text. */
export function blocksIn(page: string, text: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; treatment: Treatment; code: string[] } | undefined;
  text.split('\n').forEach((content, i) => {
    if (open !== undefined) {
      if (content === '```') {
        blocks.push({ page, line: open.line, treatment: open.treatment, code: `${open.code.join('\n')}\n` });
        open = undefined;
      } else {
        open.code.push(content);
      }
      return;
    }
    if (!/^\s*(```|~~~)/.test(content)) return;
    if (!content.startsWith('```')) throw new Error(`${page}:${i + 1}: a fence that is indented, or of ~`);
    try {
      open = { line: i + 1, treatment: treatmentOf(content.slice(3)), code: [] };
    } catch (error) {
      throw new Error(`${page}:${i + 1}: ${(error as Error).message}`);
    }
  });
  if (open !== undefined) throw new Error(`${page}:${open.line}: a block is not closed`);
  return blocks;
}

/** What is to be done with a page, in order: the ts blocks that continue each other are one module. */
export type Step = { readonly kind: 'ts' | 'sh'; readonly line: number; readonly code: string };

/** The steps of a page's blocks. A module is run where its last block stands; commands between its blocks end it. */
export function stepsOf(blocks: readonly Block[]): Step[] {
  const steps: Step[] = [];
  let module: { line: number; code: string } | undefined;
  const close = () => {
    if (module !== undefined) steps.push({ kind: 'ts', ...module });
    module = undefined;
  };
  for (const { treatment, line, code } of blocks) {
    if (treatment.kind === 'ts') {
      close();
      module = { line, code };
    } else if (treatment.kind === 'ts continued') {
      if (module === undefined) throw new Error(`the ts block at line ${line} continues none`);
      module = { line: module.line, code: `${module.code}${code}` };
    } else if (treatment.kind === 'sh') {
      close();
      steps.push({ kind: 'sh', line, code });
    }
  }
  close();
  return steps;
}
