// Layers with weights, as tables: our names and shapes beside those of Keras. What the tables of the networks are made
// of; knows neither files nor devices.

/** Class of a Keras layer, as Keras spells it in the group names of `.weights.h5`. */
export type KerasClass = 'conv2d' | 'separable_conv2d' | 'batch_normalization' | 'dense';

export interface LayerWeight {
  /** Our full name, for example `block2_sepconv1.depthwise.weight`. */
  readonly name: string;
  /** Our shape. */
  readonly shape: readonly number[];
  /** Name within the Keras layer, for example `depthwise_kernel`. */
  readonly kerasName: string;
  /** Shape in Keras. */
  readonly kerasShape: readonly number[];
  /**
   * Whether ours is the transpose of Keras' as a matrix whose columns are the outputs. It is so for every
   * kernel: [height, width, in, out] and ours [out, height, width, in]; depthwise [height, width, channels,
   * 1] and ours [channels, height, width, 1]; dense [in, out] and ours [out, in]. Vectors are the same in
   * both.
   */
  readonly transposed: boolean;
}

export interface LayerEntry {
  /** Our module path; for layers that Keras names, also Keras' name. */
  readonly name: string;
  /**
   * For layers that Keras names by a counter of the process (`conv2d_7`): how many of its class the network creates
   * before it. Undefined for those that have names of their own.
   */
  readonly created: number | undefined;
  readonly kerasClass: KerasClass;
  /** In the order of Keras' own list of the layer's weights. */
  readonly weights: readonly LayerWeight[];
}

/** A tensor with the same elements in the same order in Keras. */
const same = (name: string, kerasName: string, size: number): LayerWeight => ({
  name,
  shape: [size],
  kerasName,
  kerasShape: [size],
  transposed: false,
});

/** A convolution without bias; `kernel` is [height, width]. */
export function convolution(
  name: string,
  inputs: number,
  outputs: number,
  [height, width]: readonly [number, number],
  created?: number,
): LayerEntry {
  const weight: LayerWeight = {
    name: `${name}.weight`,
    shape: [outputs, height, width, inputs],
    kerasName: 'kernel',
    kerasShape: [height, width, inputs, outputs],
    transposed: true,
  };
  return { name, created, kerasClass: 'conv2d', weights: [weight] };
}

/** A depthwise 3 x 3 and a pointwise convolution. */
export function separable(name: string, inputs: number, outputs: number): LayerEntry {
  const depthwise: LayerWeight = {
    name: `${name}.depthwise.weight`,
    shape: [inputs, 3, 3, 1],
    kerasName: 'depthwise_kernel',
    kerasShape: [3, 3, inputs, 1],
    transposed: true,
  };
  const pointwise: LayerWeight = {
    name: `${name}.pointwise.weight`,
    shape: [outputs, 1, 1, inputs],
    kerasName: 'pointwise_kernel',
    kerasShape: [1, 1, inputs, outputs],
    transposed: true,
  };
  return { name, created: undefined, kerasClass: 'separable_conv2d', weights: [depthwise, pointwise] };
}

/** Batch normalization; without `scale` there is no gamma. */
export function normalization(
  name: string,
  channels: number,
  { scale = true, created }: { readonly scale?: boolean; readonly created?: number | undefined } = {},
): LayerEntry {
  const weights = [
    ...(scale ? [same(`${name}.gamma`, 'gamma', channels)] : []),
    same(`${name}.beta`, 'beta', channels),
    same(`${name}.running_mean`, 'moving_mean', channels),
    same(`${name}.running_var`, 'moving_variance', channels),
  ];
  return { name, created, kerasClass: 'batch_normalization', weights };
}

/** A fully connected layer with bias. */
export function dense(name: string, inputs: number, outputs: number): LayerEntry {
  const weight: LayerWeight = {
    name: `${name}.weight`,
    shape: [outputs, inputs],
    kerasName: 'kernel',
    kerasShape: [inputs, outputs],
    transposed: true,
  };
  return {
    name,
    created: undefined,
    kerasClass: 'dense',
    weights: [weight, same(`${name}.bias`, 'bias', outputs)],
  };
}

/** Features before the classifier, of both networks. */
export const features = 2048;
export const classifierName = 'predictions';

/** More than any data set has: beyond this a file's claim is taken for damage, before memory is taken for it. */
const maximumClasses = 100_000;

/** What is wrong with the number of classes that a file of another program has; undefined: nothing. */
export const classesProblem = (classes: number | undefined): string | undefined =>
  classes === undefined || (classes >= 1 && classes <= maximumClasses)
    ? undefined
    : `its classifier has ${classes} classes, expected 1 to ${maximumClasses}`;

/** The classifier, if there is one. */
export const classifier = (classes: number | undefined): LayerEntry[] =>
  classes === undefined ? [] : [dense(classifierName, features, classes)];
