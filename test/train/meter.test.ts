// The times of a training, by a clock that the test turns.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { Dataset } from '../../lib/data/batch.ts';
import { Meter } from '../../lib/train/meter.ts';
import { isEpochRecord, type MetricsLine, type StepLine } from '../../lib/train/metrics.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { brightDataset, tinyClassifier } from './tiny.ts';

describe('Meter', () => {
  it('counts images and waits in the time that it runs', () => {
    let now = 0;
    const meter = new Meter(() => now);
    meter.start();
    now = 1000;
    meter.stepped(8);
    meter.stop();
    now = 5000; // an evaluation
    meter.start();
    now = 6000;
    meter.stepped(8);
    expect(meter.pace).to.deep.equal({ imagesPerSecond: 8, dataWait: 0, batchSeconds: 1 });
  });

  it('counts a wait only from when the device had nothing to do', () => {
    let now = 0;
    const meter = new Meter(() => now);
    meter.start();
    now = 1000;
    meter.waited(0, undefined); // the device is busy still
    meter.waited(400, 100); // idle before the batch was asked for
    meter.waited(200, 800); // idle for the end of the wait only
    meter.stepped(8);
    expect(meter.pace.dataWait).to.equal(0.8);
  });

  it('tells what was since it was last asked', () => {
    let now = 0;
    const meter = new Meter(() => now);
    meter.start();
    now = 500;
    meter.stepped(10);
    expect(meter.takeRecent()).to.include({ imagesPerSecond: 20 });
    now = 1500;
    meter.stepped(10);
    expect(meter.takeRecent()).to.deep.equal({ imagesPerSecond: 10, dataWait: 0, batchSeconds: 1 });
    expect(meter.takeRecent()).to.deep.equal({ imagesPerSecond: 0, dataWait: 0, batchSeconds: Number.NaN });
    expect(meter.pace.batchSeconds).to.equal(0.75);
  });

  it('counts a step when the device had done it, and not when it is booked', () => {
    let now = 0;
    const meter = new Meter(() => now);
    meter.start();
    const paces = [1, 2, 3].map((step) => {
      now = 1000 * step - 200; // the batch comes, for which the device has waited since the step before,
      meter.waited(now - 800, now - 800);
      now += 200; // it is trained on,
      const { moment } = meter;
      now += 300; // and booked late
      meter.stepped(8, moment);
      return meter.takeRecent();
    });
    for (const pace of paces) {
      expect(pace).to.deep.equal({ imagesPerSecond: 8, dataWait: 0.8, batchSeconds: 1 });
    }
  });
});

/** A data set whose batches take `milliseconds` each. */
function slowed(data: Dataset, milliseconds: number): Dataset {
  return {
    classes: data.classes,
    size: data.size,
    length: data.length,
    skipped: data.skipped,
    async *batches(options) {
      for await (const batch of data.batches(options)) {
        await sleep(milliseconds);
        yield batch;
      }
    },
  };
}

describe('data wait', () => {
  async function waits(data: Dataset): Promise<MetricsLine[]> {
    const lines: MetricsLine[] = [];
    using model = tinyClassifier();
    using trainer = new Trainer(model, { device: 'reference', batchSize: 8, logEvery: 2 });
    await trainer.fit(data, { steps: 10, onLine: (line) => lines.push(line) });
    return lines;
  }

  it('is most of the time where batches are slow, in every line', async () => {
    const lines = await waits(slowed(brightDataset(80), 150));
    expect(lines).to.have.length(6);
    for (const line of lines.slice(1)) expect(line.data_wait).to.be.within(0.5, 1);
  });

  it('leaves no step faster than its batches came, the last of an epoch neither', async () => {
    const lines: StepLine[] = [];
    using model = tinyClassifier();
    using trainer = new Trainer(model, { device: 'reference', batchSize: 8, logEvery: 1 });
    await trainer.fit(slowed(brightDataset(32), 150), {
      epochs: 2,
      onLine: (line) => isEpochRecord(line) || lines.push(line),
    });
    expect(lines).to.have.length(8);
    // A timer may come a millisecond early.
    for (const line of lines) expect(line.images_per_second, `step ${line.step}`).to.be.below(8 / 0.148);
  });

  it('is little where batches are there', async () => {
    const last = (await waits(brightDataset(80))).at(-1);
    expect(last?.data_wait).to.be.lessThan(0.5);
    expect(last?.images_per_second).to.be.greaterThan(0);
  });
});
