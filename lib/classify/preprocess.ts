// Preprocessing rules: how pixels become a network's input. A model carries the rule of the weights it was given.

import type { Interpolation, ResizeRule } from '../data/decode.ts';

/** How 8-bit pixels become input: pixel · scale + shift per channel (red, green, blue), after resizing. */
export interface Preprocessing {
  /** Factors of red, green and blue. */
  readonly scale: readonly [number, number, number];
  /** What is added to red, green and blue. */
  readonly shift: readonly [number, number, number];
  /** What becomes of a whole image of another size. */
  readonly resize: ResizeRule;
  /** What stands between pixels when an image is resized. */
  readonly interpolation: Interpolation;
}

const same = (value: number) => [value, value, value] as const;

/** The shorter edge becomes 342 pixels, of which the middle 299 are taken. */
const torchvisionCrop = { crop: 299 / 342 };

/** The rules by name; the name is kept in files of weights. */
export const preprocessings = {
  /** To [-1, 1], as `keras.applications.xception.preprocess_input`, and that of Inception V3. */
  keras: { scale: same(1 / 127.5), shift: same(-1), resize: 'stretch', interpolation: 'bilinear' },
  /** timm's configuration of `legacy_xception.tf_in1k`: mean and deviation 0.5. */
  timm: {
    scale: same(1 / 127.5),
    shift: same(-1),
    resize: { crop: 0.8975 },
    interpolation: 'bicubic',
  },
  /**
   * torchvision's transforms of `Inception_V3_Weights.IMAGENET1K_V1`, and then what `transform_input` does in the network,
   * which is on with these weights: together to [-1, 1].
   */
  torchvision: {
    scale: same(1 / 127.5),
    shift: same(-1),
    resize: torchvisionCrop,
    interpolation: 'bilinear',
  },
  /** torchvision's transforms alone: ImageNet's mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225). */
  imagenet: {
    scale: [1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)],
    shift: [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
    resize: torchvisionCrop,
    interpolation: 'bilinear',
  },
} as const satisfies Record<string, Preprocessing>;

/** Name of a rule in {@link preprocessings}. */
export type PreprocessingName = keyof typeof preprocessings;

/** How images are brought to a size by a rule, for decodeImage, resizePixels and imageFolder. */
export function resizingOf(name: PreprocessingName): Pick<Preprocessing, 'resize' | 'interpolation'> {
  const { resize, interpolation } = preprocessings[name];
  return { resize, interpolation };
}

/** Whether a name is one of {@link preprocessings}. */
export const isPreprocessingName = (name: string): name is PreprocessingName =>
  Object.hasOwn(preprocessings, name);
