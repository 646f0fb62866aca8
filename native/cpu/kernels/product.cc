// Products of matrices, for pointwise convolutions: tile by tile, each held in registers over the whole
// depth.
//
// The right matrix is packed into panels of kTileColumns columns, so that it is read in order; what the
// caches do not hold of it arrives in time, since a step of the depth takes kTileRows * 2 multiplications.
// The left matrix is read where it lies, one value at a time, its rows side by side. On Zen 4 the loop of a
// tile runs at 98 % of the multipliers' peak; what a product loses, it loses around the tiles.
#include "product.h"

#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

using Vector = Lanes<kWidth>;
using Float = Vector::Float;

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Rows of the left matrix, `stride` apart: every third has an address of its own, the others are at offsets
// from it.
struct Rows {
  const float* at[(kTileRows + 2) / 3];
  int64_t stride;

  Rows(const float* x, int64_t rowStride, int rows) : stride(rowStride) {
    for (int i = 0; 3 * i < rows; i++) at[i] = x + 3 * i * rowStride;
  }
  inline __attribute__((always_inline)) float value(int row, int64_t k) const {
    return at[row / 3][row % 3 * stride + k];
  }
};

// The same packed: the values of one step of the depth side by side, in groups of kPackedRows.
constexpr int kPackedRows = kTileRows <= kWidth ? kWidth : (kTileRows + kWidth - 1) / kWidth * kWidth;
struct PackedRows {
  const float* at;

  inline __attribute__((always_inline)) float value(int row, int64_t k) const {
    return at[k * kPackedRows + row];
  }
};

template <int R>
struct Tile {
  Float sum[R][2];

  template <class Left>
  inline __attribute__((always_inline)) void multiply(const Left& left, const float* panel, int64_t depth) {
#pragma GCC unroll 14
    for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = Float{};
#pragma GCC unroll 1
    for (int64_t k = 0; k < depth; k++) {
      const Float b0 = Vector::load(panel + k * kTileColumns);
      const Float b1 = Vector::load(panel + k * kTileColumns + kWidth);
#pragma GCC unroll 14
      for (int i = 0; i < R; i++) {
        const float a = left.value(i, k);
        sum[i][0] += a * b0;
        sum[i][1] += a * b1;
      }
    }
  }
};

// Asks for the lines of a tile of a result, `stride` from row to row: they come while the tile is multiplied,
// and its stores need not wait.
template <int R>
inline void askForTile(const float* result, int64_t stride) {
  for (int i = 0; i < R; i++) {
    for (int j = 0; j < kTileColumns; j += 16) __builtin_prefetch(result + i * stride + j, 1, 3);
    __builtin_prefetch(result + i * stride + kTileColumns - 1, 1, 3);
  }
}

struct CopyValues {
  const float* x;
  float* to;

  template <int W>
  void run(int64_t j) const {
    Lanes<W>::store(to + j, Lanes<W>::load(x + j));
  }
};

// Where a tile of rowsProduct goes: `columns` columns from `column` on.
struct Place {
  int64_t row, column, columns;
};

template <int R>
inline __attribute__((always_inline)) void finish(const RowsProduct& o, const Place& place, Tile<R>& tile) {
  float* y = o.y + place.row * o.n + place.column;
  const bool whole = place.columns == kTileColumns;
  float edge[2 * kTileColumns] = {};  // operands of the last columns, where there are fewer than a tile's
  const auto operand = [&](const float* from) {
    if (whole) return from;
    for (int64_t j = 0; j < place.columns; j++) edge[j] = from[j];
    return static_cast<const float*>(edge);
  };
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) {
    if (o.bias) {
      const Float bias = Vector::load(operand(o.bias + place.column) + v * kWidth);
#pragma GCC unroll 14
      for (int i = 0; i < R; i++) tile.sum[i][v] += bias;
    }
    if (o.residual) {
#pragma GCC unroll 14
      for (int i = 0; i < R; i++)
        tile.sum[i][v] +=
            Vector::load(operand(o.residual + (place.row + i) * o.n + place.column) + v * kWidth);
    }
    if (o.relu) {
#pragma GCC unroll 14
      for (int i = 0; i < R; i++) tile.sum[i][v] = Vector::relu(tile.sum[i][v]);
    }
  }
  if (!whole) {
#pragma GCC unroll 14
    for (int i = 0; i < R; i++) {
      float row[kTileColumns];
      Vector::store(row, tile.sum[i][0]);
      Vector::store(row + kWidth, tile.sum[i][1]);
      for (int64_t j = 0; j < place.columns; j++) y[i * o.n + j] = row[j];
    }
  } else if (o.stream) {
#pragma GCC unroll 14
    for (int i = 0; i < R; i++) {
      Vector::stream(y + i * o.n, tile.sum[i][0]);
      Vector::stream(y + i * o.n + kWidth, tile.sum[i][1]);
    }
  } else {
#pragma GCC unroll 14
    for (int i = 0; i < R; i++) {
      Vector::store(y + i * o.n, tile.sum[i][0]);
      Vector::store(y + i * o.n + kWidth, tile.sum[i][1]);
    }
  }
  if (!o.sums) return;
#pragma GCC unroll 2
  for (int v = 0; v < 2; v++) {
    Float sum = tile.sum[0][v], square = tile.sum[0][v] * tile.sum[0][v];
#pragma GCC unroll 14
    for (int i = 1; i < R; i++) sum += tile.sum[i][v], square += tile.sum[i][v] * tile.sum[i][v];
    double *sums = o.sums + place.column + v * kWidth, *squares = o.squares + place.column + v * kWidth;
    if (whole) {
      Vector::addTo(sums, sum);
      Vector::addTo(squares, square);
      continue;
    }
    Vector::store(edge, sum);
    Vector::store(edge + kWidth, square);
    for (int64_t j = 0; j < kWidth && v * kWidth + j < place.columns; j++) {
      sums[j] += edge[j];
      squares[j] += edge[kWidth + j];
    }
  }
}

// All columns of R rows.
template <int R>
void productOfRows(const RowsProduct& o, int64_t row, const float* x, int64_t stride, const float* ahead,
                   int64_t linesAhead) {
  const Rows left(x, stride, R);
  for (int64_t p = o.firstPanel; p < o.lastPanel; p++) {
    for (int64_t i = 0; i < linesAhead; i++, ahead += kWidth) __builtin_prefetch(ahead, 0, 2);
    if (!o.stream) askForTile<R>(o.y + row * o.n + p * kTileColumns, o.n);
    Tile<R> tile;
    tile.multiply(left, o.panels + p * o.k * kTileColumns, o.k);
    finish(o, {row, p * kTileColumns, least(kTileColumns, o.n - p * kTileColumns)}, tile);
  }
}

using RowsFunction = void (*)(const RowsProduct&, int64_t, const float*, int64_t, const float*, int64_t);
template <int... R>
struct RowsFunctions {
  static constexpr RowsFunction of[] = {productOfRows<R>...};
};
#if defined(__AVX512F__)
using EveryHeight = RowsFunctions<1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>;
#else
using EveryHeight = RowsFunctions<1, 2, 3, 4, 5, 6>;
#endif

// Columns [column, column + rows) of some pixels of g. Where a row goes on, whole vectors are taken: what is
// beyond the tile is never read.
inline void packLeft(const ColumnsProduct& o, int64_t pixel, int64_t count, int64_t column, int64_t rows,
                     float* to) {
  const int64_t taken = column + kPackedRows <= o.o ? kPackedRows : rows;
  const float* from = o.g + pixel * o.o + column;
  if (taken < kPackedRows) {
    for (int64_t k = 0; k < count; k++) overVectors(taken, CopyValues{from + k * o.o, to + k * kPackedRows});
    return;
  }
  for (int64_t k = 0; k < count; k++) {
#pragma GCC unroll 2
    for (int j = 0; j < kPackedRows; j += kWidth)
      Vector::store(to + k * kPackedRows + j, Vector::load(from + k * o.o + j));
  }
}

inline void packRight(const ColumnsProduct& o, int64_t pixel, int64_t count, int64_t column, float* to) {
  const float* from = o.x + pixel * o.c + column;
  const int64_t columns = least(kTileColumns, o.c - column);
  if (columns == kTileColumns) {
    for (int64_t k = 0; k < count; k++) {
      Vector::store(to + k * kTileColumns, Vector::load(from + k * o.c));
      Vector::store(to + k * kTileColumns + kWidth, Vector::load(from + k * o.c + kWidth));
    }
    return;
  }
  for (int64_t k = 0; k < count; k++) {
    overVectors(columns, CopyValues{from + k * o.c, to + k * kTileColumns});
    for (int64_t j = columns; j < kTileColumns; j++) to[k * kTileColumns + j] = 0;
  }
}

constexpr int64_t kPixelsAtOnce = 8;

// Asks the cache for a block of rows, some lines at a time.
class LinesAhead {
 public:
  LinesAhead(const float* from, int64_t rows, int64_t width, int64_t stride, int64_t times)
      : row_(from),
        rows_(rows),
        width_(width),
        stride_(stride),
        lines_(rows * ((width + 15) / 16) / times + 1) {}

  void ask() {
    for (int64_t i = 0; i < lines_ && rows_ > 0; i++) {
      __builtin_prefetch(row_ + column_, 0, 2);
      column_ += 16;
      if (column_ >= width_) column_ = 0, row_ += stride_, rows_--;
    }
  }

 private:
  const float* row_;
  int64_t rows_, width_, stride_, lines_, column_ = 0;
};

// What is asked for while rows [begin, end) of a result are multiplied: these columns of g, and a share of x,
// of the `next` pixels from `first` on.
class Ahead {
 public:
  Ahead(const ColumnsProduct& o, int64_t first, int64_t next, int64_t begin, int64_t end, int64_t times)
      : g_(o.g + first * o.o + begin, next, end - begin, o.o, times),
        x_(o.x + (first + next * begin / o.o) * o.c, next * end / o.o - next * begin / o.o, o.c, o.c, times) {
  }

  void ask() {
    g_.ask();
    x_.ask();
  }

 private:
  LinesAhead g_, x_;
};

template <int R>
struct Accumulate {
  // result[R][columns], `stride` apart, += left * panel; or = where `first`.
  static void run(const float* left, const float* panel, int64_t depth, float* result, int64_t stride,
                  int64_t columns, bool first) {
    askForTile<R>(result, stride);
    Tile<R> tile;
    tile.multiply(PackedRows{left}, panel, depth);
    if (columns == kTileColumns) {
#pragma GCC unroll 14
      for (int i = 0; i < R; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
          float* to = result + i * stride + v * kWidth;
          Vector::store(to, first ? tile.sum[i][v] : tile.sum[i][v] + Vector::load(to));
        }
      }
      return;
    }
#pragma GCC unroll 14
    for (int i = 0; i < R; i++) {
      float row[kTileColumns];
      Vector::store(row, tile.sum[i][0]);
      Vector::store(row + kWidth, tile.sum[i][1]);
      float* to = result + i * stride;
      for (int64_t j = 0; j < columns; j++) to[j] = first ? row[j] : to[j] + row[j];
    }
  }
};

using AccumulateFunction = void (*)(const float*, const float*, int64_t, float*, int64_t, int64_t, bool);
template <int... R>
struct AccumulateFunctions {
  static constexpr AccumulateFunction of[] = {Accumulate<R>::run...};
};
#if defined(__AVX512F__)
using AccumulateHeight = AccumulateFunctions<1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>;
#else
using AccumulateHeight = AccumulateFunctions<1, 2, 3, 4, 5, 6>;
#endif

}  // namespace

void rowsProduct(const RowsProduct& o) {
  // Heights differ by one at most: a last tile of few rows would waste the most.
  const int64_t tiles = (o.rows + kTileRows - 1) / kTileRows, panels = o.lastPanel - o.firstPanel;
  const int64_t copied = o.k + kWidth;  // not a multiple of the caches' period
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t row = o.rows * t / tiles, end = o.rows * (t + 1) / tiles;
    const int64_t following = t + 1 < tiles ? o.rows * (t + 2) / tiles - end : 0;
    const float *x = o.x + row * o.stride, *ahead = o.x + end * o.stride;
    int64_t stride = o.stride, lines = (following * o.stride / kWidth + panels - 1) / panels;
    if (o.copies) {
      for (int64_t i = 0; i < end - row; i++)
        overVectors(o.k, CopyValues{x + i * o.stride, o.scratch + i * copied});
      x = o.scratch, stride = copied;
    }
    EveryHeight::of[end - row - 1](o, row, x, stride, ahead, lines);
  }
  if (o.stream) finishStreams();
}

void packPanels(const float* w, int64_t k, int64_t n, int64_t kStride, int64_t nStride, float* panels,
                int64_t begin, int64_t end) {
  for (int64_t p = begin; p < end; p++) {
    float* to = panels + p * k * kTileColumns;
    const int64_t columns = least(kTileColumns, n - p * kTileColumns);
    const float* from = w + p * kTileColumns * nStride;
    if (kStride == 1) {
      // A line of each column at a time: columns that lie a power of two apart push each other out of the
      // cache.
      for (int64_t first = 0; first < k; first += 16) {
        const int64_t last = least(k, first + 16);
        for (int64_t j = 0; j < columns; j++)
          for (int64_t i = first; i < last; i++) to[i * kTileColumns + j] = from[j * nStride + i];
      }
    } else {
      for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < columns; j++) to[i * kTileColumns + j] = from[i * kStride + j * nStride];
    }
    if (columns == kTileColumns) continue;
    for (int64_t i = 0; i < k; i++)
      for (int64_t j = columns; j < kTileColumns; j++) to[i * kTileColumns + j] = 0;
  }
}

void packColumns(const ColumnsProduct& o, int64_t first, int64_t depth) {
  const int64_t panels = (o.c + kTileColumns - 1) / kTileColumns;
  // Some pixels at a time: their rows stay in the first-level cache while panel after panel takes its
  // columns.
  for (int64_t k = 0; k < depth; k += kPixelsAtOnce) {
    const int64_t count = least(kPixelsAtOnce, depth - k);
    for (int64_t p = 0; p < panels; p++)
      packRight(o, first + k, count, p * kTileColumns, o.right + (p * depth + k) * kTileColumns);
  }
}

void columnsProduct(const ColumnsProduct& o, int64_t first, int64_t depth, int64_t next, int64_t begin,
                    int64_t end) {
  const int64_t heights = (o.o + kTileRows - 1) / kTileRows;
  const int64_t panels = (o.c + kTileColumns - 1) / kTileColumns;
  const auto rowOf = [&](int64_t t) { return o.o * t / heights; };
  for (int64_t k = 0; k < depth; k += kPixelsAtOnce)
    for (int64_t t = begin; t < end; t++)
      packLeft(o, first + k, least(kPixelsAtOnce, depth - k), rowOf(t), rowOf(t + 1) - rowOf(t),
               o.left + ((t - begin) * depth + k) * kPackedRows);
  Ahead ahead(o, first + depth, next, rowOf(begin), rowOf(end), panels * (end - begin));
  for (int64_t p = 0; p < panels; p++) {
    for (int64_t t = begin; t < end; t++) {
      ahead.ask();
      const int64_t row = rowOf(t), rows = rowOf(t + 1) - row;
      AccumulateHeight::of[rows - 1](
          o.left + (t - begin) * depth * kPackedRows, o.right + p * depth * kTileColumns, depth,
          o.result + row * o.c + p * kTileColumns, o.c, least(kTileColumns, o.c - p * kTileColumns), !o.adds);
    }
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
