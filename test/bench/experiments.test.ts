// The paper's experiments: what is made of runs, and a tiny one from its start, by way of being stopped, to its page.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { trainings, type Variant } from '../../bench/experiments/definitions.ts';
import { contrastSentence, contrasts, findingsOf } from '../../bench/experiments/findings.ts';
import { chosenPlaces, linkFraction } from '../../bench/experiments/fraction.ts';
import { trainingPage } from '../../bench/experiments/pages.ts';
import { experimentNames, paper } from '../../bench/experiments/paper.ts';
import {
  keepSettings,
  type Outcome,
  recipeFor,
  type TrainingSettings,
} from '../../bench/experiments/runs.ts';
import { Kept, type NetworkSpeed, type SegmentSpeed } from '../../bench/experiments/speed.ts';
import { segmentsPage, table3Page } from '../../bench/experiments/speedPages.ts';
import { circumstances } from '../../bench/support/machine.ts';
import { sample } from '../../bench/support/statistics.ts';
import { UsageError } from '../../lib/cli/failure.ts';
import { architecture } from '../../lib/models/registry.ts';

// In a bundle (docs/cuda.md) everything is compiled, and there is no loader of TypeScript.
const isSource = import.meta.filename.endsWith('.ts');

const settings: TrainingSettings = {
  data: 'clothing',
  fraction: 1,
  size: 96,
  preset: 'small',
  epochs: 2,
  batch: 16,
  lr: null,
};

/** A finished run whose top-1 goes straight to `top1`. */
const outcome = (variant: string, seed: number, top1: number): Outcome => ({
  ...{ variant, seed, parameters: 1000, stepsPerEpoch: 10, trainingImages: 160, validationImages: 40 },
  ...{ classes: 10, device: 'cpu', precision: 'fp32' },
  epochs: [1, 2].map((epoch) => ({
    epoch,
    train: { loss: 2 - epoch / 2, top1: 0.2 },
    validation: { top1: 0, top5: 0, loss: 9 },
    validation_average: { top1: (top1 * epoch) / 2, top5: 0.9, loss: 1 },
    images_per_second: 10 * epoch,
    data_wait: 0,
  })),
});

const [first, second] = trainings.figure9;
const pair: readonly Variant[] = trainings.figure9;

describe('experiments', () => {
  it('have variants that the networks accept, and an account of the paper', () => {
    for (const variant of Object.values<readonly Variant[]>(trainings).flat()) {
      const differing = architecture(variant.arch).differing(variant.options);
      expect(differing).to.deep.equal(variant.options);
    }
    for (const name of experimentNames) expect(paper[name].says).not.to.deep.equal([]);
  });

  it('take each network its own recipe of the paper', () => {
    expect(recipeFor('xception-imagenet', 'inception_v3', settings).weightDecay).to.equal(4e-5);
    expect(recipeFor('inception-v3-jft', 'xception', { ...settings, lr: 0.5 })).to.include({
      weightDecay: 1e-5,
      lr: 0.5,
      batch: 16,
    });
  });

  it('give means over seeds, and deviations of samples', () => {
    expect(sample([1, 2, 3])).to.deep.equal({ mean: 2, deviation: 1 });
    expect(sample([5]).deviation).to.be.NaN;
    const [found] = findingsOf(pair, [outcome(first.id, 0, 0.6), outcome(first.id, 1, 0.8)]);
    expect(found?.top1.mean).to.be.closeTo(0.7, 1e-12);
    expect(found?.top1.deviation).to.be.closeTo(Math.sqrt(0.02), 1e-12);
    expect(found?.best.values).to.deep.equal([0.6, 0.8]);
    expect(found?.imagesPerSecond.mean).to.equal(20);
  });

  it('say what was found, whether or not the paper found the same', () => {
    const sentence = (a: readonly number[], b: readonly number[]) => {
      const runs = [
        ...a.map((top1, seed) => outcome(first.id, seed, top1)),
        ...b.map((top1, seed) => outcome(second.id, seed, top1)),
      ];
      const [contrast] = contrasts(findingsOf(pair, runs));
      return contrast === undefined ? '' : contrastSentence(contrast);
    };
    expect(sentence([0.8, 0.81], [0.5, 0.51])).to.match(
      /^With residual .* 30\.0 points .*as in the paper\.$/,
    );
    expect(sentence([0.5, 0.51], [0.8, 0.81])).to.match(/^Without .*the other way round than in the paper/);
    expect(sentence([0.5, 0.7], [0.6, 0.62])).to.match(/these runs do not tell\.$/);
    expect(sentence([0.7], [0.6])).to.match(/with one seed, chance is not ruled out\.$/);
  });

  it('take a part of each class, evenly and the same each time', () => {
    expect(chosenPlaces(10, 0.3)).to.deep.equal([0, 3, 6]);
    expect(chosenPlaces(3, 0.01)).to.deep.equal([0]);
    expect(chosenPlaces(4, 1)).to.deep.equal([0, 1, 2, 3]);
  });

  it('put the paper beside what was found', () => {
    const at = circumstances('experiments');
    const runs = [outcome(first.id, 0, 0.6), outcome(second.id, 0, 0.5), outcome(first.id, 1, 0.8)];
    const page = trainingPage(
      paper.figure9,
      at,
      settings,
      [['optimizer', 'adam']],
      findingsOf(pair, runs),
      4,
    );
    expect(page).to.include('<h2>The paper</h2>');
    expect(page).to.include('3 of 4 runs are finished');
    expect(page).to.match(/<th scope="row">optimizer<\/th><td>SGD, momentum 0\.9[^<]*<\/td><td>adam/);
    expect(page).to.match(/70\.0 % <small>± 14\.1 %/);
  });

  it('lay out table 3 and the segments', () => {
    const at = circumstances('experiments');
    const speed = {
      ...{ size: 96, batch: 8, steps: 2, warmup: 1, device: 'cpu', threads: 2 },
      precision: 'fp32' as const,
    };
    const measured = (name: string, median: number) => ({
      ...{ name, description: `${name} 1`, rounds: [median], ratio: 1, peakBytes: 1, idleShare: 0 },
      imagesPerSecond: { median, min: median, max: median },
    });
    const network = (arch: NetworkSpeed['arch'], ours: number): NetworkSpeed => ({
      ...{ arch, parameters: 22_855_952, multiplyAdds: 1e9 },
      comparison: {
        setting: { ...speed, arch, mode: 'train', threads: 2 },
        measured: [measured('depthwise', ours), measured('keras', 4)],
        leftOut: [{ name: 'torch-eager', reason: 'not installed' }],
      },
    });
    const page = table3Page(at, speed, [network('inception_v3', 16), network('xception', 8)]);
    expect(page).to.match(/<th scope="row">depthwise<\/th><td class="n">0\.500/);
    expect(page).to.match(/<th scope="row">paper<\/th><td class="n">0\.903/);
    expect(page).to.include('23,626,728');
    expect(page).to.include('Xception without torch-eager: not installed');
    const mode = { imagesPerSecond: 10, medianStepMs: 800 };
    const row = (segments: SegmentSpeed['segments']): SegmentSpeed => ({
      ...{ segments, parameters: 1e6, multiplyAdds: 2e9, train: mode, infer: mode },
    });
    expect(segmentsPage(at, speed, [row(1), row('channels')])).to.include('<th scope="row">channels</th>');
  });

  describe('in a folder', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'depthwise-experiments-'));
    });
    afterEach(() => {
      rmSync(folder, { recursive: true });
    });

    it('are not mixed with those of other settings', () => {
      keepSettings(folder, settings);
      keepSettings(folder, { ...settings });
      expect(() => keepSettings(folder, { ...settings, epochs: 3 })).to.throw(
        UsageError,
        'epochs was 2, is 3',
      );
    });

    it('link a part of the images', () => {
      for (const name of ['a', 'b']) {
        mkdirSync(join(folder, 'train', name), { recursive: true });
        for (let i = 0; i < 4; i += 1) writeFileSync(join(folder, 'train', name, `${i}.jpg`), name);
      }
      const part = join(folder, 'part');
      expect(linkFraction(join(folder, 'train'), part, 1)).to.equal(join(folder, 'train'));
      for (let again = 0; again < 2; again += 1) linkFraction(join(folder, 'train'), part, 0.5);
      expect(readdirSync(join(part, 'b')).sort()).to.deep.equal(['0.jpg', '2.jpg']);
      expect(readFileSync(join(part, 'a', '2.jpg'), 'utf8')).to.equal('a');
    });

    it('measure nothing twice', async () => {
      let measured = 0;
      const measure = async () => {
        measured += 1;
        return measured;
      };
      expect(await new Kept<number>(folder).get('a', measure)).to.equal(1);
      expect(await new Kept<number>(folder).get('a', measure)).to.equal(1);
      expect(await new Kept<number>(folder).get('b', measure)).to.equal(2);
    });
  });

  it('go on where they were stopped, to a page and figures', async function () {
    this.timeout(900_000);
    const folder = mkdtempSync(join(tmpdir(), 'depthwise-experiment-'));
    try {
      const data = join(folder, 'data');
      for (const [part, count] of [['train', 4] as const, ['validation', 2] as const]) {
        for (const [name, background] of [['dark', '#202020'] as const, ['light', '#e0e0e0'] as const]) {
          mkdirSync(join(data, part, name), { recursive: true });
          for (let i = 0; i < count; i += 1) {
            const create = { width: 72, height: 72, channels: 3 as const, background };
            await sharp({ create })
              .png()
              .toFile(join(data, part, name, `${i}.png`));
          }
        }
      }
      const out = join(folder, 'out');
      const start = () => {
        const child = spawn(
          process.execPath,
          [
            ...(isSource ? ['--import', 'tsx'] : []),
            ...[resolve(import.meta.dirname, `../../bench/experiments.${isSource ? 'ts' : 'js'}`), 'figure9'],
            ...['--data', data, '--out', out, '--results', folder, '--device', 'cpu', '--size', '71'],
            ...['--epochs', '1', '--seeds', '1', '--batch', '4'],
          ],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        );
        const said = { stdout: '', stderr: '' };
        child.stdout.on('data', (chunk: Buffer) => {
          said.stdout += chunk;
        });
        child.stderr.on('data', (chunk: Buffer) => {
          said.stderr += chunk;
        });
        return { child, said, ended: once(child, 'close').then(([code]) => code as number | null) };
      };

      const stopped = start();
      stopped.child.stderr.on('data', () => {
        if (stopped.said.stderr.includes('without residual connections, seed 0'))
          stopped.child.kill('SIGTERM');
      });
      expect(await stopped.ended, stopped.said.stderr).to.equal(143);
      const result = (id: string) => join(out, 'figure9', `${id}-seed0`, 'result.json');
      const before = statSync(result('residual')).mtimeMs;

      const finished = start();
      expect(await finished.ended, finished.said.stderr).to.equal(0);
      expect(statSync(result('residual')).mtimeMs).to.equal(before);
      expect(finished.said.stdout).to.include('without residual connections');
      expect(existsSync(join(out, 'figure9/residual-seed0/checkpoints'))).to.equal(false);
      const page = readFileSync(join(out, 'figure9/report.html'), 'utf8');
      expect(page).to.include('Figure 9: with and without residual connections');
      const figures = JSON.parse(readFileSync(join(folder, 'experiment-figure9.json'), 'utf8')) as {
        outcomes: Outcome[];
      };
      expect(figures.outcomes.map(({ variant }) => variant)).to.deep.equal(['residual', 'no-residual']);
      expect(figures.outcomes.map(({ epochs }) => epochs.length)).to.deep.equal([1, 1]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
