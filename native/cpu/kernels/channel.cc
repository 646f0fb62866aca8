// Loops over rows of channels: per-channel maps, and sums over the rows.
#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

// Rows shorter than this are taken several at a time, with the per-channel values repeated, so that vectors are full.
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

// Sums of up to this many rows are held in f32, then added up in f64: an error of about 1e-7 of the sum of magnitudes.
constexpr int64_t kFloatRows = 64;
constexpr int64_t kStrip = 1024;  // channels at a time, so that the running sums stay in the first-level cache

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <bool kSquares>
void sumStrip(const float* x, int64_t rows, int64_t c, int64_t stride, double* sums, double* squares) {
  float sum[kStrip], square[kStrip];
  for (int64_t j = 0; j < c; j++) sums[j] = 0;
  if (kSquares)
    for (int64_t j = 0; j < c; j++) squares[j] = 0;
  for (int64_t row = 0; row < rows; row += kFloatRows) {
    const int64_t end = least(row + kFloatRows, rows);
    for (int64_t j = 0; j < c; j++) sum[j] = square[j] = 0;
    int64_t r = row;
    for (; r + 4 <= end; r += 4) {
      const float *x0 = x + r * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
      DW_VECTORIZE for (int64_t j = 0; j < c; j++) {
        const float a0 = x0[j], a1 = x1[j], a2 = x2[j], a3 = x3[j];
        sum[j] += (a0 + a1) + (a2 + a3);
        if (kSquares) square[j] += (a0 * a0 + a1 * a1) + (a2 * a2 + a3 * a3);
      }
    }
    for (; r < end; r++) {
      const float* x0 = x + r * stride;
      DW_VECTORIZE for (int64_t j = 0; j < c; j++) {
        sum[j] += x0[j];
        if (kSquares) square[j] += x0[j] * x0[j];
      }
    }
    DW_VECTORIZE for (int64_t j = 0; j < c; j++) sums[j] += sum[j];
    if (kSquares) DW_VECTORIZE for (int64_t j = 0; j < c; j++) squares[j] += square[j];
  }
}

void gradSumStrip(const float* g, const float* x, int64_t rows, int64_t c, int64_t stride, double* sumG,
                  double* sumGX) {
  float sum[kStrip], product[kStrip];
  for (int64_t j = 0; j < c; j++) sumG[j] = sumGX[j] = 0;
  for (int64_t row = 0; row < rows; row += kFloatRows) {
    const int64_t end = least(row + kFloatRows, rows);
    for (int64_t j = 0; j < c; j++) sum[j] = product[j] = 0;
    int64_t r = row;
    for (; r + 2 <= end; r += 2) {
      const float *g0 = g + r * stride, *g1 = g0 + stride, *x0 = x + r * stride, *x1 = x0 + stride;
      DW_VECTORIZE for (int64_t j = 0; j < c; j++) {
        sum[j] += g0[j] + g1[j];
        product[j] += g0[j] * x0[j] + g1[j] * x1[j];
      }
    }
    for (; r < end; r++) {
      const float *g0 = g + r * stride, *x0 = x + r * stride;
      DW_VECTORIZE for (int64_t j = 0; j < c; j++) {
        sum[j] += g0[j];
        product[j] += g0[j] * x0[j];
      }
    }
    DW_VECTORIZE for (int64_t j = 0; j < c; j++) {
      sumG[j] += sum[j];
      sumGX[j] += product[j];
    }
  }
}

}  // namespace

void channelAffine(const float* x, const float* scale, const float* shift, float* y, int64_t rows, int64_t c) {
  const Pattern a(scale, c), b(shift, c);
  for (int64_t i = 0; i < rows * c; i += a.width) {
    const int64_t width = least(a.width, rows * c - i);
    const float* from = x + i;
    float* to = y + i;
    DW_VECTORIZE for (int64_t j = 0; j < width; j++) to[j] = from[j] * a.data[j] + b.data[j];
  }
}

void affineBytes(const uint8_t* x, const float* scale, const float* shift, float* y, int64_t rows, int64_t c) {
  const Pattern a(scale, c), b(shift, c);
  for (int64_t i = 0; i < rows * c; i += a.width) {
    const int64_t width = least(a.width, rows * c - i);
    const uint8_t* from = x + i;
    float* to = y + i;
    DW_VECTORIZE for (int64_t j = 0; j < width; j++) to[j] = static_cast<float>(from[j]) * a.data[j] + b.data[j];
  }
}

void channelMultiply(const float* x, const float* scale, float* y, int64_t rows, int64_t c) {
  const Pattern a(scale, c);
  for (int64_t i = 0; i < rows * c; i += a.width) {
    const int64_t width = least(a.width, rows * c - i);
    const float* from = x + i;
    float* to = y + i;
    DW_VECTORIZE for (int64_t j = 0; j < width; j++) to[j] = from[j] * a.data[j];
  }
}

void addBias(const float* x, const float* bias, float* y, int64_t rows, int64_t c) {
  const Pattern b(bias, c);
  for (int64_t i = 0; i < rows * c; i += b.width) {
    const int64_t width = least(b.width, rows * c - i);
    const float* from = x + i;
    float* to = y + i;
    DW_VECTORIZE for (int64_t j = 0; j < width; j++) to[j] = from[j] + b.data[j];
  }
}

void channelSums(const float* x, int64_t rows, int64_t c, int64_t stride, double* sums, double* squares) {
  for (int64_t j = 0; j < c; j += kStrip) {
    const int64_t width = least(kStrip, c - j);
    if (squares)
      sumStrip<true>(x + j, rows, width, stride, sums + j, squares + j);
    else
      sumStrip<false>(x + j, rows, width, stride, sums + j, nullptr);
  }
}

void channelGradSums(const float* g, const float* x, int64_t rows, int64_t c, double* sumG, double* sumGX) {
  for (int64_t j = 0; j < c; j += kStrip)
    gradSumStrip(g + j, x + j, rows, least(kStrip, c - j), c, sumG + j, sumGX + j);
}

// In lanes of f32 over 1024 elements (64 per lane), these added up in f64.
void sumRun(const float* x, int64_t n, double* sum) {
  constexpr int64_t kLanes = 16;
  double total = 0;
  int64_t i = 0;
  while (i + kLanes <= n) {
    float lanes[kLanes] = {};
    const int64_t end = least(i + kLanes * kFloatRows, n - n % kLanes);
    for (; i < end; i += kLanes) DW_VECTORIZE for (int64_t j = 0; j < kLanes; j++) lanes[j] += x[i + j];
    for (int64_t j = 0; j < kLanes; j++) total += lanes[j];
  }
  for (; i < n; i++) total += x[i];
  *sum = total;
}

}  // namespace DW_ISA
}  // namespace dw::cpu
