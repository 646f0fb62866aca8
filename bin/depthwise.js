#!/usr/bin/env node
// The command `depthwise`: the built program, or, in a source checkout, the TypeScript itself.

import { existsSync } from 'node:fs';

const built = new URL('../dist/cli/main.js', import.meta.url);
const source = new URL('../lib/cli/main.ts', import.meta.url);

let program = built;
if (existsSync(source) && !existsSync(built)) {
  const { register } = await import('tsx/esm/api');
  register();
  program = source;
}
const { main } = await import(program.href);
process.exitCode = await main(process.argv.slice(2));
