// Loops over rows of channels: per-channel maps, and sums over the rows.
#include "kernels.h"
#include "vectors.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

// Rows shorter than this are taken several at a time, with the per-channel values repeated, so that vectors
// are full.
constexpr int64_t kNarrow = 64;

// How a tensor of `rows` by `c` is walked: `wide` channels per step, the last step with fewer.
struct Pattern {
  Pattern(const float* values, int64_t c) {
    if (c >= kNarrow || c == 0) {
      data = values;
      width = c;
      return;
    }
    width = (kNarrow + c - 1) / c * c;
    for (int64_t i = 0; i < width; i++) buffer[i] = values[i % c];
    data = buffer;
  }
  const float* data;
  int64_t width;
  float buffer[2 * kNarrow];
};

// Sums of up to this many rows are held in f32, then added up in f64: an error of about 1e-7 of the sum of
// magnitudes.
constexpr int64_t kFloatRows = 16;

// Rows longer than a block are walked block by block, a pattern that the processor does not foresee: the
// loops ask for the next rows themselves. It is a loss where rows are short (128 channels: 20 GB/s against
// 30; 728: 22 against 11).
inline bool worthAsking(int64_t c) { return c > 8 * kWidth; }

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Adds the sums over a few rows, and the sums of squares.
template <bool kSquares, bool kAsk>
struct AddSums {
  const float* x;
  int64_t rows, stride;
  double *sums, *squares;

  template <int W, int N>
  void run(int64_t j) const {
    typename Lanes<W>::Float sum[N] = {}, square[N] = {};
    for (int64_t r = 0; r < rows; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) {
        const float* from = x + r * stride + j + i * W;
        if (kAsk) __builtin_prefetch(from + kFloatRows * stride, 0, 2);
        const auto a = Lanes<W>::load(from);
        sum[i] += a;
        if (kSquares) square[i] += a * a;
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
      Lanes<W>::addTo(sums + j + i * W, sum[i]);
      if (kSquares) Lanes<W>::addTo(squares + j + i * W, square[i]);
    }
  }
};

// Adds the sums of g and of g*x over a few rows.
template <bool kAsk>
struct AddGradSums {
  const float *g, *x;
  int64_t rows, stride;
  double *sumG, *sumGX;

  template <int W, int N>
  void run(int64_t j) const {
    typename Lanes<W>::Float sum[N] = {}, product[N] = {};
    for (int64_t r = 0; r < rows; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) {
        const int64_t at = r * stride + j + i * W;
        if (kAsk) {
          __builtin_prefetch(g + at + kFloatRows * stride, 0, 2);
          __builtin_prefetch(x + at + kFloatRows * stride, 0, 2);
        }
        const auto a = Lanes<W>::load(g + at);
        sum[i] += a;
        product[i] += a * Lanes<W>::load(x + at);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
      Lanes<W>::addTo(sumG + j + i * W, sum[i]);
      Lanes<W>::addTo(sumGX + j + i * W, product[i]);
    }
  }
};

}  // namespace

void channelAffine(const float* x, const float* scale, const float* shift, float* y, int64_t rows,
                   int64_t c) {
  const Pattern a(scale, c), b(shift, c);
  for (int64_t i = 0; i < rows * c; i += a.width) {
    const int64_t width = least(a.width, rows * c - i);
    const float* from = x + i;
    float* to = y + i;
    DW_VECTORIZE
    for (int64_t j = 0; j < width; j++) to[j] = from[j] * a.data[j] + b.data[j];
  }
}

void affineBytes(const uint8_t* x, const float* scale, const float* shift, float* y, int64_t rows,
                 int64_t c) {
  const Pattern a(scale, c), b(shift, c);
  for (int64_t i = 0; i < rows * c; i += a.width) {
    const int64_t width = least(a.width, rows * c - i);
    const uint8_t* from = x + i;
    float* to = y + i;
    DW_VECTORIZE
    for (int64_t j = 0; j < width; j++) to[j] = static_cast<float>(from[j]) * a.data[j] + b.data[j];
  }
}

void channelMultiply(const float* x, const float* scale, float* y, int64_t rows, int64_t c) {
  const Pattern a(scale, c);
  for (int64_t i = 0; i < rows * c; i += a.width) {
    const int64_t width = least(a.width, rows * c - i);
    const float* from = x + i;
    float* to = y + i;
    DW_VECTORIZE
    for (int64_t j = 0; j < width; j++) to[j] = from[j] * a.data[j];
  }
}

void addBias(const float* x, const float* bias, float* y, int64_t rows, int64_t c) {
  const Pattern b(bias, c);
  for (int64_t i = 0; i < rows * c; i += b.width) {
    const int64_t width = least(b.width, rows * c - i);
    const float* from = x + i;
    float* to = y + i;
    DW_VECTORIZE
    for (int64_t j = 0; j < width; j++) to[j] = from[j] + b.data[j];
  }
}

void channelSums(const float* x, int64_t rows, int64_t c, int64_t stride, double* sums, double* squares) {
  for (int64_t j = 0; j < c; j++) sums[j] = 0;
  if (squares)
    for (int64_t j = 0; j < c; j++) squares[j] = 0;
  const bool ask = worthAsking(c);
  for (int64_t r = 0; r < rows; r += kFloatRows) {
    const int64_t count = least(kFloatRows, rows - r);
    const float* from = x + r * stride;
    if (squares && ask)
      overChannels(c, AddSums<true, true>{from, count, stride, sums, squares});
    else if (squares)
      overChannels(c, AddSums<true, false>{from, count, stride, sums, squares});
    else if (ask)
      overChannels(c, AddSums<false, true>{from, count, stride, sums, nullptr});
    else
      overChannels(c, AddSums<false, false>{from, count, stride, sums, nullptr});
  }
}

void channelGradSums(const float* g, const float* x, int64_t rows, int64_t c, double* sumG, double* sumGX) {
  for (int64_t j = 0; j < c; j++) sumG[j] = sumGX[j] = 0;
  const bool ask = worthAsking(c);
  for (int64_t r = 0; r < rows; r += kFloatRows) {
    const int64_t count = least(kFloatRows, rows - r), at = r * c;
    if (ask)
      overChannels(c, AddGradSums<true>{g + at, x + at, count, c, sumG, sumGX});
    else
      overChannels(c, AddGradSums<false>{g + at, x + at, count, c, sumG, sumGX});
  }
}

// In lanes of f32 over up to 1024 elements, these added up in f64.
void sumRun(const float* x, int64_t n, double* sum) {
  constexpr int64_t kLanes = 16, kSteps = 64;
  double total = 0;
  int64_t i = 0;
  while (i + kLanes <= n) {
    float lanes[kLanes] = {};
    const int64_t end = least(i + kLanes * kSteps, n - n % kLanes);
    for (; i < end; i += kLanes) DW_VECTORIZE
    for (int64_t j = 0; j < kLanes; j++) lanes[j] += x[i + j];
    for (int64_t j = 0; j < kLanes; j++) total += lanes[j];
  }
  for (; i < n; i++) total += x[i];
  *sum = total;
}

}  // namespace DW_ISA
}  // namespace dw::cpu
