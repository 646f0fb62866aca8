// The folder live/ of a run: where the training is, how it ended, and images as the network sees them.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import type { Batch } from '../../lib/data/batch.ts';
import { type LiveStatus, readLiveStatus, readSamples } from '../../lib/train/live.ts';
import type { FitOptions, TrainingData } from '../../lib/train/options.ts';
import { sampleSheet } from '../../lib/train/sampleSheet.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { brightDataset, brightImages, tinyClassifier } from './tiny.ts';

describe('the folder live/ of a run', () => {
  let run: string;

  beforeEach(async () => {
    run = await mkdtemp(join(tmpdir(), 'depthwise-live-'));
  });
  afterEach(async () => {
    await rm(run, { recursive: true, force: true });
  });

  async function train(options: FitOptions, data: TrainingData = brightDataset(40)): Promise<void> {
    using model = tinyClassifier();
    using trainer = new Trainer(model, { device: 'reference', batchSize: 8 });
    await trainer.fit(data, { out: run, ...options });
  }

  it('says where a training is, and how it ended', async () => {
    await train({ epochs: 2 });
    const status = (await readLiveStatus(run)) as LiveStatus;
    expect(status).to.include({
      ...{ state: 'finished', pid: process.pid, step: 10, totalSteps: 10, stepsPerEpoch: 5 },
      ...{ device: 'reference', secondsLeft: 0, skippedSteps: 0 },
    });
    expect(status.imagesPerSecond).to.be.greaterThan(0);
    expect(status.updated - status.started).to.be.within(0, 60_000);
    expect(status.memory.resident).to.be.greaterThan(1e6);
  });

  it('says that it was stopped', async () => {
    const stop = new AbortController();
    const error = await train({ epochs: 2, signal: stop.signal, onStep: () => stop.abort() }).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(Error);
    expect(await readLiveStatus(run)).to.include({ state: 'stopped' });
  });

  it('says that it failed, and why', async () => {
    async function* batches(): AsyncGenerator<Batch> {
      const { data, labels } = brightImages(8);
      yield { images: data, shape: [8, 8, 8, 3], labels };
      throw new Error('the disk is on fire');
    }
    const error = await train({ epochs: 2 }, { [Symbol.asyncIterator]: batches }).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(Error);
    expect(await readLiveStatus(run)).to.include({ state: 'failed', message: 'the disk is on fire' });
  });

  it('ends no training where it cannot be written, which is said once', async () => {
    await writeFile(join(run, 'live'), 'a file in its place');
    const notices: string[] = [];
    await train({ epochs: 2, onNotice: (message) => notices.push(message) });
    expect(notices).to.have.length(1);
    expect(notices[0]).to.match(/the folder live: no longer written: .*; the training goes on$/);
  });

  it('has images of a batch to the byte, with the names of their labels', async () => {
    const batches: Batch[] = [];
    await train({
      steps: 1,
      onBatch: (batch) => batches.push({ ...batch, images: batch.images.slice() }),
    });
    const [batch] = batches as [Batch];
    const sheet = await readSamples(run);
    expect(sheet).to.include({ step: 1, width: 8, height: 8 });
    const names = ['red', 'green', 'blue'];
    expect(sheet?.labels).to.deep.equal(Array.from(batch.labels, (label) => names[label]));
    const { data, info } = await sharp(Buffer.from(sheet?.png as string, 'base64'))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(info).to.include({ width: 8, height: 64, channels: 3 });
    expect(data.equals(batch.images as Uint8Array)).to.equal(true);
  });

  it('stretches float32 images from black to white, and shows twelve at most', async () => {
    const images = Float32Array.from({ length: 14 * 4 * 4 * 3 }, (_, i) => (i % 2 === 0 ? -1 : 1));
    const labels = Int32Array.from({ length: 14 }, (_, i) => i % 2);
    const sheet = await sampleSheet({ images, labels, shape: [14, 4, 4, 3] }, 7, ['no', 'yes']);
    expect(sheet.labels).to.have.length(12);
    expect(sheet.labels.slice(0, 2)).to.deep.equal(['no', 'yes']);
    const pixels = await sharp(Buffer.from(sheet.png, 'base64')).raw().toBuffer();
    expect([...pixels.subarray(0, 4)]).to.deep.equal([0, 255, 0, 255]);
  });

  it('names all of many labels', async () => {
    const labels = Uint8Array.from([1, 0, 1, 0, 0, 0]);
    const batch = { images: new Uint8Array(2 * 4 * 4 * 3), labels, shape: [2, 4, 4, 3] } as const;
    expect((await sampleSheet(batch, 1, ['sky', 'sea'])).labels).to.deep.equal(['sky, 2', 'none']);
  });
});
