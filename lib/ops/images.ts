// From the bytes of images to numbers, on the device: a batch travels as uint8.

import { applyOne } from '../core/apply.ts';
import { aval } from '../core/aval.ts';
import { type DType, dtypeCode, isFloating } from '../core/dtype.ts';
import { defineOp } from '../core/op.ts';
import type { Tensor } from '../core/tensor.ts';
import { shapeRule } from './shapeRule.ts';

/** normalizeImages(x, scale, shift) → y = x scale + shift per channel, of type `dtype`. */
export const normalizeImagesOp = defineOp<{ readonly dtype: DType }>()({
  name: 'normalizeImages',
  inputs: ['x', 'scale', 'shift'],
  outputs: ['y'],
  infer: shapeRule(
    'normalizeImages',
    { x: 'u8|f32[n,h,w,c]', scale: 'f32[c]', shift: 'f32[c]' },
    ({ n, h, w, c }, { typeError }, { dtype }) => {
      if (!isFloating(dtype)) throw typeError(`dtype expects a floating type, got ${dtype}`);
      return [aval([n, h, w, c], dtype)];
    },
  ),
  encode: ({ dtype }) => [dtypeCode(dtype)],
  vjp: { none: 'images are data' },
});

/**
 * Images as the network wants them: x · scale + shift, per channel.
 * @param x u8 or f32 [n, h, w, c]
 * @param scale f32 [c]; 1 / 127.5 and a shift of -1 bring bytes to [-1, 1]
 * @param shift f32 [c]
 * @param options `dtype` of the result, default f32
 */
export function normalizeImages(
  x: Tensor,
  scale: Tensor,
  shift: Tensor,
  { dtype = 'f32' }: { readonly dtype?: DType } = {},
): Tensor {
  return applyOne(normalizeImagesOp, [x, scale, shift], { dtype });
}
