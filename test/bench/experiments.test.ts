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
import { conditionsOf } from '../../bench/experiments/conditions.ts';
import { trainings, type Variant } from '../../bench/experiments/definitions.ts';
import {
  contrastSentence,
  contrasts,
  findingsOf,
  validationSentence,
} from '../../bench/experiments/findings.ts';
import { chosenPlaces, linkFraction } from '../../bench/experiments/fraction.ts';
import { trainingPage } from '../../bench/experiments/pages.ts';
import { experimentNames, paper } from '../../bench/experiments/paper.ts';
import {
  keepSettings,
  type Outcome,
  readOutcome,
  recipeFor,
  runFolder,
  type TrainingSettings,
  trainVariant,
} from '../../bench/experiments/runs.ts';
import { begunUnder, Kept, type NetworkSpeed, type SegmentSpeed } from '../../bench/experiments/speed.ts';
import { segmentsPage, table3Page } from '../../bench/experiments/speedPages.ts';
import { segmentsSections, table3Sections, trainingSections } from '../../bench/experiments/summary.ts';
import { circumstances } from '../../bench/support/machine.ts';
import { writeWhole } from '../../bench/support/results.ts';
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

  it('train a network once for all experiments that have it', () => {
    const all = Object.values<readonly Variant[]>(trainings).flat();
    for (const { id, arch, options } of all) {
      const same = (other: Variant) => other.id === id;
      const networks = new Set(all.filter(same).map((other) => JSON.stringify([other.arch, other.options])));
      expect([...networks], id).to.deep.equal([JSON.stringify([arch, options])]);
      const others = all.filter((other) => !same(other)).map((other) => [other.arch, other.options]);
      expect(others, id).not.to.deep.include([arch, options]);
    }
    const [plain] = trainings.figure6;
    expect([first, trainings.figure10[0]].map((variant) => runFolder('runs', variant, 1))).to.deep.equal([
      runFolder('runs', plain, 1),
      runFolder('runs', plain, 1),
    ]);
  });

  it('begin with the same weights where variants have the same layers', () => {
    const names = ({ options }: Variant) => [
      ...architecture('xception').build({ classes: 10, variant: options }).parameters().keys(),
    ];
    const plain = names(first);
    for (const variant of [second, ...trainings.figure10]) expect(plain).to.include.members(names(variant));
  });

  it('take each network its own recipe of the paper', () => {
    expect(recipeFor('xception-imagenet', 'inception_v3', settings).weightDecay).to.equal(4e-5);
    expect(recipeFor('inception-v3-jft', 'xception', { ...settings, lr: 0.5 })).to.include({
      weightDecay: 1e-5,
      lr: 0.5,
      batch: 16,
    });
  });

  it('give means over seeds', () => {
    const [found] = findingsOf(pair, [outcome(first.id, 0, 0.6), outcome(first.id, 1, 0.8)]);
    expect(found?.top1.mean).to.be.closeTo(0.7, 1e-12);
    expect(found?.top1.deviation).to.be.closeTo(Math.sqrt(0.02), 1e-12);
    expect(found?.onTheWay.values[1]).to.be.closeTo(0.6, 1e-12);
    expect(found?.trainingLoss.mean).to.equal(1);
    expect(validationSentence(found === undefined ? [] : [found])).to.match(
      /2\.50 points\..* of 7\.2 points/,
    );
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
      /^With residual .* 30\.0 points .*\(95 % interval 27\.0 to 33\.0\), as in the paper\.$/,
    );
    expect(sentence([0.5, 0.51], [0.8, 0.81])).to.match(/^Without .*the other way round than in the paper/);
    expect(sentence([0.5, 0.7], [0.6, 0.62])).to.match(/has 0 in it: these runs do not tell\.$/);
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
    const findings = findingsOf(pair, runs);
    const page = trainingPage(paper.figure9, at, settings, findings, 4);
    expect(page).to.include('<h2>The paper</h2>');
    expect(page).to.include('3 of 4 runs are finished');
    expect(page).to.match(/<th scope="row">optimizer<\/th><td>SGD, momentum 0\.9[^<]*<\/td><td>adam/);
    expect(page).to.match(/70\.0 % <small>± 14\.1 %/);
    const text = trainingSections('figure9', settings, findings, 4).join('\n');
    expect(text).to.include('3 of 4 runs are finished');
    expect(text).to.match(/\| with residual connections \| 2 \| 70\.0 % ± 14\.1 % \| 60\.0 % \| 80\.0 % \|/);
    expect(text).to.match(/\| without residual connections .* \| 50\.0 % \| – \|/);
    const conditions = new Map(conditionsOf(settings, runs).map(([words, , here]) => [words, here]));
    expect(conditions.get('seeds')).to.equal('0, 1');
    expect(conditions.get('length')).to.equal('2 epochs, 20 steps');
    expect([...conditions.values()]).not.to.include('–');
  });

  it('lay out table 3 and the segments', () => {
    const at = circumstances('experiments');
    const speed = {
      ...{ size: 96, batch: 8, rounds: 3, steps: 2, warmup: 1, device: 'cpu', threads: 2 },
      precision: 'fp32' as const,
    };
    const measured = (name: string, median: number, parameters: number) => ({
      ...{
        name,
        parameters,
        description: `${name} 1`,
        rounds: [median],
        ratio: 1,
        peakBytes: 1,
        idleShare: 0,
      },
      imagesPerSecond: { median, min: median, max: median },
    });
    const network = (arch: NetworkSpeed['arch'], ours: number): NetworkSpeed => ({
      ...{ arch, parameters: 22_855_952, multiplyAdds: 1e9 },
      comparison: {
        setting: { ...speed, arch, mode: 'train', threads: 2 },
        measured: [measured('depthwise', ours, 1), measured('keras', 4, 7654)],
        leftOut: [{ name: 'torch-eager', reason: 'not installed' }],
      },
    });
    const networks = [network('inception_v3', 16), network('xception', 8)];
    const page = table3Page(at, speed, networks);
    expect(page).to.match(/<th scope="row">depthwise<\/th><td class="n">0\.50</);
    expect(page).to.match(/<th scope="row">paper<\/th><td class="n">0\.90</);
    expect(table3Sections(speed, networks).join('\n')).to.include(
      '| Xception | keras | 7,654 | – | 0.500 | 4.00 | 4.00 to 4.00 |',
    );
    expect(page).to.include('23,626,728');
    expect(page).to.include('Xception without torch-eager: not installed');
    const of = (median: number) => ({ median, min: median - 0.01, max: median + 0.02 });
    const mode = { imagesPerSecond: of(10), relative: of(0.25) };
    const row = (segments: SegmentSpeed['segments']): SegmentSpeed => ({
      ...{ segments, parameters: 1e6, multiplyAdds: 2e9, train: mode, infer: mode },
    });
    expect(segmentsPage(at, speed, [row(1), row('channels')])).to.include('<th scope="row">channels</th>');
    expect(segmentsSections(speed, [row(1)]).join('\n')).to.include(
      '| 1 | 1,000,000 | 2.00 G | 10.00 | 0.25 (0.24 to 0.27) | 10.00 | 0.25 (0.24 to 0.27) |',
    );
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

    it('read a finished run, and drop the checkpoints that a kill left', async () => {
      const run = runFolder(folder, first, 0);
      const finished = outcome(first.id, 0, 0.6);
      writeWhole(join(run, 'result.json'), JSON.stringify(finished));
      mkdirSync(join(run, 'checkpoints', 'step-1'), { recursive: true });
      const place = { device: 'cpu', precision: 'fp32' as const, threads: 1, workers: 1 };
      const events = { say: (line: string) => expect.fail(line), signal: new AbortController().signal };
      expect(await trainVariant(folder, first, 0, settings, place, events)).to.deep.equal(finished);
      expect(readdirSync(run)).to.deep.equal(['result.json']);
      expect(readOutcome(runFolder(folder, second, 0))).to.equal(undefined);
    });

    it('measure nothing twice, and say when that was', async () => {
      const at = { ...circumstances('experiments'), commit: 'abc' };
      expect(begunUnder(folder, at)).to.deep.equal(at);
      expect(begunUnder(folder, { ...at, commit: 'def', load: 99 })).to.deep.equal(at);
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

      /** Ends it by a signal as soon as something holds. @returns its exit code, null where it was killed */
      const stop = async (
        { child, ended }: ReturnType<typeof start>,
        holds: () => boolean,
        signal: NodeJS.Signals,
      ) => {
        const watch = setInterval(() => {
          if (!holds()) return;
          clearInterval(watch);
          child.kill(signal);
        }, 5);
        return ended.finally(() => clearInterval(watch));
      };
      // Its line is written, its checkpoint is not.
      const killed = start();
      expect(
        await stop(killed, () => killed.said.stderr.includes('epoch 1 of 1'), 'SIGKILL'),
        killed.said.stderr,
      ).to.equal(null);
      // A run is there to be continued once it has a folder.
      const begun = join(out, 'trained', `${second.id}-seed0`, 'config.json');
      const stopped = start();
      expect(await stop(stopped, () => existsSync(begun), 'SIGTERM'), stopped.said.stderr).to.equal(143);
      expect(stopped.said.stderr).to.include('with residual connections, seed 0, continued');
      const result = (id: string) => join(out, 'trained', `${id}-seed0`, 'result.json');
      const before = statSync(result('xception')).mtimeMs;

      const finished = start();
      expect(await finished.ended, finished.said.stderr).to.equal(0);
      expect(finished.said.stderr).to.include('without residual connections, seed 0, continued');
      expect(statSync(result('xception')).mtimeMs).to.equal(before);
      expect(finished.said.stdout).to.include('without residual connections');
      expect(existsSync(join(out, 'trained/xception-seed0/checkpoints'))).to.equal(false);
      const page = readFileSync(join(out, 'figure9/report.html'), 'utf8');
      expect(page).to.include('Figure 9: with and without residual connections');
      const figures = JSON.parse(readFileSync(join(folder, 'experiment-figure9.json'), 'utf8')) as {
        outcomes: Outcome[];
      };
      expect(figures.outcomes.map(({ variant }) => variant)).to.deep.equal([first.id, second.id]);
      expect(figures.outcomes.map(({ epochs }) => epochs.length)).to.deep.equal([1, 1]);
      expect(readFileSync(join(folder, 'experiment-figure9.md'), 'utf8')).to.include(
        '| without residual connections |',
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
