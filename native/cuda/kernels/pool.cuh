// Pooling over NHWC images: a thread for N channels of a pixel. Gradients gather: each input pixel adds up
// its windows in order, so the same bits come every time.
#ifndef DEPTHWISE_CUDA_KERNELS_POOL_CUH
#define DEPTHWISE_CUDA_KERNELS_POOL_CUH

#include "shapes.h"
#include "types.cuh"

namespace dw::cuda {

// Elements of a range of outputs or taps: [first, last).
struct Range {
  int first, last;
};

// The taps of a window that starts at `start` which lie in [0, extent).
__device__ __forceinline__ Range tapsInside(int64_t start, int64_t kernel, int64_t extent) {
  return {static_cast<int>(most(0, -start)), static_cast<int>(least(kernel, extent - start))};
}

// The windows that cover input position i.
__device__ __forceinline__ Range windowsOver(int64_t i, int64_t before, int64_t kernel, int64_t stride,
                                             int64_t outputs) {
  const int64_t position = i + before;  // in the padded input
  return {static_cast<int>(position < kernel ? 0 : (position - kernel) / stride + 1),
          static_cast<int>(least(outputs, position / stride + 1))};
}

// Where N channels of one pixel are, counted along channels, columns, rows, images.
struct Place {
  int64_t n, row, column, channel;
  __device__ Place(int64_t index, int64_t packs, int64_t columns, int64_t rows, int width) {
    channel = index % packs * width;
    index /= packs;
    column = index % columns;
    index /= columns;
    row = index % rows;
    n = index / rows;
  }
};

// What is done to the elements before their largest is chosen, and after: nothing, or an affine map and a
// residual.
template <class T>
struct PlainPool {
  template <int N>
  struct Channels {
    __device__ Channels(const PlainPool&, int64_t) {}
    __device__ void before(float (&)[N]) const {}
  };
  template <int N>
  __device__ void after(int64_t, float (&)[N]) const {}
};
template <class T>
struct AffineAddPool {
  const float *scale, *shift;
  const T* residual;
  template <int N>
  struct Channels {
    float scale[N], shift[N];
    __device__ Channels(const AffineAddPool& pool, int64_t channel) {
      load<N>(pool.scale + channel, scale);
      load<N>(pool.shift + channel, shift);
    }
    __device__ void before(float (&x)[N]) const {
#pragma unroll
      for (int j = 0; j < N; j++) x[j] = x[j] * scale[j] + shift[j];
    }
  };
  template <int N>
  __device__ void after(int64_t at, float (&y)[N]) const {
    float other[N];
    load<N>(residual + at, other);
#pragma unroll
    for (int j = 0; j < N; j++) y[j] += other[j];
  }
};

// The first of the largest elements wins; the first NaN wins over everything. y may be the residual.
template <int N, class T, class Map>
__global__ void maxPool(PoolShape p, Map map, const T* x, T* y, uint8_t* argmax) {
  const int64_t packs = p.c / N, count = p.n * p.oh * p.ow * packs;
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) {
    const Place place(i, packs, p.ow, p.oh, N);
    const int64_t top = place.row * p.strideH - p.top, left = place.column * p.strideW - p.left;
    const Range high = tapsInside(top, p.kernelH, p.h), wide = tapsInside(left, p.kernelW, p.w);
    const typename Map::template Channels<N> channels(map, place.channel);
    const T* corner = x + ((place.n * p.h + top) * p.w + left) * p.c + place.channel;
    float best[N] = {};
    int where[N] = {};
    for (int row = high.first; row < high.last; row++) {
      for (int column = wide.first; column < wide.last; column++) {
        float value[N];
        load<N>(corner + (row * p.w + column) * p.c, value);
        channels.before(value);
        const bool first = row == high.first && column == wide.first;
        const int tap = row * static_cast<int>(p.kernelW) + column;
#pragma unroll
        for (int j = 0; j < N; j++) {
          const bool better = first || value[j] > best[j] || (value[j] != value[j] && best[j] == best[j]);
          best[j] = better ? value[j] : best[j];
          where[j] = better ? tap : where[j];
        }
      }
    }
    const int64_t at = ((place.n * p.oh + place.row) * p.ow + place.column) * p.c + place.channel;
    map.after(at, best);
    store<N>(y + at, best);
    Pack<uint8_t, N> taps;
#pragma unroll
    for (int j = 0; j < N; j++) taps.values[j] = static_cast<uint8_t>(where[j]);
    *reinterpret_cast<Pack<uint8_t, N>*>(argmax + at) = taps;
  }
}

// The gradient at input row `row`, column `column` of image n.
template <int N, class T>
__device__ __forceinline__ void gatherMax(const PoolShape& p, const T* g, const uint8_t* argmax, int64_t n,
                                          int64_t row, int64_t column, int64_t channel, float (&dx)[N]) {
  const Range tall = windowsOver(row, p.top, p.kernelH, p.strideH, p.oh);
  const Range across = windowsOver(column, p.left, p.kernelW, p.strideW, p.ow);
#pragma unroll
  for (int j = 0; j < N; j++) dx[j] = 0.0f;
  for (int oy = tall.first; oy < tall.last; oy++) {
    const int64_t tapRow = row + p.top - oy * p.strideH;
    for (int ox = across.first; ox < across.last; ox++) {
      const int64_t at = ((n * p.oh + oy) * p.ow + ox) * p.c + channel;
      const int tap = static_cast<int>(tapRow * p.kernelW + column + p.left - ox * p.strideW);
      float value[N];
      load<N>(g + at, value);
      const Pack<uint8_t, N> taps = *reinterpret_cast<const Pack<uint8_t, N>*>(argmax + at);
#pragma unroll
      for (int j = 0; j < N; j++) dx[j] += taps.values[j] == tap ? value[j] : 0.0f;
    }
  }
}

template <int N, class T>
__global__ void maxPoolGrad(PoolShape p, const T* g, const uint8_t* argmax, T* dx) {
  const int64_t packs = p.c / N, count = p.n * p.h * p.w * packs;
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) {
    const Place place(i, packs, p.w, p.h, N);
    float sum[N];
    gatherMax<N>(p, g, argmax, place.n, place.row, place.column, place.channel, sum);
    store<N>(dx + i * N, sum);
  }
}

// For sums over the rows of an image's pixels: dx, written, and dx*x.
template <class T>
struct MaxPoolGradTerms {
  PoolShape p;
  const T* g;
  const uint8_t* argmax;
  const T* x;
  T* dx;
  template <int N>
  __device__ void terms(int64_t pixel, int64_t channel, float (&a)[N], float (&b)[N]) const {
    const int64_t line = pixel / p.w;
    gatherMax<N>(p, g, argmax, line / p.h, line % p.h, pixel % p.w, channel, a);
    store<N>(dx + pixel * p.c + channel, a);
    load<N>(x + pixel * p.c + channel, b);
#pragma unroll
    for (int j = 0; j < N; j++) a[j] = rounded<T>(a[j]), b[j] *= a[j];
  }
};

__device__ __forceinline__ float meanFactor(const PoolShape& p, const Range& high, const Range& wide) {
  const int inside = (high.last - high.first) * (wide.last - wide.first);
  return 1.0f / static_cast<float>(p.countPadding ? static_cast<int>(p.kernelH * p.kernelW) : inside);
}

template <int N, class T>
__global__ void avgPool(PoolShape p, const T* x, T* y) {
  const int64_t packs = p.c / N, count = p.n * p.oh * p.ow * packs;
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) {
    const Place place(i, packs, p.ow, p.oh, N);
    const int64_t top = place.row * p.strideH - p.top, left = place.column * p.strideW - p.left;
    const Range high = tapsInside(top, p.kernelH, p.h), wide = tapsInside(left, p.kernelW, p.w);
    const T* corner = x + ((place.n * p.h + top) * p.w + left) * p.c + place.channel;
    float sum[N] = {};
    for (int row = high.first; row < high.last; row++) {
      for (int column = wide.first; column < wide.last; column++) {
        float value[N];
        load<N>(corner + (row * p.w + column) * p.c, value);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += value[j];
      }
    }
    const float factor = meanFactor(p, high, wide);
#pragma unroll
    for (int j = 0; j < N; j++) sum[j] *= factor;
    store<N>(y + i * N, sum);
  }
}

template <int N, class T>
__global__ void avgPoolGrad(PoolShape p, const T* g, T* dx) {
  const int64_t packs = p.c / N, count = p.n * p.h * p.w * packs;
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) {
    const Place place(i, packs, p.w, p.h, N);
    const Range tall = windowsOver(place.row, p.top, p.kernelH, p.strideH, p.oh);
    const Range across = windowsOver(place.column, p.left, p.kernelW, p.strideW, p.ow);
    float sum[N] = {};
    for (int oy = tall.first; oy < tall.last; oy++) {
      const Range high = tapsInside(oy * p.strideH - p.top, p.kernelH, p.h);
      for (int ox = across.first; ox < across.last; ox++) {
        const float factor = meanFactor(p, high, tapsInside(ox * p.strideW - p.left, p.kernelW, p.w));
        float value[N];
        load<N>(g + ((place.n * p.oh + oy) * p.ow + ox) * p.c + place.channel, value);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += value[j] * factor;
      }
    }
    store<N>(dx + i * N, sum);
  }
}

// x[n,area,c] -> y[n,c], the means. A thread for N channels: area is small where this is used, and n*c large.
template <int N, class T>
__global__ void globalAvgPool(const T* x, T* y, int64_t n, int64_t area, int64_t c) {
  const int64_t packs = c / N;
  for (int64_t i = threadOfGrid(); i < n * packs; i += threadsOfGrid()) {
    const T* from = x + i / packs * area * c + i % packs * N;
    float sum[N] = {};
    for (int64_t pixel = 0; pixel < area; pixel++) {
      float value[N];
      load<N>(from + pixel * c, value);
#pragma unroll
      for (int j = 0; j < N; j++) sum[j] += value[j];
    }
    const float factor = 1.0f / static_cast<float>(area);
#pragma unroll
    for (int j = 0; j < N; j++) sum[j] *= factor;
    store<N>(y + i * N, sum);
  }
}

template <int N, class T>
__global__ void globalAvgPoolGrad(const T* g, T* dx, int64_t n, int64_t area, int64_t c) {
  const int64_t packs = c / N;
  const float factor = 1.0f / static_cast<float>(area);
  for (int64_t i = threadOfGrid(); i < n * area * packs; i += threadsOfGrid()) {
    float value[N];
    load<N>(g + i / packs / area * c + i % packs * N, value);
#pragma unroll
    for (int j = 0; j < N; j++) value[j] *= factor;
    store<N>(dx + i * N, value);
  }
}

}  // namespace dw::cuda

#endif
