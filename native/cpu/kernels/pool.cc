// Pooling over NHWC images, vectorised over channels. Gradients gather: each input pixel adds up its windows
// in order, so the result does not depend on how rows are divided among threads.
#include "kernels.h"
#include "sums.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// The part of a window that starts at `start` which lies in [0, extent): taps [first, last).
struct Taps {
  Taps(int64_t start, int64_t kernel, int64_t extent)
      : first(most(0, -start)), last(least(kernel, extent - start)) {}
  int64_t first, last;
};

// The windows that cover input position i: outputs [first, last).
struct Covering {
  Covering(int64_t i, int64_t before, int64_t kernel, int64_t stride, int64_t outputs) {
    const int64_t position = i + before;  // in the padded input
    first = position < kernel ? 0 : (position - kernel) / stride + 1;
    last = least(outputs, position / stride + 1);
  }
  int64_t first, last;
};

// One output pixel, whose window's taps are `high` by `wide` from `corner` of the image on. With an affine
// map per channel of what is pooled, and something to add, or neither.
template <bool kAffineAdd>
struct MaxWindow {
  const PoolShape& p;
  Taps high, wide;
  const float* corner;  // tap (0, 0), which may lie outside
  float* y;
  uint8_t* argmax;
  const float *scale, *shift, *residual;
  // This window's share of the rows that the next row of windows adds, which is asked for; NULL: it is not.
  const float* ahead;

  template <int W>
  typename Lanes<W>::Float load(const float* from, int64_t j) const {
    const auto value = Lanes<W>::load(from + j);
    if constexpr (!kAffineAdd) return value;
    return value * Lanes<W>::load(scale + j) + Lanes<W>::load(shift + j);
  }

  template <int W, int N>
  void run(int64_t j) const {
    typename Lanes<W>::Float best[N];
    typename Lanes<W>::Int where[N];
    for (int64_t r = 0; ahead && r < p.strideH; r++)
      for (int64_t i = 0; i < p.strideW * W * N; i += 16)
        __builtin_prefetch(ahead + r * p.w * p.c + j * p.strideW + i, 0, 2);
    const int32_t firstTap = static_cast<int32_t>(high.first * p.kernelW + wide.first);
#pragma GCC unroll 8
    for (int l = 0; l < N; l++) {
      best[l] = load<W>(corner + (high.first * p.w + wide.first) * p.c, j + l * W);
      where[l] = (typename Lanes<W>::Int{}) + firstTap;
    }
    for (int64_t i = high.first; i < high.last; i++) {
      for (int64_t k = wide.first; k < wide.last; k++) {
        const float* from = corner + (i * p.w + k) * p.c;
        const auto tap = (typename Lanes<W>::Int{}) + static_cast<int32_t>(i * p.kernelW + k);
#pragma GCC unroll 8
        for (int l = 0; l < N; l++) {
          const auto value = load<W>(from, j + l * W);
          const auto better = (value > best[l]) | ((value != value) & (best[l] == best[l]));
          best[l] = better ? value : best[l];
          where[l] = better ? tap : where[l];
        }
      }
    }
#pragma GCC unroll 8
    for (int l = 0; l < N; l++) {
      if (kAffineAdd) best[l] += Lanes<W>::load(residual + j + l * W);
      Lanes<W>::store(y + j + l * W, best[l]);
      Lanes<W>::storeBytes(argmax + j + l * W, where[l]);
    }
  }
};

// One input pixel, (h, w) of image n, which is in the windows `tall` by `across`.
struct MaxGather {
  const PoolShape& p;
  Covering tall, across;
  int64_t n, h, w;
  const float* g;
  const uint8_t* argmax;
  float* dx;

  template <int W, int N>
  void run(int64_t j) const {
    typename Lanes<W>::Float sum[N] = {};
    for (int64_t oy = tall.first; oy < tall.last; oy++) {
      const int64_t row = h + p.top - oy * p.strideH;
      for (int64_t ox = across.first; ox < across.last; ox++) {
        const int64_t at = ((n * p.oh + oy) * p.ow + ox) * p.c + j;
        const int tap = static_cast<int>(row * p.kernelW + w + p.left - ox * p.strideW);
#pragma GCC unroll 8
        for (int l = 0; l < N; l++)
          sum[l] = addWhereByteIs(sum[l], argmax + at + l * W, tap, Lanes<W>::load(g + at + l * W));
      }
    }
#pragma GCC unroll 8
    for (int l = 0; l < N; l++) Lanes<W>::store(dx + j + l * W, sum[l]);
  }
};

// Windows of a tile: their pixels are as many as sums in f32 take.
constexpr int64_t kTileWindows = kFloatRows / 2;

// The gradient of 3x3 windows at stride 2, for the pixels of a row of the input, two for each of a few
// windows, and their sums. Each window is read for all of its pixels at once. It also reaches the first pixel
// of the next window, so the one before the tile is read again. The next row is asked for meanwhile, in the
// order of addresses: the processor goes on with runs of lines.
template <int R, bool kStream>
struct ScatterRow {
  const float* g[R];  // of the rows of windows that meet this one; window 0 of the tile
  const uint8_t* argmax[R];
  int tap[R];                   // the first of the row in these
  int64_t window, last, exist;  // of the row: those of the tile, and how many there are
  int64_t pixel, width, c;      // the first window's first pixel, which may be outside
  const float* x;               // of that pixel
  float* dx;
  const float *aheadX, *aheadDx, *aheadG;
  double *sumG, *sumGX;

  template <int W, int N>
  void run(int64_t j) const {
    typedef typename Lanes<W>::Float Float;
    Float sum[N] = {}, product[N] = {}, carry[R][N] = {};
    const auto put = [&](int64_t i, const Float* values) {
      if (pixel + i < 0 || pixel + i >= width) return;
#pragma GCC unroll 4
      for (int l = 0; l < N; l++) {
        const int64_t at = i * c + j + l * W;
        sum[l] += values[l];
        product[l] += values[l] * Lanes<W>::load(x + at);
        if (kStream)
          Lanes<W>::stream(dx + at, values[l]);
        else
          Lanes<W>::store(dx + at, values[l]);
      }
    };
    // Adds the part of window i that goes to column k to sums.
    const auto add = [&](int r, int64_t i, int k, Float* sums) {
#pragma GCC unroll 4
      for (int l = 0; l < N; l++) {
        const int64_t at = i * c + j + l * W;
        sums[l] = addWhereByteIs(sums[l], argmax[r] + at, tap[r] + k, Lanes<W>::load(g[r] + at));
      }
    };
    for (int r = 0; r < R && window > 0 && window <= exist; r++) add(r, -1, 2, carry[r]);
    const int64_t windows = last - window;
    for (int64_t i = 0; i < windows; i++) {
      const int64_t share = windows * j + i * W * N;
      __builtin_prefetch(aheadG + share, 0, 2);
      for (int64_t k = 2 * share; k < 2 * (share + W * N); k += 16) {
        __builtin_prefetch(aheadX + k, 0, 2);
        if (!kStream) __builtin_prefetch(aheadDx + k, 1, 2);
      }
      Float first[N] = {}, second[N] = {};
#pragma GCC unroll 2
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int l = 0; l < N; l++) {
          first[l] += carry[r][l];
          carry[r][l] = Float{};
        }
        if (window + i >= exist) continue;
        add(r, i, 0, first);
        add(r, i, 1, second);
        add(r, i, 2, carry[r]);
      }
      put(2 * i, first);
      put(2 * i + 1, second);
    }
#pragma GCC unroll 4
    for (int l = 0; l < N; l++) {
      Lanes<W>::addTo(sumG + j + l * W, sum[l]);
      Lanes<W>::addTo(sumGX + j + l * W, product[l]);
    }
  }
};

// Row `row` of n*h, met by R rows of windows, or with none by no window.
template <int R, bool kStream>
void scatterRow(const PoolShape& p, const float* g, const uint8_t* argmax, const float* x, float* dx,
                int64_t row, const Covering& tall, double* sumG, double* sumGX) {
  const int64_t n = row / p.h, h = row % p.h, windows = (p.w + p.left + 1) / 2;
  ScatterRow<R, kStream> tile = {};
  tile.width = p.w, tile.c = p.c, tile.sumG = sumG, tile.sumGX = sumGX;
  tile.exist = tall.first < tall.last ? p.ow : 0;
  for (int64_t o = 0; o < windows; o += kTileWindows) {
    tile.window = o, tile.last = least(windows, o + kTileWindows), tile.pixel = 2 * o - p.left;
    for (int r = 0; r < R; r++) {
      const int64_t at = ((n * p.oh + tall.first + r) * p.ow + o) * p.c;
      tile.g[r] = g + at, tile.argmax[r] = argmax + at;
      tile.tap[r] = static_cast<int>(h + p.top - (tall.first + r) * 2) * 3;
    }
    const int64_t at = (row * p.w + tile.pixel) * p.c;
    tile.x = x + at, tile.dx = dx + at;
    tile.aheadX = tile.x + p.w * p.c, tile.aheadDx = tile.dx + p.w * p.c;
    tile.aheadG = tile.g[R - 1] + p.ow * p.c;
    overLines(p.c, tile);
  }
}

struct MeanWindow {
  const PoolShape& p;
  Taps high, wide;
  const float* corner;
  float* y;
  float factor;

  template <int W, int N>
  void run(int64_t j) const {
    typename Lanes<W>::Float sum[N] = {};
    for (int64_t i = high.first; i < high.last; i++) {
      for (int64_t k = wide.first; k < wide.last; k++) {
        const float* from = corner + (i * p.w + k) * p.c + j;
#pragma GCC unroll 8
        for (int l = 0; l < N; l++) sum[l] += Lanes<W>::load(from + l * W);
      }
    }
#pragma GCC unroll 8
    for (int l = 0; l < N; l++) Lanes<W>::store(y + j + l * W, sum[l] * factor);
  }
};

float meanFactor(const PoolShape& p, const Taps& high, const Taps& wide) {
  const int64_t inside = (high.last - high.first) * (wide.last - wide.first);
  return 1.0f / static_cast<float>(p.countPadding ? p.kernelH * p.kernelW : inside);
}

struct MeanGather {
  const PoolShape& p;
  Covering tall, across;
  int64_t n;
  const float* g;
  float* dx;

  template <int W, int N>
  void run(int64_t j) const {
    typename Lanes<W>::Float sum[N] = {};
    for (int64_t oy = tall.first; oy < tall.last; oy++) {
      const Taps high(oy * p.strideH - p.top, p.kernelH, p.h);
      for (int64_t ox = across.first; ox < across.last; ox++) {
        const float factor = meanFactor(p, high, Taps(ox * p.strideW - p.left, p.kernelW, p.w));
        const float* from = g + ((n * p.oh + oy) * p.ow + ox) * p.c + j;
#pragma GCC unroll 8
        for (int l = 0; l < N; l++) sum[l] += Lanes<W>::load(from + l * W) * factor;
      }
    }
#pragma GCC unroll 8
    for (int l = 0; l < N; l++) Lanes<W>::store(dx + j + l * W, sum[l]);
  }
};

template <bool kAffineAdd>
void pool(const PoolShape& p, const float* x, const float* scale, const float* shift, const float* residual,
          float* y, uint8_t* argmax, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t top = row % p.oh * p.strideH - p.top;
    const Taps high(top, p.kernelH, p.h);
    const bool ask = worthAsking(p.c);
    const float* next = x + (row / p.oh * p.h + top + p.kernelH) * p.w * p.c;
    for (int64_t ox = 0; ox < p.ow; ox++) {
      const int64_t left = ox * p.strideW - p.left, at = (row * p.ow + ox) * p.c;
      const float* corner = x + ((row / p.oh * p.h + top) * p.w + left) * p.c;
      const Taps wide(left, p.kernelW, p.w);
      overChannels(p.c, MaxWindow<kAffineAdd>{p, high, wide, corner, y + at, argmax + at, scale, shift,
                                              kAffineAdd ? residual + at : nullptr,
                                              ask ? next + ox * p.strideW * p.c : nullptr});
    }
  }
}

}  // namespace

// The first of the largest elements wins; the first NaN wins over everything.
void maxPool(const PoolShape& p, const float* x, float* y, uint8_t* argmax, int64_t begin, int64_t end) {
  pool<false>(p, x, nullptr, nullptr, nullptr, y, argmax, begin, end);
}

void affineMaxPoolAdd(const PoolShape& p, const float* x, const float* scale, const float* shift,
                      const float* residual, float* y, uint8_t* argmax, int64_t begin, int64_t end) {
  pool<true>(p, x, scale, shift, residual, y, argmax, begin, end);
}

void maxPoolGrad(const PoolShape& p, const float* g, const uint8_t* argmax, float* dx, int64_t begin,
                 int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t n = row / p.h, h = row % p.h;
    const Covering tall(h, p.top, p.kernelH, p.strideH, p.oh);
    for (int64_t w = 0; w < p.w; w++) {
      const Covering across(w, p.left, p.kernelW, p.strideW, p.ow);
      overChannels(p.c, MaxGather{p, tall, across, n, h, w, g, argmax, dx + (row * p.w + w) * p.c});
    }
  }
}

// Where rows are not scattered, row by row: the sums read dx from the cache.
void maxPoolGradSums(const PoolShape& p, const float* g, const uint8_t* argmax, const float* x, float* dx,
                     int64_t begin, int64_t end, bool stream, double* sumG, double* sumGX) {
  for (int64_t j = 0; j < p.c; j++) sumG[j] = sumGX[j] = 0;
  const bool scatters = p.kernelH == 3 && p.kernelW == 3 && p.strideH == 2 && p.strideW == 2;
  const bool streams = stream && reinterpret_cast<uintptr_t>(dx) % 64 == 0 && p.c % 16 == 0;
  for (int64_t row = begin; row < end; row++) {
    const int64_t at = row * p.w * p.c;
    if (!scatters) {
      maxPoolGrad(p, g, argmax, dx, row, row + 1);
      addGradSums(dx + at, x + at, p.w, p.c, sumG, sumGX);
      continue;
    }
    const Covering tall(row % p.h, p.top, 3, 2, p.oh);
    const auto kernel = tall.last - tall.first == 2 ? (streams ? scatterRow<2, true> : scatterRow<2, false>)
                                                    : (streams ? scatterRow<1, true> : scatterRow<1, false>);
    kernel(p, g, argmax, x, dx, row, tall, sumG, sumGX);
  }
  if (streams) finishStreams();
}

void avgPool(const PoolShape& p, const float* x, float* y, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t top = row % p.oh * p.strideH - p.top;
    const Taps high(top, p.kernelH, p.h);
    for (int64_t ox = 0; ox < p.ow; ox++) {
      const int64_t left = ox * p.strideW - p.left;
      const Taps wide(left, p.kernelW, p.w);
      const float* corner = x + ((row / p.oh * p.h + top) * p.w + left) * p.c;
      overChannels(p.c,
                   MeanWindow{p, high, wide, corner, y + (row * p.ow + ox) * p.c, meanFactor(p, high, wide)});
    }
  }
}

void avgPoolGrad(const PoolShape& p, const float* g, float* dx, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const Covering tall(row % p.h, p.top, p.kernelH, p.strideH, p.oh);
    for (int64_t w = 0; w < p.w; w++) {
      const Covering across(w, p.left, p.kernelW, p.strideW, p.ow);
      overChannels(p.c, MeanGather{p, tall, across, row / p.h, g, dx + (row * p.w + w) * p.c});
    }
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
