// A page: one HTML file with everything in it, which opens without a network.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { charting, client } from './client.ts';
import { Html, html } from './html.ts';
import { style } from './style.ts';

/** uPlot as it is published: script, with its licence as that asks for, and style. */
export function plotLibrary(): { script: string; style: string } {
  const folder = dirname(createRequire(import.meta.url).resolve('uplot'));
  const read = (file: string) => readFileSync(join(folder, file), 'utf8');
  const script = `/*!\n${read('../LICENSE').trim()}\n*/\n${read('uPlot.iife.min.js')}`;
  return { script, style: read('uPlot.min.css') };
}

/** What a page is made of. */
export interface Page {
  readonly title: string;
  /** What stands in it. */
  readonly body: Html;
}

/**
 * The page as a file. It asks no network for anything: scripts, styles, data and pictures are in it, and its own rule
 * (Content-Security-Policy) forbids to load more.
 */
export function pageText({ title, body }: Page): string {
  const library = plotLibrary();
  const rule = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${rule}">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${new Html(library.style)}${new Html(style)}</style>
</head>
<body>
${body}
<noscript><p class="note">The curves need JavaScript; the tables do not.</p></noscript>
<script>${new Html(library.script)}</script>
<script>${new Html(charting + client)}</script>
</body>
</html>
`;
  return page.text;
}
