// Windows of convolution and pooling: from what a user writes to explicit numbers.

import { ArgumentError } from '../core/errors.ts';
import { type Errors, expectWhole } from './shapeRule.ts';

/** Rows and columns, in this order. */
export type Pair = readonly [height: number, width: number];

/** How a user writes rows and columns: one number for both, or `[height, width]`. */
export type PairOption = number | Pair;

/** Rows above and below, columns to the left and right. */
export type Margins = readonly [top: number, bottom: number, left: number, right: number];

/**
 * How a user writes padding. `'same'` is TensorFlow's rule: ceil(extent / stride) outputs, an odd row or
 * column of padding at the bottom or right. `'valid'` is none. A number or `[height, width]` is the same on
 * opposite sides.
 */
export type PaddingOption =
  | 'same'
  | 'valid'
  | number
  | Pair
  | { readonly top: number; readonly bottom: number; readonly left: number; readonly right: number };

/** Attributes of every op with a window, all explicit. */
export type Window = {
  readonly stride: Pair;
  readonly padding: Margins;
};

export const pair = (option: PairOption): Pair => (typeof option === 'number' ? [option, option] : option);

export const encodeWindow = ({ stride, padding }: Window): number[] => [...stride, ...padding];

/** Extent of a window whose taps are `dilation` apart. */
export const dilated = (kernel: number, dilation: number): number => (kernel - 1) * dilation + 1;

/**
 * Explicit padding for an image of `size`. Rule of `'same'`:
 * https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
 */
export function resolvePadding(
  op: string,
  option: PaddingOption,
  size: Pair,
  span: Pair,
  stride: Pair,
): Margins {
  if (option === 'valid') return [0, 0, 0, 0];
  if (option === 'same') {
    const [[top, bottom], [left, right]] = [
      same(size[0], span[0], stride[0]),
      same(size[1], span[1], stride[1]),
    ];
    return [top, bottom, left, right];
  }
  if (typeof option === 'number') return [option, option, option, option];
  if (Array.isArray(option)) return [option[0], option[0], option[1], option[1]];
  if (typeof option === 'object' && 'top' in option) {
    return [option.top, option.bottom, option.left, option.right];
  }
  const expected = 'same, valid, a number, [height, width] or { top, bottom, left, right }';
  throw new ArgumentError(`${op}: padding expects ${expected}, got ${JSON.stringify(option)}`);
}

function same(extent: number, span: number, stride: number): readonly [before: number, after: number] {
  const total = Math.max((Math.ceil(extent / stride) - 1) * stride + span - extent, 0);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}

/**
 * Rows and columns of the output: floor((extent + padding - span) / stride) + 1.
 * `operand` names the one that has `size`, for errors.
 */
export function windowOutput(errors: Errors, operand: string, size: Pair, span: Pair, window: Window): Pair {
  expectWhole(errors, 'stride', window.stride, 1);
  expectWhole(errors, 'padding', window.padding, 0);
  const [top, bottom, left, right] = window.padding;
  const padded: Pair = [size[0] + top + bottom, size[1] + left + right];
  if (padded[0] < span[0] || padded[1] < span[1]) {
    throw errors.shapeError(
      `${operand} expects at least ${span.join('x')} rows and columns for its window, ` +
        `has ${padded.join('x')} with padding`,
    );
  }
  return [0, 1].map((i) => Math.floor((padded[i]! - span[i]!) / window.stride[i]!) + 1) as [number, number];
}

/** For gradients: throws unless `g` has the rows and columns that the forward op gives for `size`. */
export function expectOutput(errors: Errors, got: Pair, size: Pair, span: Pair, window: Window): void {
  const expected = windowOutput(errors, 'the image', size, span, window);
  if (expected[0] !== got[0] || expected[1] !== got[1]) {
    const image = `an image of ${size.join('x')}`;
    throw errors.shapeError(
      `g expects ${expected.join('x')} rows and columns for ${image}, has ${got.join('x')}`,
    );
  }
}
