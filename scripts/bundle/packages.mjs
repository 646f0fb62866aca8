// The folders below node_modules of the named packages and of all that they need, one a line, relative to the current
// folder. Optional packages that are not installed are of other platforms.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const found = new Set();

/** Adds a package as it is seen from a folder. */
function add(name, from, optional) {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) {
      if (found.has(candidate)) return;
      found.add(candidate);
      const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
        readFileSync(join(candidate, 'package.json'), 'utf8'),
      );
      for (const needed of Object.keys(dependencies)) {
        add(needed, candidate, needed in optionalDependencies);
      }
      for (const needed of Object.keys(optionalDependencies)) add(needed, candidate, true);
      return;
    }
    if (folder === dirname(folder)) break;
  }
  if (!optional) throw new Error(`${name} is not installed: npm install`);
}

for (const name of process.argv.slice(2)) add(name, process.cwd(), false);
// A package that lies within another comes with it.
const folders = [...found].filter((folder) => ![...found].some((other) => folder.startsWith(`${other}/`)));
process.stdout.write(`${folders.map((folder) => relative('.', folder)).join('\n')}\n`);
