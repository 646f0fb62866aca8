// Fine-tuning: a network that has learned other images, on a folder of photographs; the classifier alone first, then everything.
//
//   npx tsx examples/finetune/index.ts WEIGHTS [folder with train/ and validation/] [size] [epochs]
//
// WEIGHTS is what `depthwise convert` reads: Keras' .h5, timm's and torchvision's .safetensors, a run of yours. Where the
// published ones come from: docs/weights.md.

import { join } from 'node:path';
import {
  adam,
  constant,
  cosineDecay,
  evaluate,
  imageFolder,
  loadModel,
  resizingOf,
  Trainer,
  withWarmup,
} from 'depthwise';

const [weights, folder = join(import.meta.dirname, '../data/clothing'), edge, length = '10'] =
  process.argv.slice(2);
if (weights === undefined) throw new Error('usage: finetune WEIGHTS [FOLDER] [SIZE] [EPOCHS]');
const size = Number(edge ?? 299);
const epochs = Number(length);

const { classes } = imageFolder(join(folder, 'train'), { size });
using model = await loadModel(weights, { newClasses: classes, size });
// Images are brought to size as the weights' own were.
const resizing = resizingOf(model.config.preprocessing);
const training = imageFolder(join(folder, 'train'), { size, classes, augment: 'light', ...resizing });
const validation = imageFolder(join(folder, 'validation'), { size, classes, ...resizing });

const { network } = model;
network.trainable = false;
network.module('predictions').trainable = true;
{
  using head = new Trainer(model, { optimizer: adam(), schedule: constant(0.001), batchSize: 16, polyak: 0 });
  await head.fit(training, { epochs: Math.ceil(epochs / 5) });
}
console.log(`the classifier alone: top-1 ${(await evaluate(model, validation)).top1.toFixed(3)}`);

network.trainable = true;
using trainer = new Trainer(model, {
  optimizer: adam(),
  schedule: withWarmup(50, cosineDecay({ initial: 0.0002 })),
  batchSize: 16,
  polyak: 0.99,
  labelSmoothing: 0.1,
});
const { epochs: lines } = await trainer.fit(training, { validation, epochs, out: 'runs/finetuned' });
for (const { epoch, validation_average: found } of lines)
  console.log(`epoch ${epoch}: top-1 ${found?.top1.toFixed(3)}`);

using best = await loadModel('runs/finetuned'); // with the Polyak average
await best.save('finetuned.safetensors');
console.log('finetuned.safetensors: depthwise predict IMAGE --weights finetuned.safetensors');
