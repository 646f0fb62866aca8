// The examples run: as they stand, against the sources, with arguments that make them short.

import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { createClassifier } from '../../lib/index.ts';

const root = resolve(import.meta.dirname, '../..');
const photographs = join(root, 'examples/data/clothing');

describe('examples', function () {
  this.timeout(300_000);
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-examples-'));
    for (const split of ['train', 'validation']) {
      for (const label of ['dress', 'hat', 'shoes']) {
        const to = join(folder, 'photos', split, label);
        mkdirSync(to, { recursive: true });
        const from = join(photographs, split, label);
        for (const file of readdirSync(from).sort().slice(0, 6)) cpSync(join(from, file), join(to, file));
      }
    }
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Runs an example in the folder and returns what it prints. */
  async function run(name: string, ...args: string[]): Promise<string> {
    const tsx = pathToFileURL(join(root, 'node_modules/tsx/dist/loader.mjs')).href;
    const program = join(root, 'examples', name, 'index.ts');
    // tsx takes the paths of the checkout's tsconfig.json: `depthwise` is lib/index.ts.
    const env = { ...process.env, TSX_TSCONFIG_PATH: join(root, 'tsconfig.json') };
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', tsx, program, ...args], {
      cwd: folder,
      env,
    });
    return stdout;
  }

  it('own-model: trains, saves and loads a small network, in forty lines', async () => {
    const printed = await run('own-model', join(folder, 'photos'), '8');
    const losses = [...printed.matchAll(/^\d+ ([\d.]+) /gm)].map(([, loss]) => Number(loss));
    expect(losses).to.have.length(8);
    expect(losses.at(-1)).to.be.lessThan(losses[0] as number);
    expect(printed).to.match(/label: '(dress|hat|shoes)'/);
    expect(existsSync(join(folder, 'own-model.safetensors'))).to.equal(true);
    const source = readFileSync(join(root, 'examples/own-model/index.ts'), 'utf8');
    expect(source.split('\n').filter((line) => /^\s*[^\s/]/.test(line)).length).to.be.at.most(40);
  });

  it('finetune: trains a classifier, then everything, from weights', async () => {
    const weights = join(folder, 'start.safetensors');
    using start = createClassifier('xception', { classes: 4, size: 71, batchNormMomentum: 0.9 });
    await start.save(weights);
    const printed = await run('finetune', weights, join(folder, 'photos'), '71', '1');
    expect(printed).to.match(/^the classifier alone: top-1 [01]\.\d{3}$/m);
    expect(printed).to.match(/^epoch 1: top-1 [01]\.\d{3}$/m);
    expect(existsSync(join(folder, 'finetuned.safetensors'))).to.equal(true);
  });

  it('benchmark: measures training and inference', async () => {
    const printed = await run('benchmark', 'cpu', '71', '1', '1');
    for (const mode of ['train', 'infer']) {
      expect(printed).to.match(
        new RegExp(`^${mode}, batch 1, 71 pixels: [\\d.]+ images/s, \\d+ ms a step`, 'm'),
      );
    }
  });
});
