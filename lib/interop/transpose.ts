// Transposing matrices, which is all that lies between other programs' kernels and ours.

/** Edge of the squares that are moved at a time, so that both sides stay in the cache. */
const tile = 32;

/** Writes the transpose [columns, rows] of a row-major matrix [rows, columns] into `result`. */
function transposeInto(result: Float32Array, matrix: Float32Array, rows: number, columns: number): void {
  for (let top = 0; top < rows; top += tile) {
    const bottom = Math.min(top + tile, rows);
    for (let left = 0; left < columns; left += tile) {
      const right = Math.min(left + tile, columns);
      for (let column = left; column < right; column++) {
        for (let row = top; row < bottom; row++) {
          result[column * rows + row] = matrix[row * columns + column] as number;
        }
      }
    }
  }
}

/** The transpose [columns, rows] of a row-major matrix [rows, columns], a new array. */
export function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length);
  transposeInto(result, matrix, rows, columns);
  return result;
}

/** Each of `count` matrices [rows, columns] that lie one after the other, transposed; a new array. */
export function transposedEach(
  matrices: Float32Array,
  count: number,
  rows: number,
  columns: number,
): Float32Array {
  if (rows === 1 || columns === 1) return matrices.slice();
  const result = new Float32Array(matrices.length);
  const size = rows * columns;
  for (let at = 0; at < count * size; at += size) {
    transposeInto(result.subarray(at, at + size), matrices.subarray(at, at + size), rows, columns);
  }
  return result;
}
