// Loops over rows of channels: per-channel maps, and sums over the rows.
#include "kernels.h"
#include "pattern.h"
#include "sums.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

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
  addGradSums(g, x, rows, c, sumG, sumGX);
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

// In f64, where no square of an f32 overflows.
void sumSquares(const float* x, int64_t n, double* sum) {
  constexpr int64_t kLanes = 16;
  double lanes[kLanes] = {}, total = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) DW_VECTORIZE
  for (int64_t j = 0; j < kLanes; j++) lanes[j] += static_cast<double>(x[i + j]) * x[i + j];
  for (int64_t j = 0; j < kLanes; j++) total += lanes[j];
  for (; i < n; i++) total += static_cast<double>(x[i]) * x[i];
  *sum = total;
}

}  // namespace DW_ISA
}  // namespace dw::cpu
