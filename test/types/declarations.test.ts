// The published declarations: no `any` in them, and the cases beside this file compile against them as a user's program would,
// without skipping the check of the libraries, by both ways in which modules are resolved.

import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { folderWithPackage, removeFolder, tsc } from '../support/builtPackage.ts';

/** Lines of a declaration file in which the type `any` stands: not in comments or text, and not as the name of a member. */
function anyIn(declarations: string): string[] {
  const blanked = declarations.replace(
    /\/\*[\s\S]*?\*\/|\/\/.*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g,
    (found) => found.replace(/[^\n]/g, ' '),
  );
  const lines = declarations.split('\n');
  return blanked
    .split('\n')
    .flatMap((line, i) =>
      /(?<![\w$.#]|\bget |\bset )any(?![\w$]|\??\s*[:(])/.test(line) ? [`${lines[i]?.trim()}`] : [],
    );
}

describe('the published types', function () {
  this.timeout(120_000);
  let folder: string;

  before(() => {
    folder = folderWithPackage({ declarations: true });
    cpSync(join(import.meta.dirname, 'cases'), join(folder, 'cases'), { recursive: true });
  });
  after(() => removeFolder(folder));

  /** The errors of compiling the cases as a user's strict program. */
  function compiled(resolution: 'nodenext' | 'bundler'): string {
    const config = {
      compilerOptions: {
        target: 'es2022',
        lib: ['es2022', 'esnext.disposable'],
        module: resolution === 'nodenext' ? 'nodenext' : 'esnext',
        moduleResolution: resolution,
        types: ['node'],
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        allowImportingTsExtensions: true,
        noEmit: true,
      },
      include: ['cases'],
    };
    writeFileSync(join(folder, `${resolution}.json`), JSON.stringify(config));
    const { stdout, stderr } = spawnSync(tsc, ['-p', `${resolution}.json`], {
      cwd: folder,
      encoding: 'utf8',
    });
    return `${stdout}${stderr}`;
  }

  it('hold no any', () => {
    const dist = join(folder, 'node_modules/depthwise/dist');
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.d.ts'),
    );
    expect(files).to.have.length.above(100);
    const found = files.flatMap((file) =>
      anyIn(readFileSync(join(dist, file), 'utf8')).map((line) => `${file}: ${line}`),
    );
    expect(found).to.deep.equal([]);
  });

  it('would show an any', () => {
    const lines = [
      'export declare const a: any;',
      'export declare function f(x: string): Promise<any[]>;',
      'type B = Record<string, any>;',
      "type C = 'any' | any;",
    ];
    expect(anyIn(lines.join('\n'))).to.deep.equal(lines);
    const clean = [
      '/** any */',
      '// any',
      "type D = 'any';",
      'get any(): boolean;',
      'any(): void;',
      'any?: 1;',
    ];
    expect(anyIn(clean.join('\n'))).to.deep.equal([]);
  });

  it('compile and refuse as the cases say, under nodenext', () => {
    expect(compiled('nodenext')).to.equal('');
  });

  it('compile and refuse as the cases say, under bundler', () => {
    expect(compiled('bundler')).to.equal('');
  });

  it('are what the cases are compiled against', () => {
    // An error that is expected no more, and one that nobody expects, both show.
    writeFileSync(
      join(folder, 'cases/wrong.ts'),
      "import { tensor } from 'depthwise';\n// @ts-expect-error nothing is wrong here\ntensor(1);\ntensor('1');\n",
    );
    const errors = compiled('nodenext');
    expect(errors).to.match(/wrong\.ts\(2,1\): error TS2578/);
    expect(errors).to.match(/wrong\.ts\(4,8\): error TS2345/);
    expect(errors.trim().split('\n')).to.have.length(2);
  });
});
