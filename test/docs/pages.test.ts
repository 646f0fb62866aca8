// Every code block of README and guides does what it says: TypeScript is type-checked and run, commands are run, lines quoted
// from files are in them. All pages share one folder, in which a user's photographs and published weights lie.

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { folderWithPackage, removeFolder, root, tsc } from '../support/builtPackage.ts';
import { skip } from '../support/skip.ts';
import { blocksIn, blocksOf, reasons, type Step, stepsOf, treatmentOf } from './blocks.ts';

const guides = readdirSync(join(root, 'docs/guides'))
  .filter((file) => file.endsWith('.md'))
  .sort()
  .map((file) => `docs/guides/${file}`);
const pages = ['README.md', 'CONTRIBUTING.md', ...guides].filter((page) => existsSync(join(root, page)));

/**
 * What is changed before a block is run, since training for real takes hours: small images, few steps. Every pair has to be
 * met on some page.
 */
const shortened: readonly (readonly [printed: string | RegExp, run: string])[] = [
  [/--size (299|96)\b/g, '--size 71'],
  [/\bsize: (299|96)\b/g, 'size: 71'],
  [/--epochs (10|15|40)\b/g, '--epochs 1'],
  [/--preset finetune/g, '--preset finetune --no-report'],
  [/--loss sigmoid/g, '--loss sigmoid --no-report'],
  [/\bepochs: (5|10|15|40)\b/g, 'epochs: 1'],
];
const met = new Set<string | RegExp>();

function short(code: string): string {
  return shortened.reduce((text, [printed, run]) => {
    const after = text.replaceAll(printed, run);
    if (after !== text) met.add(printed);
    return after;
  }, code);
}

/** Runs before every block of commands: `npx depthwise` is the package in the folder, found without npm. */
const prelude = `set -euo pipefail
npx() {
  case $1 in
    depthwise) shift; node node_modules/depthwise/bin/depthwise.js "$@" ;;
    tsx) shift; node --import "$TSX" "$@" ;;
    *) echo "npx $1: not here" >&2; return 127 ;;
  esac
}
`;

describe('code blocks of pages', () => {
  it('are told by the words behind the fence', () => {
    expect(treatmentOf('ts')).to.deep.equal({ kind: 'ts' });
    expect(treatmentOf('cpp from=native/a.cc')).to.deep.equal({ kind: 'excerpt', file: 'native/a.cc' });
    expect(treatmentOf('sh not-run: gpu')).to.deep.equal({ kind: 'not run', reason: 'gpu' });
    for (const unknown of ['', 'js', 'ts skip', 'sh not-run: because', 'cpp']) {
      expect(() => treatmentOf(unknown), unknown).to.throw('expected ts, ts continued');
    }
    expect(() => blocksIn('a.md', 'x\n```sh\nls\n')).to.throw('a.md:2: a block is not closed');
    expect(() => blocksIn('a.md', '- x\n  ```sh\n  ls\n  ```\n')).to.throw(
      'a.md:2: a fence that is indented',
    );
  });

  it('continue each other where they say so', () => {
    const page = '```ts\na();\n```\n```ts continued\nb();\n```\n```sh\nls\n```\n```ts\nc();\n```\n';
    expect(stepsOf(blocksIn('a.md', page))).to.deep.equal([
      { kind: 'ts', line: 1, code: 'a();\nb();\n' },
      { kind: 'sh', line: 7, code: 'ls\n' },
      { kind: 'ts', line: 10, code: 'c();\n' },
    ]);
    expect(() => stepsOf(blocksIn('a.md', '```ts continued\na();\n```\n'))).to.throw(
      'at line 1 continues none',
    );
  });
});

describe('the code of README and guides', function () {
  this.timeout(900_000);
  const steps = new Map<string, Step[]>(pages.map((page) => [page, stepsOf(blocksOf(page))]));
  const moduleName = (page: string, { line }: Step) =>
    `${page.replace(/^.*\//, '').replace('.md', '')}-${line}.ts`;
  const tsx = pathToFileURL(join(root, 'node_modules/tsx/dist/loader.mjs')).href;
  let folder: string;

  before(() => {
    folder = folderWithPackage();
    const examples = join(root, 'examples/data');
    // A user's photographs: a few of each class. The classes of `clothing` are those of the bundled photographs.
    const clothing = readdirSync(join(examples, 'clothing/train')).sort();
    for (const [name, classes, count] of [
      ['clothing', clothing, 1],
      ['photos', ['dress', 'hat', 'shoes'], 3],
    ] as const) {
      for (const split of ['train', 'validation']) {
        for (const label of classes) {
          const from = join(examples, 'clothing', split, label);
          const to = join(folder, name, split, label);
          mkdirSync(to, { recursive: true });
          for (const file of readdirSync(from).sort().slice(0, count))
            cpSync(join(from, file), join(to, file));
        }
      }
    }
    cpSync(join(examples, 'held-out/shirt.jpg'), join(folder, 'shirt.jpg'));
    // Published weights, but for their values: files of the same names, tensors and shapes.
    const weights = `import { rename } from 'node:fs/promises';
      import { xception } from 'depthwise';
      using keras = xception();
      await keras.save('xception_weights_tf_dim_ordering_tf_kernels.h5');
      using timm = xception({ samePadding: 'symmetric', epsilon: 1e-5, unbiasedVariance: true, batchNormMomentum: 0.9 });
      await timm.save('a.timm.safetensors');
      await rename('a.timm.safetensors', 'xception-timm.safetensors');`;
    writeFileSync(join(folder, 'weights.mts'), weights);
    execFileSync(process.execPath, ['--import', tsx, 'weights.mts'], { cwd: folder });
    for (const [page, all] of steps) {
      for (const step of all) {
        if (step.kind === 'ts') writeFileSync(join(folder, moduleName(page, step)), short(step.code));
      }
    }
  });
  after(() => removeFolder(folder));

  const env = { ...process.env, TSX: tsx, DEPTHWISE_DEBUG: '1' };

  /** Trainings that were run: one that two pages show is not run again. */
  const trained = new Set<string>();
  const anew = (code: string): string =>
    code
      .split('\n')
      .filter((line) => {
        const again = trained.has(line);
        if (line.startsWith('npx depthwise train ')) trained.add(line);
        return !again;
      })
      .join('\n');

  async function run(page: string, step: Step): Promise<void> {
    const [command, args] =
      step.kind === 'ts'
        ? [process.execPath, ['--import', tsx, moduleName(page, step)]]
        : ['bash', ['-c', `${prelude}${anew(short(step.code))}`]];
    try {
      await promisify(execFile)(command, args, { cwd: folder, env });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${page}:${step.line} failed\n${stdout}${stderr}`);
    }
  }

  it('is TypeScript that compiles in a strict program', () => {
    const config = {
      compilerOptions: {
        target: 'es2022',
        lib: ['es2023', 'esnext.disposable'],
        module: 'nodenext',
        types: ['node'],
        strict: true,
        noEmit: true,
      },
      include: ['*.ts'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const { stdout } = spawnSync(tsc, ['-p', 'tsconfig.json'], { cwd: folder, encoding: 'utf8' });
    expect(stdout).to.equal('');
  });

  it('is in the files that it is quoted from', () => {
    const quoted = pages
      .flatMap(blocksOf)
      .flatMap(({ page, line, code, treatment }) =>
        treatment.kind === 'excerpt' ? [{ at: `${page}:${line}`, code, file: treatment.file }] : [],
      );
    const wrong = quoted.filter(({ code, file }) => !readFileSync(join(root, file), 'utf8').includes(code));
    expect(wrong.map(({ at, file }) => `${at} is not in ${file}`)).to.deep.equal([]);
  });

  for (const page of pages) {
    it(`runs: ${page}`, async () => {
      for (const step of steps.get(page) as Step[]) await run(page, step);
    });
  }

  it('is shortened by nothing that is not printed', () => {
    expect(shortened.flatMap(([printed]) => (met.has(printed) ? [] : [String(printed)]))).to.deep.equal([]);
  });

  it('is left out where it says why', () => {
    const left = pages
      .flatMap(blocksOf)
      .flatMap(({ page, line, code, treatment }) =>
        treatment.kind === 'not run'
          ? [`${page}:${line}, ${reasons[treatment.reason]}: ${code.split('\n')[0]}`]
          : [],
      );
    process.stderr.write(left.map((line) => `not run, ${line}\n`).join(''));
    const counts = Object.fromEntries(
      pages.map((page) => [
        page,
        blocksOf(page).filter(({ treatment }) => treatment.kind === 'not run').length,
      ]),
    );
    expect(Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0))).to.deep.equal({
      'README.md': 3,
      'CONTRIBUTING.md': 1,
      'docs/guides/air-gapped-gpu.md': 2,
      'docs/guides/finetune.md': 2,
      'docs/guides/write-an-op.md': 1,
    });
  });

  it('holds the examples of the design', function () {
    const design = resolve(root, '../shared/design.md');
    if (!existsSync(design)) skip(this, `there is no ${design} beside the checkout`);
    const typed = (code: string) => code.replaceAll('type Tensor, ', '').replaceAll(': Tensor', '');
    const printed = new Set(pages.flatMap(blocksOf).map(({ code }) => typed(code)));
    const wanted = [...readFileSync(design, 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
      ([, code]) => code,
    );
    expect(wanted).to.have.length(2);
    for (const code of wanted) expect(printed.has(code as string), code).to.equal(true);
  });
});
