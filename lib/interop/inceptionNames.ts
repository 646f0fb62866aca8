// Inception V3's layers with weights. One table for everything that reads and writes files of other programs.

import { classifier, convolution, dense, type LayerEntry, normalization } from './layerTable.ts';

type Convolution = readonly [
  name: string,
  inputs: number,
  outputs: number,
  kernel: readonly [height: number, width: number],
];

/** A module: its convolutions in the order of their creation in Keras, and the order in which `model.layers` has them. */
interface Block {
  readonly convolutions: readonly Convolution[];
  /**
   * Keras lists layers by their distance from the output, and those of one distance by creation: `c3` is convolution 3,
   * `b3` its normalization.
   */
  readonly listed: string;
}

const one = [1, 1] as const;
const three = [3, 3] as const;

const stem: Block = {
  convolutions: [
    ['conv1', 3, 32, three],
    ['conv2', 32, 32, three],
    ['conv3', 32, 64, three],
    ['conv4', 64, 80, one],
    ['conv5', 80, 192, three],
  ],
  listed: 'c0 b0 c1 b1 c2 b2 c3 b3 c4 b4',
};

const a = (name: string, inputs: number, pool: number): Block => ({
  convolutions: [
    [`${name}_1x1`, inputs, 64, one],
    [`${name}_5x5_1`, inputs, 48, one],
    [`${name}_5x5_2`, 48, 64, [5, 5]],
    [`${name}_3x3dbl_1`, inputs, 64, one],
    [`${name}_3x3dbl_2`, 64, 96, three],
    [`${name}_3x3dbl_3`, 96, 96, three],
    [`${name}_pool`, inputs, pool, one],
  ],
  listed: 'c3 b3 c1 c4 b1 b4 c0 c2 c5 c6 b0 b2 b5 b6',
});

const b = (name: string): Block => ({
  convolutions: [
    [`${name}_3x3`, 288, 384, three],
    [`${name}_3x3dbl_1`, 288, 64, one],
    [`${name}_3x3dbl_2`, 64, 96, three],
    [`${name}_3x3dbl_3`, 96, 96, three],
  ],
  listed: 'c1 b1 c2 b2 c0 c3 b0 b3',
});

const c = (name: string, inner: number): Block => ({
  convolutions: [
    [`${name}_1x1`, 768, 192, one],
    [`${name}_7x7_1`, 768, inner, one],
    [`${name}_7x7_2`, inner, inner, [1, 7]],
    [`${name}_7x7_3`, inner, 192, [7, 1]],
    [`${name}_7x7dbl_1`, 768, inner, one],
    [`${name}_7x7dbl_2`, inner, inner, [7, 1]],
    [`${name}_7x7dbl_3`, inner, inner, [1, 7]],
    [`${name}_7x7dbl_4`, inner, inner, [7, 1]],
    [`${name}_7x7dbl_5`, inner, 192, [1, 7]],
    [`${name}_pool`, 768, 192, one],
  ],
  listed: 'c4 b4 c5 b5 c1 c6 b1 b6 c2 c7 b2 b7 c0 c3 c8 c9 b0 b3 b8 b9',
});

const d = (name: string): Block => ({
  convolutions: [
    [`${name}_3x3_1`, 768, 192, one],
    [`${name}_3x3_2`, 192, 320, three],
    [`${name}_7x7x3_1`, 768, 192, one],
    [`${name}_7x7x3_2`, 192, 192, [1, 7]],
    [`${name}_7x7x3_3`, 192, 192, [7, 1]],
    [`${name}_7x7x3_4`, 192, 192, three],
  ],
  listed: 'c2 b2 c3 b3 c0 c4 b0 b4 c1 c5 b1 b5',
});

const e = (name: string, inputs: number): Block => ({
  convolutions: [
    [`${name}_1x1`, inputs, 320, one],
    [`${name}_3x3_1`, inputs, 384, one],
    [`${name}_3x3_2_1x3`, 384, 384, [1, 3]],
    [`${name}_3x3_2_3x1`, 384, 384, [3, 1]],
    [`${name}_3x3dbl_1`, inputs, 448, one],
    [`${name}_3x3dbl_2`, 448, 384, three],
    [`${name}_3x3dbl_3_1x3`, 384, 384, [1, 3]],
    [`${name}_3x3dbl_3_3x1`, 384, 384, [3, 1]],
    [`${name}_pool`, inputs, 192, one],
  ],
  listed: 'c4 b4 c1 c5 b1 b5 c2 c3 c6 c7 c0 b2 b3 b6 b7 c8 b0 b8',
});

const before: readonly Block[] = [
  stem,
  a('mixed0', 192, 32),
  a('mixed1', 256, 64),
  a('mixed2', 288, 64),
  b('mixed3'),
  c('mixed4', 128),
  c('mixed5', 160),
  c('mixed6', 160),
  c('mixed7', 192),
];
const after: readonly Block[] = [d('mixed8'), e('mixed9', 1280), e('mixed10', 2048)];

/** The classifier at the side, which Keras has not. */
const auxiliary: Block = {
  convolutions: [
    ['aux_conv1', 768, 128, one],
    ['aux_conv2', 128, 768, [5, 5]],
  ],
  listed: 'c0 b0 c1 b1',
};

/** What differs between the sources of this network. */
export interface InceptionParts {
  /** Without it there is no classifier. */
  readonly classes: number | undefined;
  /** Normalization with a trainable scale. Default false. */
  readonly scale?: boolean;
  /** The classifier at the side, of as many classes. Default undefined: none. */
  readonly auxiliary?: number | undefined;
}

/**
 * The layers of Inception V3 (Szegedy et al. 2015) that have weights, in the order of Keras' `model.layers`. Keras gives
 * none but the classifier a name.
 */
export function inceptionLayers({
  classes,
  scale = false,
  auxiliary: side,
}: InceptionParts): readonly LayerEntry[] {
  const layers: LayerEntry[] = [];
  let created = 0;
  const add = ({ convolutions, listed }: Block) => {
    for (const token of listed.split(' ')) {
      const at = Number(token.slice(1));
      const [name, inputs, outputs, kernel] = convolutions[at] as Convolution;
      const number = created + at;
      layers.push(
        token.startsWith('c')
          ? convolution(name, inputs, outputs, kernel, number)
          : normalization(`${name}_bn`, outputs, { scale, created: number }),
      );
    }
    created += convolutions.length;
  };
  before.forEach(add);
  if (side !== undefined) {
    add(auxiliary);
    layers.push(dense('aux_predictions', 768, side));
  }
  after.forEach(add);
  layers.push(...classifier(classes));
  return layers;
}
