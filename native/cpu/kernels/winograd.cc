// The transforms of 3x3 convolutions by Winograd's minimal filtering F(2x2, 3x3): Lavin & Gray 2016, "Fast
// Algorithms for Convolutional Neural Networks", section 4.1. Filters are transformed once and are not here.
//
// A tile is 4x4 pixels that are read, or 2x2 that are written; its 16 transformed values lie `tiles` apart,
// so that each of them is the left matrix of a product: [16][tiles][channels].
#include "kernels.h"
#include "vectors.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

// B^T d B of one tile: inputs of 4x4 pixels.
struct TransformInput {
  const float* pixels[4][4];
  float* to;
  int64_t stride;  // from one transformed value to the next

  template <int W>
  void run(int64_t j) const {
    typedef typename Lanes<W>::Float Float;
    Float rows[4][4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      Float d[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) d[i] = Lanes<W>::load(pixels[i][q] + j);
      rows[0][q] = d[0] - d[2];
      rows[1][q] = d[1] + d[2];
      rows[2][q] = d[2] - d[1];
      rows[3][q] = d[1] - d[3];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const Float* r = rows[i];
      float* at = to + 4 * i * stride + j;
      Lanes<W>::store(at, r[0] - r[2]);
      Lanes<W>::store(at + stride, r[1] + r[2]);
      Lanes<W>::store(at + 2 * stride, r[2] - r[1]);
      Lanes<W>::store(at + 3 * stride, r[1] - r[3]);
    }
  }
};

// A g A^T of one tile: gradients of 2x2 pixels.
struct TransformGradient {
  const float* pixels[2][2];
  float* to;
  int64_t stride;

  template <int W>
  void run(int64_t j) const {
    typedef typename Lanes<W>::Float Float;
    Float rows[4][2];
#pragma GCC unroll 2
    for (int q = 0; q < 2; q++) {
      const Float a = Lanes<W>::load(pixels[0][q] + j), b = Lanes<W>::load(pixels[1][q] + j);
      rows[0][q] = a;
      rows[1][q] = a + b;
      rows[2][q] = a - b;
      rows[3][q] = -b;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const Float a = rows[i][0], b = rows[i][1];
      float* at = to + 4 * i * stride + j;
      Lanes<W>::store(at, a);
      Lanes<W>::store(at + stride, a + b);
      Lanes<W>::store(at + 2 * stride, a - b);
      Lanes<W>::store(at + 3 * stride, -b);
    }
  }
};

// A^T m A of one tile: up to 2x2 pixels of results.
struct TransformOutput {
  const float* from;
  int64_t stride;
  float* y;
  int64_t rowStride, c;
  bool below, right;  // whether the second row and column are inside the image
  const float* bias;  // or NULL
  bool relu;
  float *sums, *squares;  // of the results, added to; or NULL

  template <int W>
  void run(int64_t j) const {
    typedef typename Lanes<W>::Float Float;
    Float columns[2][4], pixel[2][2];
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      const float* at = from + q * stride + j;
      const Float m0 = Lanes<W>::load(at), m1 = Lanes<W>::load(at + 4 * stride);
      const Float m2 = Lanes<W>::load(at + 8 * stride), m3 = Lanes<W>::load(at + 12 * stride);
      columns[0][q] = m0 + m1 + m2;
      columns[1][q] = m1 - m2 - m3;
    }
    Float sum = {}, square = {};
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
      const Float* m = columns[i];
      pixel[i][0] = m[0] + m[1] + m[2];
      pixel[i][1] = m[1] - m[2] - m[3];
#pragma GCC unroll 2
      for (int q = 0; q < 2; q++) {
        if ((i > 0 && !below) || (q > 0 && !right)) continue;
        Float value = pixel[i][q];
        if (bias) value += Lanes<W>::load(bias + j);
        if (relu) value = Lanes<W>::relu(value);
        Lanes<W>::store(y + i * rowStride + q * c + j, value);
        sum += value, square += value * value;
      }
    }
    if (!sums) return;
    Lanes<W>::store(sums + j, Lanes<W>::load(sums + j) + sum);
    Lanes<W>::store(squares + j, Lanes<W>::load(squares + j) + square);
  }
};

// Calls body(tile, row, column) for each tile of `t`, counted from its first; row and column are the tile's.
template <class Body>
inline void overTiles(const WinogradTiles& t, const Body& body) {
  int64_t row = t.begin / t.across, column = t.begin % t.across;
  for (int64_t tile = 0; tile < t.end - t.begin; tile++) {
    body(tile, row, column);
    if (++column == t.across) column = 0, row++;
  }
}

}  // namespace

void winogradInput(const WinogradTiles& t, const float* x, const float* zeros, float* to) {
  overTiles(t, [&](int64_t tile, int64_t row, int64_t column) {
    TransformInput transform;
    for (int64_t i = 0; i < 4; i++) {
      const int64_t y = 2 * row + i - t.top;
      for (int64_t q = 0; q < 4; q++) {
        const int64_t at = 2 * column + q - t.left;
        const bool inside = y >= 0 && y < t.h && at >= 0 && at < t.w;
        transform.pixels[i][q] = inside ? x + (y * t.w + at) * t.c : zeros;
      }
    }
    transform.to = to + tile * t.c;
    transform.stride = (t.end - t.begin) * t.c;
    overVectors(t.c, transform);
  });
}

void winogradGradient(const WinogradTiles& t, const float* g, const float* zeros, float* to) {
  overTiles(t, [&](int64_t tile, int64_t row, int64_t column) {
    TransformGradient transform;
    for (int64_t i = 0; i < 2; i++) {
      for (int64_t q = 0; q < 2; q++) {
        const int64_t y = 2 * row + i, at = 2 * column + q;
        transform.pixels[i][q] = y < t.h && at < t.w ? g + (y * t.w + at) * t.c : zeros;
      }
    }
    transform.to = to + tile * t.c;
    transform.stride = (t.end - t.begin) * t.c;
    overVectors(t.c, transform);
  });
}

void winogradOutput(const WinogradTiles& t, const float* products, const float* bias, bool relu, float* y,
                    float* sums, float* squares) {
  overTiles(t, [&](int64_t tile, int64_t row, int64_t column) {
    overVectors(t.c, TransformOutput{products + tile * t.c, (t.end - t.begin) * t.c,
                                     y + (2 * row * t.w + 2 * column) * t.c, t.w * t.c, t.c,
                                     2 * row + 1 < t.h, 2 * column + 1 < t.w, bias, relu, sums, squares});
  });
}

}  // namespace DW_ISA
}  // namespace dw::cpu
