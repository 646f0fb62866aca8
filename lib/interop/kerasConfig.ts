// The configuration of a Keras model, kept beside its weights in `.keras` and in whole models saved as `.h5`: what of it
// changes what the network computes.

import { isObject, maximumNesting, nestsTooDeep } from '../core/jsonText.ts';
import { shown } from '../core/printable.ts';
import type { H5Reader } from './h5File.ts';
import type { Activation } from './rules.ts';

/** What a model's configuration says beside its weights. */
export interface KerasSettings {
  /** Options of our network that make it that of the configuration, where Keras Applications' network has other values. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What its classifier makes of the logits. Undefined: nothing, or nobody says it. */
  readonly activation?: Activation;
  /** Edge of its images in pixels. Undefined: any, or nobody says it. */
  readonly size?: number;
}

/** Called with what of a configuration cannot be expressed here. */
type Fail = (message: string) => never;

/** A layer of a configuration, with its arguments. */
interface ConfigLayer {
  readonly className: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Layers of Keras Applications' networks, of their heads, and models within models. */
const known: readonly string[] = [
  ...['Functional', 'Sequential', 'Model', 'InputLayer', 'Conv2D', 'SeparableConv2D', 'BatchNormalization'],
  ...['Activation', 'ReLU', 'MaxPooling2D', 'AveragePooling2D', 'Add', 'Concatenate'],
  ...['GlobalAveragePooling2D', 'Dropout', 'Dense', 'Softmax'],
];

/** Keras' layers that change images at random, in training alone: `RandomFlip` and its like. */
const isAugmentation = (className: string): boolean => className.startsWith('Random');

/** The configuration in a whole model saved as `.h5`; undefined where the file has weights only. */
export const modelConfig = (h5: H5Reader): string | undefined => h5.strings('/', 'model_config')?.[0];

/** All layers in the `layers` of a model and of the models among them. */
function layersIn(value: unknown): ConfigLayer[] {
  if (Array.isArray(value)) return value.flatMap((item) => layersIn(item));
  if (!isObject(value)) return [];
  const listed = (Array.isArray(value.layers) ? value.layers : []).flatMap((layer: unknown) =>
    isObject(layer) && typeof layer.class_name === 'string' && isObject(layer.config)
      ? [{ className: layer.class_name, settings: layer.config }]
      : [],
  );
  return [...listed, ...Object.values(value).flatMap((item) => layersIn(item))];
}

/** The arguments of all layers of a class. */
const settingsOf = (layers: readonly ConfigLayer[], className: string) =>
  layers.filter((layer) => layer.className === className).map(({ settings }) => settings);

/** The one number that all normalizations have there; undefined where none says it. */
function common(layers: readonly ConfigLayer[], key: string, fail: Fail): number | undefined {
  const values = new Set(
    settingsOf(layers, 'BatchNormalization')
      .map((settings) => settings[key])
      .filter((value) => value !== undefined),
  );
  const [first] = values;
  if (values.size > 1) {
    const some = [...values].slice(0, 3).map(shown);
    fail(`its normalizations have ${key} ${some.join(' and ')}, expected one value`);
  }
  if (first !== undefined && (typeof first !== 'number' || !(first > 0))) {
    fail(`its normalizations have ${key} ${shown(first)}, expected a number above 0`);
  }
  return first as number | undefined;
}

/** Options that differ from those of Keras Applications' network. */
function optionsIn(arch: string, layers: readonly ConfigLayer[], fail: Fail): KerasSettings['options'] {
  const epsilon = common(layers, 'epsilon', fail) ?? 1e-3;
  const momentum = common(layers, 'momentum', fail) ?? 0.99;
  if (epsilon !== 1e-3 && arch !== 'xception') fail(`${arch} with epsilon ${epsilon}, expected 0.001`);
  return {
    ...(epsilon === 1e-3 ? {} : { epsilon }),
    ...(momentum === 0.99 ? {} : { batchNormMomentum: momentum }),
  };
}

/**
 * What makes probabilities of the logits: the activation of the classifier (`classifier_activation` of Keras Applications),
 * or of a layer behind it.
 */
function activationIn(layers: readonly ConfigLayer[], fail: Fail): Activation | undefined {
  const found: Activation[] = settingsOf(layers, 'Softmax').map(() => 'softmax');
  for (const className of ['Dense', 'Activation']) {
    for (const { activation } of settingsOf(layers, className)) {
      if (activation === 'softmax' || activation === 'sigmoid') found.push(activation);
      else if (activation === undefined || activation === null || activation === 'linear') continue;
      else if (className === 'Dense') {
        fail(`its classifier has activation ${shown(activation)}, expected softmax, sigmoid or linear`);
      } else if (activation !== 'relu') {
        fail(`it has an Activation ${shown(activation)}, expected relu, and softmax or sigmoid at the end`);
      }
    }
  }
  if (found.length > 1) fail(`it has ${found.join(' and ')} behind one another, expected one of them`);
  return found[0];
}

/** Refuses arguments of layers that change what a network computes, and that ours do not have. */
function checkLayers(arch: string, layers: readonly ConfigLayer[], fail: Fail): void {
  const refuse = (className: string, key: string, value: unknown, expected: string) =>
    fail(
      `its model has a ${className} with ${key} ${shown(value)}, which ${arch} has not: expected ${expected}`,
    );
  for (const className of ['Conv2D', 'SeparableConv2D']) {
    for (const { activation } of settingsOf(layers, className)) {
      if (activation === undefined || activation === null || activation === 'linear') continue;
      refuse(className, 'activation', activation, 'linear');
    }
  }
  for (const settings of settingsOf(layers, 'ReLU')) {
    for (const key of ['max_value', 'negative_slope', 'threshold'] as const) {
      const value = settings[key];
      if (value !== undefined && value !== null && value !== 0) refuse('ReLU', key, value, 'none');
    }
    if (settings.max_value === 0) refuse('ReLU', 'max_value', 0, 'none');
  }
  const padding = arch === 'xception' ? 'same' : 'valid';
  for (const settings of settingsOf(layers, 'MaxPooling2D')) {
    if (settings.padding !== undefined && settings.padding !== padding) {
      refuse('MaxPooling2D', 'padding', settings.padding, `"${padding}"`);
    }
  }
}

/** Edge of the images, where the input layer fixes it (`input_shape` of Keras Applications). */
function sizeIn(layers: readonly ConfigLayer[], fail: Fail): number | undefined {
  const sizes = new Set<number>();
  for (const settings of settingsOf(layers, 'InputLayer')) {
    // The second name is that of Keras 2.
    const shape: unknown = settings.batch_shape ?? settings.batch_input_shape;
    if (shape === undefined) continue;
    const [, height, width, channels]: unknown[] = Array.isArray(shape) ? shape : [];
    const free = height === null && width === null;
    if (channels !== 3 || !(free || (Number.isSafeInteger(height) && height === width))) {
      const alone = 'the file of save_weights has the weights without it';
      fail(`its input is ${shown(shape)}, expected [batch, size, size, 3]; ${alone}`);
    }
    // One that leaves it open, as a model within a model does, says nothing against one that fixes it.
    if (!free) sizes.add(height as number);
  }
  if (sizes.size > 1) fail(`its inputs have edges of ${[...sizes].map(shown).join(' and ')}, expected one`);
  return [...sizes][0];
}

/**
 * What a model's configuration asks for beside Keras Applications' network.
 * @param config JSON; undefined: the network is that of Keras Applications
 * @param hasClassifier whether the weights have one; without it only the options are looked at, since what stands behind
 *   the features is not taken over
 * @param fail called with what cannot be expressed here
 */
export function settingsIn(
  arch: string,
  config: string | undefined,
  hasClassifier: boolean,
  fail: Fail,
): KerasSettings {
  if (config === undefined) return { options: {} };
  let model: unknown;
  try {
    model = JSON.parse(config);
  } catch {
    return fail('the configuration of its model is not JSON');
  }
  if (nestsTooDeep(config)) {
    return fail(`the configuration of its model is nested deeper than ${maximumNesting} levels`);
  }
  const layers = layersIn(model);
  const options = optionsIn(arch, layers, fail);
  if (!hasClassifier) return { options };
  const other = layers.find(({ className }) => !known.includes(className) && !isAugmentation(className));
  if (other !== undefined) fail(`its model has a layer ${shown(other.className)}, which ${arch} has not`);
  checkLayers(arch, layers, fail);
  const activation = activationIn(layers, fail);
  const size = sizeIn(layers, fail);
  return {
    options,
    ...(activation === undefined ? {} : { activation }),
    ...(size === undefined ? {} : { size }),
  };
}
