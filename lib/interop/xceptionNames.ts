// Xception's layers with weights: our names and shapes beside those of Keras Applications. One table for the
// reader and the writer of Keras files; knows neither files nor devices.

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
  /** False for the four shortcuts: Keras names them by a counter of the process (`conv2d_7`). */
  readonly named: boolean;
  readonly kerasClass: KerasClass;
  /** In the order of Keras' own list of the layer's weights. */
  readonly weights: readonly LayerWeight[];
}

function convolution(
  name: string,
  inputs: number,
  outputs: number,
  kernel: number,
  named = true,
): LayerEntry {
  const weight: LayerWeight = {
    name: `${name}.weight`,
    shape: [outputs, kernel, kernel, inputs],
    kerasName: 'kernel',
    kerasShape: [kernel, kernel, inputs, outputs],
    transposed: true,
  };
  return { name, named, kerasClass: 'conv2d', weights: [weight] };
}

function separable(name: string, inputs: number, outputs: number): LayerEntry {
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
  return { name, named: true, kerasClass: 'separable_conv2d', weights: [depthwise, pointwise] };
}

function normalization(name: string, channels: number, named = true): LayerEntry {
  const vector = (ours: string, keras: string): LayerWeight => ({
    name: `${name}.${ours}`,
    shape: [channels],
    kerasName: keras,
    kerasShape: [channels],
    transposed: false,
  });
  const weights = [
    vector('gamma', 'gamma'),
    vector('beta', 'beta'),
    vector('running_mean', 'moving_mean'),
    vector('running_var', 'moving_variance'),
  ];
  return { name, named, kerasClass: 'batch_normalization', weights };
}

function dense(name: string, inputs: number, outputs: number): LayerEntry {
  const weight: LayerWeight = {
    name: `${name}.weight`,
    shape: [outputs, inputs],
    kerasName: 'kernel',
    kerasShape: [inputs, outputs],
    transposed: true,
  };
  const bias: LayerWeight = {
    name: `${name}.bias`,
    shape: [outputs],
    kerasName: 'bias',
    kerasShape: [outputs],
    transposed: false,
  };
  return { name, named: true, kerasClass: 'dense', weights: [weight, bias] };
}

const separableWithNorm = (name: string, inputs: number, outputs: number): LayerEntry[] => [
  separable(name, inputs, outputs),
  normalization(`${name}_bn`, outputs),
];

/** A block that halves the size: two separable convolutions beside a strided 1x1 shortcut. */
const downsampling = (block: number, inputs: number, middle: number, outputs: number): LayerEntry[] => [
  ...separableWithNorm(`block${block}_sepconv1`, inputs, middle),
  ...separableWithNorm(`block${block}_sepconv2`, middle, outputs),
  convolution(`block${block}_shortcut`, inputs, outputs, 1, false),
  normalization(`block${block}_shortcut_bn`, outputs, false),
];

const middleBlock = (block: number): LayerEntry[] =>
  [1, 2, 3].flatMap((i) => separableWithNorm(`block${block}_sepconv${i}`, 728, 728));

/** Features before the classifier. */
export const xceptionFeatures = 2048;
export const classifierName = 'predictions';

/**
 * The layers of Xception (Chollet 2017, figure 5) that have weights, in the order of Keras' `model.layers`,
 * by which Keras counts the layers of each class in `.weights.h5`. Without `classes` there is no classifier.
 */
export function xceptionLayers(classes: number | undefined): readonly LayerEntry[] {
  return [
    convolution('block1_conv1', 3, 32, 3),
    normalization('block1_conv1_bn', 32),
    convolution('block1_conv2', 32, 64, 3),
    normalization('block1_conv2_bn', 64),
    ...downsampling(2, 64, 128, 128),
    ...downsampling(3, 128, 256, 256),
    ...downsampling(4, 256, 728, 728),
    ...[5, 6, 7, 8, 9, 10, 11, 12].flatMap(middleBlock),
    ...downsampling(13, 728, 728, 1024),
    ...separableWithNorm('block14_sepconv1', 1024, 1536),
    ...separableWithNorm('block14_sepconv2', 1536, xceptionFeatures),
    ...(classes === undefined ? [] : [dense(classifierName, xceptionFeatures, classes)]),
  ];
}

/** All weights of Xception in our names and shapes, in the order of {@link xceptionLayers}. */
export const xceptionWeights = (classes: number | undefined): readonly LayerWeight[] =>
  xceptionLayers(classes).flatMap((layer) => layer.weights);
