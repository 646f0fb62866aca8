// What a run leaves for TensorBoard: every line of metrics.jsonl, once, also where the run was stopped and resumed.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Batch } from '../../lib/data/batch.ts';
import { EventLog } from '../../lib/train/eventLog.ts';
import { readLiveStatus } from '../../lib/train/live.ts';
import type { FitOptions } from '../../lib/train/options.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { readEvents, scalarsOf } from '../support/eventFile.ts';
import { runPeer } from '../support/peers.ts';
import { brightDataset, brightImages, tinyClassifier } from './tiny.ts';

describe("a run's events for TensorBoard", () => {
  let run: string;

  beforeEach(async () => {
    run = await mkdtemp(join(tmpdir(), 'depthwise-events-'));
  });
  afterEach(async () => {
    await rm(run, { recursive: true, force: true });
  });

  async function train(options: FitOptions): Promise<void> {
    using model = tinyClassifier();
    using trainer = new Trainer(model, { device: 'reference', batchSize: 8, logEvery: 2 });
    await trainer.fit(brightDataset(40), { out: run, validation: brightDataset(9, 2), ...options });
  }

  const eventFiles = async (): Promise<Buffer[]> => {
    const names = (await readdir(run)).filter((name) => name.startsWith('events.')).sort();
    return await Promise.all(names.map((name) => readFile(join(run, name))));
  };

  interface Line {
    readonly step?: number;
    readonly epoch?: number;
    readonly loss?: number;
    readonly train?: { readonly loss: number };
    readonly images_per_second: number;
  }

  async function lines(): Promise<Line[]> {
    const text = await readFile(join(run, 'metrics.jsonl'), 'utf8');
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
  }

  /** What metrics.jsonl says, as the events have it: in single precision. */
  async function expected(): Promise<{ losses: [number, number][]; epochs: [number, number][] }> {
    const all = await lines();
    return {
      losses: all.flatMap(({ step, loss }) =>
        step === undefined ? [] : [[step, Math.fround(loss as number)]],
      ),
      epochs: all.flatMap(({ epoch }) => (epoch === undefined ? [] : [[epoch * 5, epoch]])),
    };
  }

  it('have what metrics.jsonl has, and the settings', async () => {
    await train({ epochs: 2 });
    const files = await eventFiles();
    expect(files).to.have.length(1);
    const scalars = scalarsOf(files);
    const { losses, epochs } = await expected();
    expect(losses).to.have.length(5);
    expect(scalars.get('train/loss')).to.deep.equal(losses);
    expect(scalars.get('epoch/epoch')).to.deep.equal(epochs);
    for (const tag of ['train/top1', 'train/learning_rate', 'speed/images_per_second', 'speed/data_wait']) {
      expect(scalars.get(tag), tag).to.have.length(5);
    }
    for (const name of ['validation', 'validation_average']) {
      for (const score of ['top1', 'top5', 'loss']) expect(scalars.get(`${name}/${score}`)).to.have.length(2);
    }
    const texts = files.flatMap(readEvents).flatMap(({ summary }) => summary?.value ?? []);
    const config = texts.find(({ tag }) => tag === 'config')?.tensor?.stringVal[0];
    expect(Buffer.from(config as Uint8Array).toString()).to.include('| batchSize | 8 |');
  });

  it('go on in a new file where the run was stopped, with every step once', async () => {
    await train({ steps: 4, checkpointEvery: 2 });
    await train({ steps: 8, resume: true });
    // As if it had been killed before the checkpoints of these steps.
    for (const step of [5, 8]) await rm(join(run, 'checkpoints', `step-0000000${step}`), { recursive: true });
    await train({ steps: 10, resume: true });
    const files = await eventFiles();
    expect(files).to.have.length(3);
    const { losses } = await expected();
    expect(losses.map(([step]) => step)).to.deep.equal([2, 4, 6, 8, 10]);
    expect(scalarsOf(files).get('train/loss')).to.deep.equal(losses);
    expect(scalarsOf(files).get('epoch/epoch')?.at(-1)).to.deep.equal([10, 2]);
  });

  it('mark steps that were not finite, and have the norm of the gradient', async () => {
    async function* batches(): AsyncGenerator<Batch> {
      for (let i = 1; i <= 4; i += 1) {
        const { data, labels } = brightImages(8, i);
        yield {
          images: Float32Array.from(data, (x) => (i === 3 ? Number.NaN : x / 255)),
          shape: [8, 8, 8, 3],
          labels,
        };
      }
    }
    using model = tinyClassifier();
    using trainer = new Trainer(model, { device: 'reference', batchSize: 8, logEvery: 1, clipNorm: 1 });
    await trainer.fit({ [Symbol.asyncIterator]: batches }, { out: run, epochs: 1 });
    expect((await lines()).map(({ loss }) => loss === null)).to.deep.equal([
      false,
      false,
      true,
      false,
      false,
    ]);
    const scalars = scalarsOf(await eventFiles());
    expect(scalars.get('train/loss')?.map(([, loss]) => Number.isNaN(loss))).to.deep.equal([
      ...[false, false, true, false],
    ]);
    expect(scalars.get('train/gradient_norm')).to.have.length(4);
    expect(scalars.get('train/skipped_steps')).to.deep.equal([
      [3, 1],
      [4, 1],
    ]);
    expect(await readLiveStatus(run)).to.include({ state: 'finished', step: 4, skippedSteps: 1 });
  });

  it('are none where a finished run is resumed to where it ended', async () => {
    await train({ steps: 2 });
    await train({ steps: 2, resume: true });
    expect(await eventFiles()).to.have.length(1);
  });

  it('do not end a training where they cannot be written, and say so once', async () => {
    const notices: string[] = [];
    const log = new EventLog(
      join(run, 'missing'),
      async () => undefined,
      (error) => notices.push(String(error)),
    );
    for (let step = 1; step <= 3; step += 1) log.write(step, [{ tag: 'a', scalar: step }]);
    await log.close();
    log.write(4, [{ tag: 'a', scalar: 4 }]);
    await log.close();
    expect(notices).to.have.length(1);
    expect(notices[0]).to.include('ENOENT');
  });

  it("are what TensorBoard's own reader sees", async function () {
    await train({ steps: 4, checkpointEvery: 4 });
    await train({ steps: 10, resume: true });
    const output = join(run, 'read.json');
    runPeer(this, 'tensorboard_read.py', run, '--output', output);
    const read = JSON.parse(await readFile(output, 'utf8')) as {
      scalars: Record<string, [number, number][]>;
      texts: Record<string, string[]>;
    };
    expect(read.scalars).to.deep.equal(Object.fromEntries(scalarsOf(await eventFiles())));
    expect(read.texts.config?.[0]).to.include('| batchSize | 8 |');
  });
});
