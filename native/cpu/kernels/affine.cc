// Affine maps per channel with what comes before or after them, in one pass.
#include "kernels.h"
#include "pattern.h"
#include "sums.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

// Calls body(i, count) for pieces of `width` of all n elements.
template <class Body>
inline void overPieces(int64_t n, int64_t width, const Body& body) {
  for (int64_t i = 0; i < n; i += width) body(i, n - i < width ? n - i : width);
}

// Whether all pieces of y begin at a cache line.
inline bool aligned(const float* y, int64_t width) {
  return reinterpret_cast<uintptr_t>(y) % 64 == 0 && width % 16 == 0;
}

template <int W>
inline void put(float* to, typename Lanes<W>::Float value, bool stream) {
  if (stream)
    Lanes<W>::stream(to, value);
  else
    Lanes<W>::store(to, value);
}

template <bool kStream>
struct Affine2 {
  const float *a, *b, *p, *q, *r;
  float* y;

  template <int W>
  void run(int64_t j) const {
    const auto first = Lanes<W>::load(a + j) * Lanes<W>::load(p + j) + Lanes<W>::load(r + j);
    put<W>(y + j, first + Lanes<W>::load(b + j) * Lanes<W>::load(q + j), kStream);
  }
};

template <bool kStream>
struct AffineRelu {
  const float *x, *scale, *shift;
  float* y;

  template <int W>
  void run(int64_t j) const {
    const auto a = Lanes<W>::load(x + j) * Lanes<W>::load(scale + j) + Lanes<W>::load(shift + j);
    put<W>(y + j, Lanes<W>::relu(a), kStream);
  }
};

struct AffineAdd {
  const float *x, *scale, *shift, *residual;
  float* y;

  template <int W>
  void run(int64_t j) const {
    const auto a = Lanes<W>::load(x + j) * Lanes<W>::load(scale + j) + Lanes<W>::load(shift + j);
    Lanes<W>::store(y + j, a + Lanes<W>::load(residual + j));
  }
};

// A few rows: the masked gradient, and its sums.
struct MaskAndSum {
  const float *g, *x, *scale, *shift;
  float* dx;
  int64_t rows, c;
  double *sumG, *sumGX;

  template <int W, int N>
  void run(int64_t j) const {
    typename Lanes<W>::Float sum[N] = {}, product[N] = {};
    for (int64_t r = 0; r < rows; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) {
        const int64_t channel = j + i * W, at = r * c + channel;
        const auto value = Lanes<W>::load(x + at);
        const auto a = value * Lanes<W>::load(scale + channel) + Lanes<W>::load(shift + channel);
        const auto masked = a > 0 ? Lanes<W>::load(g + at) : typename Lanes<W>::Float{};
        Lanes<W>::store(dx + at, masked);
        sum[i] += masked;
        product[i] += masked * value;
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

void channelAffine2(const float* a, const float* b, const float* p, const float* q, const float* r, float* y,
                    int64_t rows, int64_t c, bool stream) {
  const Pattern first(p, c), second(q, c), third(r, c);
  const bool streams = stream && aligned(y, first.width);
  overPieces(rows * c, first.width, [&](int64_t i, int64_t count) {
    if (streams)
      overVectors(count, Affine2<true>{a + i, b + i, first.data, second.data, third.data, y + i});
    else
      overVectors(count, Affine2<false>{a + i, b + i, first.data, second.data, third.data, y + i});
  });
  if (streams) finishStreams();
}

void affineRelu(const float* x, const float* scale, const float* shift, float* y, int64_t rows, int64_t c,
                bool stream) {
  const Pattern a(scale, c), b(shift, c);
  const bool streams = stream && aligned(y, a.width);
  overPieces(rows * c, a.width, [&](int64_t i, int64_t count) {
    if (streams)
      overVectors(count, AffineRelu<true>{x + i, a.data, b.data, y + i});
    else
      overVectors(count, AffineRelu<false>{x + i, a.data, b.data, y + i});
  });
  if (streams) finishStreams();
}

void affineAdd(const float* x, const float* scale, const float* shift, const float* residual, float* y,
               int64_t rows, int64_t c) {
  const Pattern a(scale, c), b(shift, c);
  overPieces(rows * c, a.width, [&](int64_t i, int64_t count) {
    overVectors(count, AffineAdd{x + i, a.data, b.data, residual + i, y + i});
  });
}

void affineReluGrad(const float* g, const float* x, const float* scale, const float* shift, float* dx,
                    int64_t rows, int64_t c, double* sumG, double* sumGX) {
  for (int64_t j = 0; j < c; j++) sumG[j] = sumGX[j] = 0;
  for (int64_t r = 0; r < rows; r += kFloatRows) {
    const int64_t count = rows - r < kFloatRows ? rows - r : kFloatRows, at = r * c;
    overChannels(c, MaskAndSum{g + at, x + at, scale, shift, dx + at, count, c, sumG, sumGX});
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
