// Sums over rows of channels, held in registers. Included by the kernel sources only.
#ifndef DEPTHWISE_CPU_KERNELS_SUMS_H
#define DEPTHWISE_CPU_KERNELS_SUMS_H

#include "vectors.h"

namespace dw::cpu {
namespace DW_ISA {

// Sums of up to this many rows are held in f32, then added up in f64: an error of about 1e-7 of the sum of
// magnitudes.
constexpr int64_t kFloatRows = 16;

// Rows longer than a block are walked block by block, a pattern that the processor does not foresee: the
// loops ask for the next rows themselves. It is a loss where rows are short (128 channels: 20 GB/s against
// 30; 728: 22 against 11).
inline bool worthAsking(int64_t c) { return c > 8 * kWidth; }

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

// Adds to sums of g and of g*x over rows of c channels.
inline void addGradSums(const float* g, const float* x, int64_t rows, int64_t c, double* sumG,
                        double* sumGX) {
  const bool ask = worthAsking(c);
  for (int64_t r = 0; r < rows; r += kFloatRows) {
    const int64_t count = rows - r < kFloatRows ? rows - r : kFloatRows, at = r * c;
    if (ask)
      overChannels(c, AddGradSums<true>{g + at, x + at, count, c, sumG, sumGX});
    else
      overChannels(c, AddGradSums<false>{g + at, x + at, count, c, sumG, sumGX});
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu

#endif
