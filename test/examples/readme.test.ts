// The TypeScript of the README runs as it is printed, but for the number of epochs: against the built package, in a folder
// of its own.

import { execFile, execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { skip } from '../support/skip.ts';

const root = resolve(import.meta.dirname, '../..');
const examples = join(root, 'examples/data');

const codeOf = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] as string);

describe('the examples of the README', function () {
  this.timeout(900_000);
  const [trains, differentiates] = codeOf(join(root, 'README.md')) as [string, string];
  let folder: string;

  before(() => {
    execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: root });
    folder = mkdtempSync(join(tmpdir(), 'depthwise-readme-'));
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules/depthwise'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Runs a script in the folder and returns what it prints. */
  async function run(name: string, code: string): Promise<string> {
    writeFileSync(join(folder, name), code);
    const tsx = pathToFileURL(join(root, 'node_modules/tsx/dist/loader.mjs')).href;
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', tsx, name], { cwd: folder });
    return stdout;
  }

  it('are those of the design', function () {
    const design = join(root, '../shared/design.md');
    if (!existsSync(design)) skip(this, `there is no ${design} beside the checkout`);
    expect(codeOf(design)).to.deep.equal([trains, differentiates]);
  });

  it('differentiates and compiles', async () => {
    const given = `const kernel = Float32Array.from({ length: 576 }, (_, i) => Math.sin(i));
      const data = Float32Array.from({ length: 8 * 19 * 19 * 64 }, (_, i) => Math.cos(i));`;
    const shown = `
      const again = step(tensor(data, [8, 19, 19, 64]));
      console.log(JSON.stringify({
        value: value.dataSync()[0], again: again.value.dataSync()[0],
        grads: [...grads[0].dataSync()], gradsAgain: [...again.grads[0].dataSync()], shape: grads[0].shape,
      }));`;
    const printed = JSON.parse(await run('ops.ts', given + differentiates + shown));
    expect(printed.value).to.be.greaterThan(0);
    expect(printed.again).to.equal(printed.value);
    expect(printed.shape).to.deep.equal([64, 3, 3, 1]);
    expect(printed.gradsAgain).to.deep.equal(printed.grads);
    expect(Math.hypot(...printed.grads)).to.be.greaterThan(0);
  });

  it('trains and classifies', async () => {
    // One photograph of each class and a few epochs: forty of all take hours.
    const printedEpochs = 'epochs: 40';
    const epochs = 3;
    expect(trains.split(printedEpochs)).to.have.length(2);
    const shortened = trains.replace(printedEpochs, `epochs: ${epochs}`);
    for (const split of ['train', 'validation']) {
      for (const label of readdirSync(join(examples, 'clothing', split))) {
        const [first] = readdirSync(join(examples, 'clothing', split, label)).sort() as [string];
        mkdirSync(join(folder, 'clothing', split, label), { recursive: true });
        cpSync(
          join(examples, 'clothing', split, label, first),
          join(folder, 'clothing', split, label, first),
        );
      }
    }
    cpSync(join(examples, 'held-out/shirt.jpg'), join(folder, 'shirt.jpg'));
    const printed = JSON.parse(await run('train.ts', `${shortened}\nconsole.log(JSON.stringify(best));`));
    expect(printed.length).to.equal(5);
    expect(printed[0].probability).to.be.within(0.1, 1);
    const metrics = readFileSync(join(folder, 'runs/clothing/metrics.jsonl'), 'utf8').trim().split('\n');
    const validated = metrics.map((line) => JSON.parse(line)).filter((line) => 'epoch' in line);
    expect(validated.length).to.equal(epochs);
    expect(validated.at(-1)).to.include.keys('validation', 'validation_average');
  });
});
