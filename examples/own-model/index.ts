// A small network of one's own in forty lines: separable convolutions, trained on a folder of photographs, saved, and loaded.
//
//   npx tsx examples/own-model/index.ts [folder with train/ and validation/] [epochs]

import { join } from 'node:path';
import { adam, Classifier, cosineDecay, imageFolder, nn, readWeights, Trainer } from 'depthwise';

const bundled = join(import.meta.dirname, '../data');
const [folder = join(bundled, 'clothing'), epochs = '20'] = process.argv.slice(2);
const size = 64;
const data = imageFolder(join(folder, 'train'), { size, augment: 'light' });
const validation = imageFolder(join(folder, 'validation'), { size, classes: data.classes });

/** Halves the image: [n, h, w, inputs] to [n, h/2, w/2, outputs]. */
const block = (inputs: number, outputs: number) =>
  new nn.Sequential(
    ['sepconv', new nn.SeparableConv2d(inputs, outputs, { kernel: 3, padding: 'same' })],
    ['norm', new nn.BatchNorm(outputs, { momentum: 0.9 })],
    nn.relu(),
    nn.maxPool(3, 2, 'same'),
  );
const build = () =>
  new nn.Sequential(
    ['stem', new nn.Conv2d(3, 32, { kernel: 3, stride: 2, padding: 'same' })], // 32 x 32 x 32
    ['block1', block(32, 64)], // 16 x 16 x 64
    ['block2', block(64, 128)], // 8 x 8 x 128
    ['block3', block(128, 256)], // 4 x 4 x 256
    nn.globalAvgPool(),
    ['predictions', new nn.Linear(256, data.classes.length)],
  );
const labels = data.classes;
const rest = { arch: 'own', size, preprocessing: 'keras', options: {} } as const;
using model = new Classifier(build(), { classes: labels.length, labels, ...rest });

const schedule = cosineDecay({ initial: 0.003 });
using trainer = new Trainer(model, { optimizer: adam(), schedule, batchSize: 16, polyak: 0.9 });
const history = await trainer.fit(data, { validation, epochs: Number(epochs) });
for (const { epoch, train, validation: found } of history.epochs) console.log(epoch, train.loss, found?.top1);

await model.save('own-model.safetensors');
using again = new Classifier(build(), { classes: labels.length, labels, ...rest });
again.loadWeights((await readWeights('own-model.safetensors')).tensors);
console.log((await again.predict(join(bundled, 'held-out/hat.jpg'), { top: 3 }))[0]);
