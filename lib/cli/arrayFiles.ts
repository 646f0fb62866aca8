// Arrays of images and labels from .npy files, as `train --arrays` and `predict --input` take them.

import { DataError, type ImageArray, type ManyHotArray, readNpy } from '../index.ts';

/** Images [n, height, width, 3], float32 or uint8. */
export async function readImages(file: string): Promise<ImageArray> {
  const { dtype, shape, data } = await readNpy(file);
  if (!(data instanceof Float32Array || data instanceof Uint8Array) || dtype === 'bool') {
    throw new DataError(`${file}: ${dtype} numbers; expected images as float32 or uint8`, { file });
  }
  if (shape.length !== 4 || shape[3] !== 3 || shape.some((extent) => extent === 0)) {
    throw new DataError(
      `${file}: shape [${shape.join(', ')}]; expected [n, height, width, 3], nothing empty`,
      { file },
    );
  }
  return { data, shape };
}

/** int64 labels, as NumPy makes them by default. What int32 cannot hold must not wrap around to another class. */
function fromInt64(labels: BigInt64Array, file: string): Int32Array {
  const at = labels.findIndex((label) => BigInt.asIntN(32, label) !== label);
  if (at >= 0) throw new DataError(`${file}: label ${at} is ${labels[at]}, which is no class`, { file });
  return Int32Array.from(labels, Number);
}

/** Labels: whole numbers [n], or uint8 [n, classes] of zeros and ones. */
export async function readArrayLabels(file: string): Promise<Int32Array | ManyHotArray> {
  const { dtype, shape, data } = await readNpy(file);
  if (shape.length === 1) {
    if (data instanceof Int32Array) return data;
    if (data instanceof Uint8Array) return Int32Array.from(data);
    if (data instanceof BigInt64Array) return fromInt64(data, file);
  }
  if (shape.length === 2 && data instanceof Uint8Array) return { data, shape };
  throw new DataError(
    `${file}: ${dtype} [${shape.join(', ')}]; expected labels as int32 [n], or uint8 [n, classes] for many labels`,
    { file },
  );
}

/** Puts the file before what is found wrong with the data that came from it. */
export function naming<T>(file: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw new DataError(`${file}: ${cause.message}`, { file, cause });
  }
}
