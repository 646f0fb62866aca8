// Transposing a matrix, which is all that lies between Keras' kernels and ours.

/** Edge of the squares that are moved at a time, so that both sides stay in the cache. */
const tile = 32;

/** The transpose [columns, rows] of a row-major matrix [rows, columns], a new array. */
export function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length);
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
  return result;
}
