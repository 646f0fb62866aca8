#!/usr/bin/env node
// The command `depthwise`: in a source checkout the TypeScript itself, so that no earlier build is run in its place;
// in the published package, which has no sources, the built program.

import { existsSync } from 'node:fs';

const built = new URL('../dist/cli/main.js', import.meta.url);
const source = new URL('../lib/cli/main.ts', import.meta.url);

let program = built;
if (existsSync(source)) {
  const { register } = await import('tsx/esm/api');
  register();
  program = source;
}
const { main } = await import(program.href);
process.exitCode = await main(process.argv.slice(2));
