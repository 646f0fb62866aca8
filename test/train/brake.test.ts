// Which of the two is the brake of a training, its data or its device, and the sentence that says so.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { Batch } from '../../lib/data/batch.ts';
import { brakeOf, brakeSentence } from '../../lib/train/brake.ts';
import { Trainer } from '../../lib/train/trainer.ts';
import { brightImages, tinyClassifier } from './tiny.ts';

const milliseconds = 120;

/** The sentence about an epoch whose batches take so long to come. The batches themselves cost nothing. */
async function sentenceOf(slow: boolean): Promise<string> {
  const { data, labels } = brightImages(256);
  const batch: Batch = { images: data, shape: [256, 8, 8, 3], labels };
  async function* batches(): AsyncGenerator<Batch> {
    for (let i = 0; i < 6; i += 1) {
      if (slow) await sleep(milliseconds);
      yield batch;
    }
  }
  using model = tinyClassifier();
  using trainer = new Trainer(model, { device: 'reference', batchSize: 256, polyak: 0 });
  const { epochs } = await trainer.fit({ [Symbol.asyncIterator]: batches }, { epochs: 1 });
  const { data_wait: dataWait, images_per_second: imagesPerSecond } = epochs[0] as (typeof epochs)[0];
  return brakeSentence({ dataWait, imagesPerSecond, device: 'reference' });
}

describe('the brake of a training', () => {
  it('is the data where they come slowly', async () => {
    const said = await sentenceOf(true);
    const figures =
      /^The data are the brake: reference waited for data ([\d.]+) % of the training time; without that it would train up to ([\d.]+) images\/s in place of ([\d.]+)\. What helps: /;
    expect(said).to.match(figures);
    const [, waited, without, now] = (figures.exec(said) as RegExpExecArray).map(Number);
    expect(waited).to.be.greaterThan(20);
    expect(without).to.be.closeTo((now as number) / (1 - (waited as number) / 100), (without as number) / 20);
    expect(now).to.be.below((256 * 1000) / milliseconds);
    expect(said).to.include('--workers').and.include('depthwise pack');
  });

  it('is the device where they are there before it needs them', async () => {
    expect(await sentenceOf(false)).to.match(
      /^The device is the brake: reference waited for data [0-4]\.\d % of the training time\. What helps is less work for it: /,
    );
  });

  it('is the data from a twentieth of the time on', () => {
    const figures = { imagesPerSecond: 100, device: 'cuda:0' };
    expect(brakeOf({ ...figures, dataWait: 0.049 })).to.equal('device');
    expect(brakeOf({ ...figures, dataWait: 0.05 })).to.equal('data');
  });

  it('is said with what a device of its kind can do', () => {
    const figures = { dataWait: 0.004, imagesPerSecond: 36.2 };
    expect(brakeSentence({ ...figures, device: 'cpu' })).to.equal(
      'The device is the brake: cpu waited for data 0.4 % of the training time (decoding takes its share of the same cores). ' +
        'What helps is less work for it: more cores, a smaller --size.',
    );
    expect(brakeSentence({ ...figures, device: 'cuda:0' })).to.include('a larger --batch, bf16');
    expect(brakeSentence({ dataWait: 0.62, imagesPerSecond: 412, device: 'cuda:0' })).to.equal(
      'The data are the brake: cuda:0 waited for data 62 % of the training time; without that it would train up to 1084 images/s ' +
        'in place of 412. What helps: more --workers, images packed at about the size of training (depthwise pack), a faster disk.',
    );
  });
});
