// 40 steps are 20, a stop, and 20 more: the same weights, optimizer state, averages and metrics, bit for bit; for each optimizer,
// in the middle of an epoch, with other numbers of workers, with accumulation and clipping.

import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { uniform } from '../../lib/core/philox.ts';
import type { Dataset } from '../../lib/data/batch.ts';
import { imageFolder } from '../../lib/data/imageFolder.ts';
import { adam, exponentialDecay, type OptimizerSpec, rmsprop, sgd } from '../../lib/optim/index.ts';
import { newestCheckpoint } from '../../lib/train/checkpoint.ts';
import type { TrainerOptions } from '../../lib/train/options.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { networkDevices, reference } from '../support/devices.ts';
import { tinyClassifier } from './tiny.ts';

const classes = ['blue', 'green', 'red'];

/** Small images in a folder per class, each bright in one channel. */
async function writeImages(root: string, perClass: number): Promise<void> {
  for (const [label, name] of classes.entries()) {
    const folder = join(root, name);
    await mkdir(folder, { recursive: true });
    for (let i = 0; i < perClass; i++) {
      const pixels = Uint8Array.from(
        { length: 12 * 10 * 3 },
        (_, j) => uniform(label, i, j) * 120 + (j % 3 === 2 - label ? 100 : 0),
      );
      await sharp(pixels, { raw: { width: 12, height: 10, channels: 3 } })
        .png()
        .toFile(join(folder, `${i}.png`));
    }
  }
}

const optimizers: readonly (readonly [string, OptimizerSpec])[] = [
  ['sgd', sgd({ momentum: 0.9 })],
  ['rmsprop', rmsprop()],
  ['rmsprop with epsilon outside the root', rmsprop({ epsilonOutside: true, momentum: 0.9 })],
  ['adam', adam()],
];

describe('a training that was stopped', () => {
  let root: string;
  let training: Dataset;
  let validation: Dataset;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'depthwise-resume-'));
    await writeImages(join(root, 'train'), 25); // 75 images: 9 steps of 8 an epoch, so 20 is in the third
    await writeImages(join(root, 'validation'), 5);
    training = await imageFolder(join(root, 'train'), { size: 8, augment: 'inception', color: true });
    validation = await imageFolder(join(root, 'validation'), { size: 8 });
  });
  after(async () => {
    await rm(root, { recursive: true, force: true });
  });

  async function train(out: string, steps: number, options: TrainerOptions): Promise<void> {
    using model = tinyClassifier({ dropout: 0.3 });
    using trainer = new Trainer(model, {
      ...{ deterministic: true, batchSize: 8, polyak: 0.99, weightDecay: 1e-4, logEvery: 1, seed: 11 },
      schedule: exponentialDecay({ initial: 0.02, rate: 0.7, everyEpochs: 1 }),
      ...options,
    });
    await trainer.fit(training, {
      out,
      steps,
      validation,
      resume: steps !== 20 && out.endsWith('parts'),
      keep: 1,
    });
  }

  /** Files of the newest checkpoint, its state, and the metrics without what was measured by a clock. */
  async function outcome(run: string): Promise<Record<string, unknown>> {
    const { checkpoint } = await newestCheckpoint(run);
    if (checkpoint === undefined) return {};
    const { folder, state, files } = checkpoint;
    const { metricsBytes: _, ...rest } = state;
    const hashes: Record<string, string> = {};
    for (const name of files) hashes[name] = (await readFile(join(folder, name))).toString('base64');
    const text = await readFile(join(run, 'metrics.jsonl'), 'utf8');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => {
        const { images_per_second: _, data_wait: __, ...same } = JSON.parse(line);
        return same as object;
      });
    return { state: rest, hashes, lines };
  }

  for (const { name: device } of [reference, ...networkDevices]) {
    for (const [name, optimizer] of optimizers) {
      it(`goes on as if it had not been, with ${name} on ${device}`, async () => {
        const at = (which: string) => join(root, `${device}-${name}-${which}`);
        const options = { device, optimizer };
        await train(at('whole'), 40, { ...options, workers: 1 });
        await train(at('parts'), 20, { ...options, workers: 2 });
        await train(at('parts'), 40, { ...options, workers: 4 });
        const [whole, parts] = [await outcome(at('whole')), await outcome(at('parts'))];
        expect(whole.lines).to.have.length(40 + 5);
        expect(parts).to.deep.equal(whole);
      });
    }

    it(`goes on as if it had not been, with accumulation and clipping on ${device}`, async () => {
      const at = (which: string) => join(root, `${device}-clipped-${which}`);
      const options = { device, optimizer: adam(), accumulate: 2, clipNorm: 0.5 };
      await train(at('whole'), 40, { ...options, workers: 1 });
      await train(at('parts'), 20, { ...options, workers: 3 });
      await train(at('parts'), 40, { ...options, workers: 2 });
      const [whole, parts] = [await outcome(at('whole')), await outcome(at('parts'))];
      expect(parts).to.deep.equal(whole);
      const norms = (whole.lines as { gradient_norm?: number }[]).flatMap((line) => line.gradient_norm ?? []);
      expect(norms).to.have.length(40);
      expect(norms.some((norm) => norm > 0.5)).to.equal(true);
    });
  }
});
