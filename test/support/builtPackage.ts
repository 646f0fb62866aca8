// The package as it is published, in a folder where programs can import it by its name: declarations and JavaScript built
// from the sources of the checkout, beside the checkout's native build and npm dependencies.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** The checkout. */
export const root = resolve(import.meta.dirname, '../..');

/** The compiler. */
export const tsc = join(root, 'node_modules/.bin/tsc');

/**
 * A new folder with `node_modules/depthwise`, and `node_modules/@types/node` for the compiler. It is an ESM package itself.
 * @param options declarations: build these alone, which is enough to compile against
 */
export function folderWithPackage(options: { declarations?: boolean } = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'depthwise-package-'));
  const installed = join(folder, 'node_modules/depthwise');
  mkdirSync(installed, { recursive: true });
  const only = options.declarations === true ? ['--emitDeclarationOnly'] : [];
  execFileSync(tsc, ['-p', 'tsconfig.build.json', '--outDir', join(installed, 'dist'), ...only], {
    cwd: root,
  });
  for (const file of ['package.json', 'bin']) {
    cpSync(join(root, file), join(installed, file), { recursive: true });
  }
  for (const used of ['build', 'node_modules']) symlinkSync(join(root, used), join(installed, used));
  mkdirSync(join(folder, 'node_modules/@types'));
  symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  return folder;
}

/** Removes what {@link folderWithPackage} made. */
export const removeFolder = (folder: string): void => rmSync(folder, { recursive: true, force: true });
