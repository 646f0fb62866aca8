// The configuration of a Keras model, kept beside its weights in `.keras` and in whole models saved as `.h5`: what of it
// changes what the network computes.

import type { H5Reader } from './h5File.ts';

/** The configuration in a whole model saved as `.h5`; undefined where the file has weights only. */
export const modelConfig = (h5: H5Reader): string | undefined => h5.strings('/', 'model_config')?.[0];

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The settings of every layer of a class, wherever in the configuration. */
function layersOf(value: unknown, className: string): Readonly<Record<string, unknown>>[] {
  if (Array.isArray(value)) return value.flatMap((item) => layersOf(item, className));
  if (!isObject(value)) return [];
  const own = value.class_name === className && isObject(value.config) ? [value.config] : [];
  return [...own, ...Object.values(value).flatMap((item) => layersOf(item, className))];
}

/** The one number that all layers have there; undefined where none says it. */
function common(
  layers: readonly Readonly<Record<string, unknown>>[],
  key: string,
  fail: (message: string) => never,
): number | undefined {
  const values = new Set(layers.map((layer) => layer[key]).filter((value) => value !== undefined));
  const [first] = values;
  if (values.size > 1)
    fail(`its normalizations have ${key} ${[...values].slice(0, 3).join(' and ')}, expected one value`);
  if (first !== undefined && (typeof first !== 'number' || !(first > 0))) {
    fail(`its normalizations have ${key} ${JSON.stringify(first)}, expected a number above 0`);
  }
  return first as number | undefined;
}

/**
 * Options of our network that a model's configuration asks for, beside those of Keras Applications' network.
 * @param config JSON; undefined: the network is that of Keras Applications
 * @param fail called with what cannot be expressed here
 */
export function configOptions(
  arch: string,
  config: string | undefined,
  fail: (message: string) => never,
): Readonly<Record<string, unknown>> {
  if (config === undefined) return {};
  let model: unknown;
  try {
    model = JSON.parse(config);
  } catch {
    return fail('the configuration of its model is not JSON');
  }
  const layers = layersOf(model, 'BatchNormalization');
  const epsilon = common(layers, 'epsilon', fail) ?? 1e-3;
  const momentum = common(layers, 'momentum', fail) ?? 0.99;
  if (epsilon !== 1e-3 && arch !== 'xception') fail(`${arch} with epsilon ${epsilon}, expected 0.001`);
  return {
    ...(epsilon === 1e-3 ? {} : { epsilon }),
    ...(momentum === 0.99 ? {} : { batchNormMomentum: momentum }),
  };
}
