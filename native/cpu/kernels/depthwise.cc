// Depthwise 3x3 convolutions at stride 1 with normalization and ReLU on load, and their gradients: every
// activation is read once, and every result written once.
//
// A task walks down the rows of a strip. For the convolution the last rows it read lie in `scratch`,
// activated and with zeros around them, so that the inner loops know no edges. Gradients read g where it is.
#include "kernels.h"
#include "vectors.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

constexpr int kRing = 4;  // rows kept; a power of two

// Where a task works.
struct Place {
  Place(const DepthwiseShape& p, int64_t task, int64_t rows, int64_t columns)
      : channel(task % p.blocks * p.block),
        channels(least(p.block, p.c - channel)),
        strip(task / p.blocks),
        image(strip / (p.columnStrips * p.rowStrips) * p.images),
        lastImage(least(p.n, image + p.images)),
        begin(strip / p.columnStrips % p.rowStrips * p.stripRows),
        end(least(rows, begin + p.stripRows)),
        column(strip % p.columnStrips * p.stripColumns),
        width(least(p.stripColumns, columns - column)) {}
  int64_t channel, channels;
  int64_t strip;  // of all images
  int64_t image, lastImage, begin, end, column, width;
};

// One row of an image, from channel on, copied into scratch: `columns` pixels of `block` channels, of which
// pixel `margin` is the image's first.
struct CopyRow {
  const float* from;  // NULL: zeros
  int64_t width, stride;
  float* to;
  int64_t columns, block, channels, margin;
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

inline void copy(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i++) to[i] = from[i];
}

template <bool kAffine, bool kRelu>
void copyRow(const CopyRow& row, const float* scale, const float* shift) {
  if (!row.from) return clear(row.to, row.columns * row.block);
  const int64_t first = row.margin > 0 ? row.margin : 0;
  const int64_t last = least(row.columns, row.width + row.margin);
  clear(row.to, first * row.block);
  for (int64_t i = first; i < last; i++) {
    const int64_t at = (i - row.margin) * row.stride;
    overVectors(row.channels,
                ActivatePixel<kAffine, kRelu>{row.from + at, scale, shift, row.to + i * row.block});
  }
  clear(row.to + last * row.block, (row.columns - last) * row.block);
}

// R rows by T columns of results, from R + 2 rows of scratch. The next R rows of x and y are asked for
// meanwhile, in the order of addresses and not of tiles: one core has too few requests of its own in flight
// (11 GB/s), but the processor goes on with runs of lines.
template <int R, int T, bool kStream>
struct ForwardTile {
  const float* rows[R + 2];
  int64_t block;
  const float* taps;
  float* y;
  int64_t c, rowStride;
  const float *aheadX, *aheadY;  // this tile's share of the R rows that are asked for
  int64_t xRowStride;

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
      for (int i = 0; i < T * W; i += 16) {
        __builtin_prefetch(aheadX + r * xRowStride + j * T + i, 0, 2);
        if (!kStream) __builtin_prefetch(aheadY + r * rowStride + j * T + i, 1, 2);
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

// One or two rows of results, block by block of channels, whose taps stay in the first-level cache.
template <int R, bool kStream>
void forwardRows(const DepthwiseShape& p, const Place& place, const float* const* ring, const float* taps,
                 float* y, const float* nextX) {
  int64_t asked = 0;  // elements of the next rows that were asked for
  for (int64_t channel = 0; channel < place.channels; channel += kDepthwiseBlock) {
    const int64_t channels = least(kDepthwiseBlock, place.channels - channel);
    const auto tiles = [&](auto width, int64_t at) {
      constexpr int T = decltype(width)::value;
      ForwardTile<R, T, kStream> tile = {};
      for (int i = 0; i < R + 2; i++) tile.rows[i] = ring[i] + at * p.block + channel;
      tile.block = p.block, tile.c = p.c, tile.rowStride = p.ow * p.c;
      tile.taps = taps + channel;
      tile.y = y + at * p.c + channel;
      tile.aheadX = nextX + asked, tile.aheadY = y + R * tile.rowStride + asked;
      tile.xRowStride = p.w * p.c;
      overVectors(channels, tile);
      asked += T * channels;
    };
    int64_t at = 0;
    for (; at + 4 <= place.width; at += 4) tiles(Count<4>{}, at);
    if (place.width - at == 3) tiles(Count<3>{}, at);
    if (place.width - at == 2) tiles(Count<2>{}, at);
    if (place.width - at == 1) tiles(Count<1>{}, at);
  }
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
        const float* from = read >= 0 && read < p.h ? image + read * p.w * p.c : nullptr;
        copyRow<kAffine, kRelu>(
            {from, p.w, p.c, slot(read), at.width + 2, p.block, at.channels, p.left - at.column}, s, b);
      }
      const float* ring[kRows + 2];
      for (int i = 0; i < rows + 2; i++) ring[i] = slot(oy - p.top + i);
      float* to = y + ((at.image * p.oh + oy) * p.ow + at.column) * p.c + at.channel;
      const float* next = image + (read * p.w + at.column) * p.c;
      if (rows == 1)
        forwardRows<1, kStream>(p, at, ring, taps + at.channel, to, next);
      else
        forwardRows<kRows, kStream>(p, at, ring, taps + at.channel, to, next);
    }
  }
  if (kStream) finishStreams();
}

// What the gradients write.
enum class Results { dxAndSums, dxWithResidual, onlyTaps };

// Columns of a gradient's tile: 9 sums, and as many pixels' values and gradients, stay in registers.
constexpr int kTile = kWidth == 16 ? 4 : 2;

// T pixels of a row of the input, a block of their channels. Sums lie in the first-level cache: walking along
// a row with sums in registers would touch memory line by line, far apart, which the processor does not
// foresee. The next row is asked for as in ForwardTile.
template <int T, bool kInside, bool kAffine, bool kRelu, Results kResults, bool kStream>
struct GradientTile {
  // Pixels of g, [3][T + 2], or zeros: row i meets the taps of row 2 - i. Where all are inside the image, the
  // first of each row tells where the others are.
  const float* g[3][kInside ? 1 : T + 2];
  const float *x, *residual;
  float* dx;
  int64_t c;
  const float *aheadG, *aheadX, *aheadResidual, *aheadDx;  // this tile's share of what is asked for
  const float* constants;                                  // [11][kDepthwiseBlock]: taps, scale, shift
  float* sums;                                             // [11][kDepthwiseBlock]: as partials are

  template <int W>
  void run(int64_t j) const {
    constexpr int64_t kBlock = kDepthwiseBlock;
    typedef typename Lanes<W>::Float Float;
    const auto constant = [&](int k) { return Lanes<W>::load(constants + k * kBlock + j); };
    Float a[T], d[T] = {}, tap[9];
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      a[t] = Lanes<W>::load(x + t * c + j);
      if (kAffine) a[t] = a[t] * constant(9) + constant(10);
      if (kRelu) a[t] = Lanes<W>::relu(a[t]);
    }
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++) tap[k] = Lanes<W>::load(sums + k * kBlock + j);
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
#pragma GCC unroll 6
      for (int q = 0; q < T + 2; q++) {
        const auto value = Lanes<W>::load(kInside ? g[i][0] + q * c + j : g[i][kInside ? 0 : q] + j);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          if (t + 2 < q || q < t) continue;
          const int k = (2 - i) * 3 + t + 2 - q;
          tap[k] += value * a[t];
          if (kResults != Results::onlyTaps) d[t] += value * constant(k);
        }
      }
    }
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++) Lanes<W>::store(sums + k * kBlock + j, tap[k]);
#pragma GCC unroll 4
    for (int i = 0; i < T * W; i += 16) {
      const int64_t at = j * T + i;
      __builtin_prefetch(aheadG + at, 0, 2);
      __builtin_prefetch(aheadX + at, 0, 2);
      if (kResults == Results::dxWithResidual) __builtin_prefetch(aheadResidual + at, 0, 2);
      if (kResults != Results::onlyTaps && !kStream) __builtin_prefetch(aheadDx + at, 1, 2);
    }
    if (kResults == Results::onlyTaps) return;
    Float sumG = {}, sumGX = {};
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      if (kRelu) d[t] = a[t] > 0 ? d[t] : Float{};
      if (kResults == Results::dxAndSums) {
        sumG += d[t];
        sumGX += d[t] * Lanes<W>::load(x + t * c + j);
      } else {
        d[t] += Lanes<W>::load(residual + t * c + j);
      }
      if (kStream)
        Lanes<W>::stream(dx + t * c + j, d[t]);
      else
        Lanes<W>::store(dx + t * c + j, d[t]);
    }
    if (kResults == Results::dxAndSums) {
      float *to = sums + 9 * kBlock + j, *toX = sums + 10 * kBlock + j;
      Lanes<W>::store(to, Lanes<W>::load(to) + sumG);
      Lanes<W>::store(toX, Lanes<W>::load(toX) + sumGX);
    }
  }
};

// Sums of up to about this many elements are held in f32, then added up in f64.
constexpr int64_t kFloatElements = 256;

// The strips of a gradient that a thread works on.
template <bool kAffine, bool kRelu, Results kResults, bool kStream>
class GradientStrips {
 public:
  GradientStrips(const DepthwiseShape& shape, const DepthwiseGradients& operands, float* scratch)
      : p_(shape),
        o_(operands),
        blocks_((p_.c + kBlock - 1) / kBlock),
        zeros_(scratch),
        constants_(scratch + kBlock),
        sums_(constants_ + blocks_ * kBlockSums) {
    clear(scratch, kBlock);
    for (int64_t b = 0; b < blocks_; b++) {
      float* to = constants_ + b * kBlockSums;
      for (int64_t k = 0; k < 9 && kResults != Results::onlyTaps; k++)
        copy(o_.taps + k * p_.c + b * kBlock, channels(b), to + k * kBlock);
      if (!kAffine) continue;
      copy(o_.scale + b * kBlock, channels(b), to + 9 * kBlock);
      copy(o_.shift + b * kBlock, channels(b), to + 10 * kBlock);
    }
  }

  void run(int64_t task) {
    Place at(p_, task, p_.h, p_.w);
    double* partials = o_.partials + at.strip * kDepthwiseSums * p_.c;
    clear(sums_, blocks_ * kBlockSums);
    const int64_t most = kFloatElements / p_.stripColumns + 1;
    bool adds = false;
    int64_t rows = 0;  // that are in the sums
    for (; at.image < at.lastImage; at.image++) {
      for (int64_t iy = at.begin; iy < at.end; iy++) {
        row(at, iy);
        if (++rows < most && (iy + 1 < at.end || at.image + 1 < at.lastImage)) continue;
        addTo(partials, adds);
        rows = 0, adds = true;
      }
    }
  }

 private:
  static constexpr int64_t kBlock = kDepthwiseBlock, kBlockSums = kDepthwiseSums * kBlock;

  int64_t channels(int64_t block) const { return least(kBlock, p_.c - block * kBlock); }

  void row(const Place& at, int64_t iy) const {
    const bool rowsInside = iy + p_.top - 2 >= 0 && iy + p_.top < p_.oh;
    int64_t asked = 0;  // elements of the next row that were asked for
    for (int64_t b = 0; b < blocks_; b++) {
      const auto tiles = [&](auto width, auto inside, int64_t column) {
        tile<decltype(width)::value, decltype(inside)::value>(at, iy, column, b, asked);
        asked += decltype(width)::value * channels(b);
      };
      int64_t column = 0;
      for (; column + kTile <= at.width; column += kTile) {
        const int64_t left = at.column + column + p_.left - 2;
        if (rowsInside && left >= 0 && left + kTile + 2 <= p_.ow)
          tiles(Count<kTile>{}, Flag<true>{}, column);
        else
          tiles(Count<kTile>{}, Flag<false>{}, column);
      }
      if (at.width - column == 3) tiles(Count<3>{}, Flag<false>{}, column);
      if (at.width - column == 2) tiles(Count<2>{}, Flag<false>{}, column);
      if (at.width - column == 1) tiles(Count<1>{}, Flag<false>{}, column);
    }
  }

  template <int T, bool kInside>
  void tile(const Place& at, int64_t iy, int64_t column, int64_t block, int64_t asked) const {
    GradientTile<T, kInside, kAffine, kRelu, kResults, kStream> tile;
    const int64_t top = iy + p_.top - 2, left = at.column + column + p_.left - 2;  // of the pixels of g
    const float* g = o_.g + at.image * p_.oh * p_.ow * p_.c;
    for (int64_t i = 0; i < 3; i++) {
      const float* pixel = g + ((top + i) * p_.ow + left) * p_.c + block * kBlock;
      if (kInside) {
        tile.g[i][0] = pixel;
        continue;
      }
      const bool there = top + i >= 0 && top + i < p_.oh;
      for (int64_t q = 0; q < T + 2; q++)
        tile.g[i][q] = there && left + q >= 0 && left + q < p_.ow ? pixel + q * p_.c : zeros_;
    }
    const int64_t strip = ((at.image * p_.h + iy) * p_.w + at.column) * p_.c;
    const int64_t pixel = strip + column * p_.c + block * kBlock, ahead = strip + p_.w * p_.c + asked;
    tile.c = p_.c;
    tile.x = o_.x + pixel, tile.aheadX = o_.x + ahead;
    tile.aheadG = g + ((top + 3) * p_.ow + at.column) * p_.c + asked;
    if (kResults == Results::dxWithResidual)
      tile.residual = o_.residual + pixel, tile.aheadResidual = o_.residual + ahead;
    if (kResults != Results::onlyTaps) tile.dx = o_.dx + pixel, tile.aheadDx = o_.dx + ahead;
    tile.constants = constants_ + block * kBlockSums;
    tile.sums = sums_ + block * kBlockSums;
    overVectors(channels(block), tile);
  }

  // The sums become, or are added to, those in f64; new ones begin.
  void addTo(double* partials, bool adds) {
    for (int64_t b = 0; b < blocks_; b++) {
      float* sums = sums_ + b * kBlockSums;
      for (int64_t k = 0; k < kDepthwiseSums; k++) {
        double* to = partials + k * p_.c + b * kBlock;
        const float* from = sums + k * kBlock;
        if (adds) {
          DW_VECTORIZE
          for (int64_t j = 0; j < channels(b); j++) to[j] += from[j];
        } else {
          DW_VECTORIZE
          for (int64_t j = 0; j < channels(b); j++) to[j] = from[j];
        }
      }
      clear(sums, kBlockSums);
    }
  }

  const DepthwiseShape& p_;
  const DepthwiseGradients& o_;
  int64_t blocks_;
  const float* zeros_;  // [kBlock]
  float* constants_;    // [blocks_][11][kBlock]
  float* sums_;         // as large
};

template <bool kAffine, bool kRelu, Results kResults, bool kStream>
void gradient(const DepthwiseShape& p, const DepthwiseGradients& o, float* scratch, int64_t begin,
              int64_t end) {
  GradientStrips<kAffine, kRelu, kResults, kStream> strips(p, o, scratch);
  for (int64_t task = begin; task < end; task++) strips.run(task);
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
