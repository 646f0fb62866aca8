// Depthwise 3x3 convolutions at stride 1 with normalization and ReLU on load, and their gradients: every
// activation is read once, and every result written once.
//
// A task walks down the rows of a strip. The last rows it read lie in `scratch`, activated and with zeros
// around them, so that the inner loops know no edges.
#include "kernels.h"
#include "vectors.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

constexpr int kRing = 4;   // rows kept; a power of two
constexpr int kAhead = 2;  // rows that the cache is asked for before they are read

// Where a task works.
struct Place {
  Place(const DepthwiseShape& p, int64_t task, int64_t rows, int64_t columns)
      : channel(task % p.blocks * p.block),
        channels(least(p.block, p.c - channel)),
        strip(task / p.blocks),
        image(strip / (p.columnStrips * p.rowStrips)),
        begin(strip / p.columnStrips % p.rowStrips * p.stripRows),
        end(least(rows, begin + p.stripRows)),
        column(strip % p.columnStrips * p.stripColumns),
        width(least(p.stripColumns, columns - column)) {}
  int64_t channel, channels;
  int64_t strip;  // of all images
  int64_t image, begin, end, column, width;
};

// One row of an image, from channel on, copied into scratch: `columns` pixels of `block` channels, of which
// pixel `margin` is the image's first.
struct CopyRow {
  const float* from;  // NULL: zeros
  int64_t width, stride;
  float* to;
  int64_t columns, block, channels, margin;
  const float* ahead;  // a row of the same shape that is wanted soon, or NULL
};

template <bool kAffine, bool kRelu>
struct ActivatePixel {
  const float *x, *scale, *shift;
  float* to;

  template <int W>
  void run(int64_t j) const {
    auto a = Lanes<W>::load(x + j);
    if (kAffine) a = a * Lanes<W>::load(scale + j) + Lanes<W>::load(shift + j);
    if (kRelu) a = Lanes<W>::relu(a);
    Lanes<W>::store(to + j, a);
  }
};

inline void clear(float* to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = 0;
}

template <bool kAffine, bool kRelu>
void copyRow(const CopyRow& row, const float* scale, const float* shift) {
  if (!row.from) return clear(row.to, row.columns * row.block);
  const int64_t first = row.margin > 0 ? row.margin : 0;
  const int64_t last = least(row.columns, row.width + row.margin);
  clear(row.to, first * row.block);
  for (int64_t i = first; i < last; i++) {
    const int64_t at = (i - row.margin) * row.stride;
    if (row.ahead)
      for (int64_t j = 0; j < row.channels; j += 16) __builtin_prefetch(row.ahead + at + j, 0, 2);
    overVectors(row.channels,
                ActivatePixel<kAffine, kRelu>{row.from + at, scale, shift, row.to + i * row.block});
  }
  clear(row.to + last * row.block, (row.columns - last) * row.block);
}

// R rows by T columns of results, from R + 2 rows of scratch.
template <int R, int T, bool kStream>
struct ForwardTile {
  const float* rows[R + 2];
  int64_t block;
  const float* taps;
  float* y;
  int64_t c, rowStride;

  template <int W>
  void run(int64_t j) const {
    typename Lanes<W>::Float sum[R][T] = {}, tap[9];
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++) tap[k] = Lanes<W>::load(taps + k * c + j);
#pragma GCC unroll 4
    for (int i = 0; i < R + 2; i++) {
#pragma GCC unroll 8
      for (int q = 0; q < T + 2; q++) {
        const auto a = Lanes<W>::load(rows[i] + q * block + j);
#pragma GCC unroll 2
        for (int r = 0; r < R; r++) {
#pragma GCC unroll 6
          for (int t = 0; t < T; t++) {
            if (i >= r && i - r < 3 && q >= t && q - t < 3) sum[r][t] += a * tap[(i - r) * 3 + q - t];
          }
        }
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 6
      for (int t = 0; t < T; t++) {
        float* to = y + r * rowStride + t * c + j;
        if (kStream)
          Lanes<W>::stream(to, sum[r][t]);
        else
          Lanes<W>::store(to, sum[r][t]);
      }
    }
  }
};

// One or two rows of results, tile by tile.
template <int R, bool kStream>
void forwardRows(const DepthwiseShape& p, const Place& place, const float* const* ring, const float* taps,
                 float* y) {
  const auto tiles = [&](auto width, int64_t at) {
    constexpr int T = decltype(width)::value;
    ForwardTile<R, T, kStream> tile = {{}, p.block, taps, y + at * p.c, p.c, p.ow * p.c};
    for (int i = 0; i < R + 2; i++) tile.rows[i] = ring[i] + at * p.block;
    overVectors(place.channels, tile);
  };
  int64_t at = 0;
  for (; at + 4 <= place.width; at += 4) tiles(Count<4>{}, at);
  if (place.width - at == 3) tiles(Count<3>{}, at);
  if (place.width - at == 2) tiles(Count<2>{}, at);
  if (place.width - at == 1) tiles(Count<1>{}, at);
}

// Two rows of results at once share the loads of the rows between them, where registers suffice.
constexpr int kRows = kWidth == 16 ? 2 : 1;

template <bool kAffine, bool kRelu, bool kStream>
void forward(const DepthwiseShape& p, const float* x, const float* scale, const float* shift,
             const float* taps, float* y, float* scratch, int64_t begin, int64_t end) {
  const int64_t rowSize = (p.stripColumns + 2) * p.block;
  for (int64_t task = begin; task < end; task++) {
    const Place at(p, task, p.oh, p.ow);
    const float* image = x + at.image * p.h * p.w * p.c + at.channel;
    const float *s = kAffine ? scale + at.channel : nullptr, *b = kAffine ? shift + at.channel : nullptr;
    // Input row `row` lies in place (row + top) % kRing.
    const auto slot = [&](int64_t row) { return scratch + ((row + p.top) & (kRing - 1)) * rowSize; };
    int64_t read = at.begin - p.top;  // the next row to read
    for (int64_t oy = at.begin; oy < at.end; oy += kRows) {
      const int rows = at.end - oy < kRows ? 1 : kRows;
      for (; read < oy - p.top + rows + 2; read++) {
        const auto row = [&](int64_t iy) { return iy >= 0 && iy < p.h ? image + iy * p.w * p.c : nullptr; };
        copyRow<kAffine, kRelu>({row(read), p.w, p.c, slot(read), at.width + 2, p.block, at.channels,
                                 p.left - at.column, row(read + kAhead)},
                                s, b);
      }
      const float* ring[kRows + 2];
      for (int i = 0; i < rows + 2; i++) ring[i] = slot(oy - p.top + i);
      float* to = y + ((at.image * p.oh + oy) * p.ow + at.column) * p.c + at.channel;
      if (rows == 1)
        forwardRows<1, kStream>(p, at, ring, taps + at.channel, to);
      else
        forwardRows<kRows, kStream>(p, at, ring, taps + at.channel, to);
    }
  }
  if (kStream) finishStreams();
}

// What the gradients write.
enum class Results { dxAndSums, dxWithResidual, onlyTaps };

// One row of input pixels. The running sums of a vector of channels stay in registers along the row.
template <bool kAffine, bool kRelu, Results kResults, bool kStream>
struct GradientRow {
  const float* rows[3];  // of g, in scratch: rows[i] meets the taps of row 2 - i
  int64_t block, width, c;
  const float *x, *scale, *shift, *taps, *residual;
  float* dx;
  float* sums;  // [11][block]

  template <int W>
  struct Sums {
    typename Lanes<W>::Float tap[9], weight[9], g, gx;
  };

  template <int W, int T>
  inline __attribute__((always_inline)) void tile(int64_t at, int64_t j, Sums<W>& s) const {
    typename Lanes<W>::Float a[T], d[T] = {};
    const float* from = x + at * c + j;
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      a[t] = Lanes<W>::load(from + t * c);
      if (kAffine) a[t] = a[t] * Lanes<W>::load(scale + j) + Lanes<W>::load(shift + j);
      if (kRelu) a[t] = Lanes<W>::relu(a[t]);
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
#pragma GCC unroll 6
      for (int q = 0; q < T + 2; q++) {
        const auto g = Lanes<W>::load(rows[i] + (at + q) * block + j);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          if (t + 2 < q || q < t) continue;
          const int k = (2 - i) * 3 + t + 2 - q;
          s.tap[k] += g * a[t];
          if (kResults != Results::onlyTaps) d[t] += g * s.weight[k];
        }
      }
    }
    if (kResults == Results::onlyTaps) return;
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      const int64_t place = (at + t) * c + j;
      if (kRelu) d[t] = a[t] > 0 ? d[t] : typename Lanes<W>::Float{};
      if (kResults == Results::dxAndSums) {
        s.g += d[t];
        s.gx += d[t] * Lanes<W>::load(x + place);
      } else {
        d[t] += Lanes<W>::load(residual + place);
      }
      if (kStream)
        Lanes<W>::stream(dx + place, d[t]);
      else
        Lanes<W>::store(dx + place, d[t]);
    }
  }

  template <int W>
  void run(int64_t j) const {
    Sums<W> s = {};
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++) {
      s.tap[k] = Lanes<W>::load(sums + k * block + j);
      if (kResults != Results::onlyTaps) s.weight[k] = Lanes<W>::load(taps + k * c + j);
    }
    int64_t at = 0;
    for (; at + 4 <= width; at += 4) tile<W, 4>(at, j, s);
    if (width - at == 3) tile<W, 3>(at, j, s);
    if (width - at == 2) tile<W, 2>(at, j, s);
    if (width - at == 1) tile<W, 1>(at, j, s);
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++) Lanes<W>::store(sums + k * block + j, s.tap[k]);
    if (kResults == Results::dxAndSums) {
      float *g = sums + 9 * block + j, *gx = sums + 10 * block + j;
      Lanes<W>::store(g, Lanes<W>::load(g) + s.g);
      Lanes<W>::store(gx, Lanes<W>::load(gx) + s.gx);
    }
  }
};

// Sums of up to about this many elements are held in f32, then added up in f64.
constexpr int64_t kFloatElements = 256;

template <bool kAffine, bool kRelu, Results kResults, bool kStream>
void gradient(const DepthwiseShape& p, const DepthwiseGradients& o, float* scratch, int64_t begin,
              int64_t end) {
  const int64_t rowSize = (p.stripColumns + 2) * p.block;
  float* sums = scratch + kRing * rowSize;
  const int64_t rowsOfFloats = kFloatElements / p.stripColumns + 1;
  for (int64_t task = begin; task < end; task++) {
    const Place at(p, task, p.h, p.w);
    double* partials = o.partials + at.strip * kDepthwiseSums * p.c + at.channel;
    for (int64_t k = 0; k < kDepthwiseSums; k++)
      for (int64_t j = 0; j < at.channels; j++) partials[k * p.c + j] = 0;
    clear(sums, kDepthwiseSums * p.block);
    const float* g = o.g + at.image * p.oh * p.ow * p.c + at.channel;
    const auto slot = [&](int64_t row) { return scratch + ((row + 2) & (kRing - 1)) * rowSize; };
    int64_t read = at.begin + p.top - 2;  // the next row of g to read
    for (int64_t iy = at.begin; iy < at.end; iy++) {
      const int64_t line = (at.image * p.h + iy) * p.w * p.c + at.channel, pixel = line + at.column * p.c;
      for (; read <= iy + p.top; read++) {
        const bool inside = read >= 0 && read < p.oh;
        copyRow<false, false>({inside ? g + read * p.ow * p.c : nullptr, p.ow, p.c, slot(read), at.width + 2,
                               p.block, at.channels, 2 - p.left - at.column, o.x + line},
                              nullptr, nullptr);
      }
      GradientRow<kAffine, kRelu, kResults, kStream> row = {};
      for (int i = 0; i < 3; i++) row.rows[i] = slot(iy + p.top - 2 + i);
      row.block = p.block, row.width = at.width, row.c = p.c;
      row.x = o.x + pixel;
      row.taps = o.taps ? o.taps + at.channel : nullptr;
      if (kAffine) row.scale = o.scale + at.channel, row.shift = o.shift + at.channel;
      if (kResults == Results::dxWithResidual) row.residual = o.residual + pixel;
      if (kResults != Results::onlyTaps) row.dx = o.dx + pixel;
      row.sums = sums;
      overVectors(at.channels, row);
      if ((iy - at.begin + 1) % rowsOfFloats != 0 && iy + 1 != at.end) continue;
      for (int64_t k = 0; k < kDepthwiseSums; k++) {
        DW_VECTORIZE
        for (int64_t j = 0; j < at.channels; j++) partials[k * p.c + j] += sums[k * p.block + j];
      }
      clear(sums, kDepthwiseSums * p.block);
    }
  }
  if (kStream) finishStreams();
}

}  // namespace

void depthwise(const DepthwiseShape& p, const float* x, const float* scale, const float* shift,
               const float* taps, float* y, float* scratch, int64_t begin, int64_t end) {
  const auto run = [&](auto affine, auto relu) {
    constexpr bool kAffine = decltype(affine)::value, kRelu = decltype(relu)::value;
    const auto kernel = p.stream ? forward<kAffine, kRelu, true> : forward<kAffine, kRelu, false>;
    kernel(p, x, scale, shift, taps, y, scratch, begin, end);
  };
  if (p.affine && p.relu)
    run(Flag<true>{}, Flag<true>{});
  else if (p.affine)
    run(Flag<true>{}, Flag<false>{});
  else if (p.relu)
    run(Flag<false>{}, Flag<true>{});
  else
    run(Flag<false>{}, Flag<false>{});
}

void depthwiseGrad(const DepthwiseShape& p, const DepthwiseGradients& o, float* scratch, int64_t begin,
                   int64_t end) {
  if (!o.dx)
    gradient<false, false, Results::onlyTaps, false>(p, o, scratch, begin, end);
  else if (o.residual)
    gradient<false, true, Results::dxWithResidual, false>(p, o, scratch, begin, end);
  else if (p.relu && p.stream)
    gradient<true, true, Results::dxAndSums, true>(p, o, scratch, begin, end);
  else if (p.relu)
    gradient<true, true, Results::dxAndSums, false>(p, o, scratch, begin, end);
  else
    gradient<true, false, Results::dxAndSums, false>(p, o, scratch, begin, end);
}

}  // namespace DW_ISA
}  // namespace dw::cpu
