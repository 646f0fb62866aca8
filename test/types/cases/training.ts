// Types of networks, data, training and evaluation. Compiled, never run: each @ts-expect-error has to be an error.

import type {
  Batch,
  Classifier,
  Dataset,
  EpochRecord,
  Evaluation,
  FitProgress,
  History,
  ImageFolder,
  OptimizerSpec,
  Prediction,
  Schedule,
  StepRecord,
  TrainerOptions,
} from 'depthwise';
import {
  adam,
  arrays,
  cosineDecay,
  createClassifier,
  evaluate,
  type exponentialDecay,
  imageFolder,
  inceptionV3,
  type loadModel,
  openDevice,
  presets,
  rmsprop,
  sgd,
  Trainer,
  trainerOptionsOf,
  withWarmup,
  xception,
} from 'depthwise';
import { expectIs, expectSame } from './same.ts';

const model = xception({ classes: ['cat', 'dog'], dropout: 0.5, residual: false });
expectSame<typeof model, Classifier>();
xception();
xception({ classes: 10, intermediateActivation: 'elu', fullyConnected: [4096, 4096], segments: 'channels' });
xception({ segments: 4, style: 'vgg', samePadding: 'symmetric' });
inceptionV3({ auxiliary: true, transformInput: true });
createClassifier('xception', { variant: { residual: false } });
expectSame<Awaited<ReturnType<typeof loadModel>>, Classifier>();
// @ts-expect-error an option of Inception V3
xception({ auxiliary: true });
// @ts-expect-error an option of Xception
inceptionV3({ residual: false });
// @ts-expect-error no such activation
xception({ intermediateActivation: 'gelu' });
// @ts-expect-error a number of classes, or their names
xception({ classes: 'ten' });
// @ts-expect-error configurations are changed by `configure`
model.config.size = 71;

// Data.
const data = imageFolder('photos/train', { size: 299, augment: 'light' });
expectSame<typeof data, ImageFolder>();
expectIs<Dataset>(data);
// @ts-expect-error a folder of images has a size
imageFolder('photos/train');
// @ts-expect-error no such changes
imageFolder('photos/train', { size: 299, augment: 'heavy' });
// @ts-expect-error arrays have labels
arrays({ data: new Uint8Array(3), shape: [1, 1, 1, 3] });

// Options of a trainer.
expectSame<ReturnType<typeof sgd>, OptimizerSpec>();
expectSame<ReturnType<typeof exponentialDecay>, Schedule>();
const options: TrainerOptions = {
  device: 'auto',
  precision: 'bf16',
  optimizer: sgd({ momentum: 0.9, nesterov: true }),
  schedule: withWarmup(100, cosineDecay({ initial: 0.045 })),
  loss: 'sigmoid',
  clipNorm: 1,
};
const trainer = new Trainer(model, options);
new Trainer(model, trainerOptionsOf(presets['xception-imagenet']));
new Trainer(model, { optimizer: rmsprop({ rho: 0.9 }), schedule: ({ epoch }) => 0.1 / (1 + epoch) });
// @ts-expect-error an optimizer, not its name
new Trainer(model, { optimizer: 'sgd' });
// @ts-expect-error no such precision
new Trainer(model, { precision: 'int8' });
// @ts-expect-error no such loss
new Trainer(model, { loss: 'hinge' });
// @ts-expect-error no such option
new Trainer(model, { learningRate: 0.1 });
// @ts-expect-error undefined is not how an option is left out (exactOptionalPropertyTypes)
new Trainer(model, { batchSize: undefined });
// @ts-expect-error no such hyper-parameter
adam({ momentum: 0.9 });
// @ts-expect-error a schedule gives a number
new Trainer(model, { schedule: () => '0.1' });
// @ts-expect-error no such preset
presets.resnet;

// A training.
async function* batches(): AsyncIterable<Batch> {
  yield { images: new Uint8Array(2 * 71 * 71 * 3), shape: [2, 71, 71, 3], labels: Int32Array.of(0, 1) };
}
const history = await trainer.fit(batches(), {
  epochs: 2,
  signal: AbortSignal.timeout(1000),
  onStep: (record, progress) => {
    expectSame<typeof record, StepRecord>();
    expectSame<typeof progress, FitProgress>();
  },
  onEpoch: (record) => expectSame<typeof record, EpochRecord>(),
});
expectSame<typeof history, History>();
expectSame<typeof history.steps, readonly StepRecord[]>();
const map = history.epochs[0]?.validation?.map;
expectSame<typeof map, number | undefined>();
// @ts-expect-error batches, asynchronously
trainer.fit([new Uint8Array(3)]);
// @ts-expect-error three channels
expectIs<Batch>({ images: new Uint8Array(1), shape: [1, 1, 1, 1], labels: Int32Array.of(0) });
// @ts-expect-error labels are integers
expectIs<Batch>({ images: new Uint8Array(3), shape: [1, 1, 1, 3], labels: [0.5] });
// @ts-expect-error validation is a data set, which can be read more than once
trainer.fit(data, { validation: batches() });

// Evaluation and prediction.
const found = await evaluate(model, data, { batchSize: 8 });
expectSame<typeof found, Evaluation>();
// @ts-expect-error where images have one label there is no mean average precision
found.map.value;
const predictions = await model.predict(['shirt.jpg', new Uint8Array(8)], { top: 5 });
expectSame<typeof predictions, Prediction[][]>();
await model.predict({ data: new Uint8Array(12), height: 2, width: 2 });
await model.predict({ data: new Float32Array(12), shape: [1, 2, 2, 3] });
// @ts-expect-error no such input
await model.predict(3);
// @ts-expect-error no such option
await model.predict('shirt.jpg', { best: 5 });

{
  using _owned = xception({ classes: 2 });
  using _trainer = new Trainer(model);
}
expectSame<ReturnType<typeof openDevice>['name'], string>();
// @ts-expect-error threads are a number
openDevice('cpu', { threads: '2' });
