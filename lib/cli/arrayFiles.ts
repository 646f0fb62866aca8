// Arrays of images and labels from .npy files, as `train --arrays` and `predict --input` take them.

import { DataError, type ImageArray, type ManyHotArray } from '../index.ts';
import { readNpy } from '../interop/npy.ts';

/** Images [n, height, width, 3], float32 or uint8. */
export async function readImages(file: string): Promise<ImageArray> {
  const { dtype, shape, data } = await readNpy(file);
  if (!(data instanceof Float32Array || data instanceof Uint8Array) || dtype === 'bool') {
    throw new DataError(`${file}: ${dtype} numbers; expected images as float32 or uint8`, { file });
  }
  if (shape.length !== 4 || shape[3] !== 3 || shape.some((extent) => extent === 0)) {
    throw new DataError(`${file}: shape [${shape.join(', ')}]; expected [n, height, width, 3]`, { file });
  }
  return { data, shape };
}

/** Labels: whole numbers [n], or uint8 [n, classes] of zeros and ones. */
export async function readArrayLabels(file: string): Promise<Int32Array | ManyHotArray> {
  const { dtype, shape, data } = await readNpy(file);
  if (shape.length === 1) {
    if (data instanceof Int32Array) return data;
    if (data instanceof BigInt64Array || data instanceof Uint8Array) return Int32Array.from(data, Number);
  }
  if (shape.length === 2 && data instanceof Uint8Array) return { data, shape };
  throw new DataError(
    `${file}: ${dtype} [${shape.join(', ')}]; expected labels as int32 [n], or uint8 [n, classes] for many labels`,
    { file },
  );
}
