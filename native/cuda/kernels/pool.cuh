// Pooling over NHWC images: a thread for N channels of a pixel. Gradients gather: each input pixel adds up
// its windows in order, so the same bits come every time.
//
//   grid    (x: packs of N channels of an image's pixels, y: images)
#ifndef DEPTHWISE_CUDA_KERNELS_POOL_CUH
#define DEPTHWISE_CUDA_KERNELS_POOL_CUH

#include "divisor.cuh"
#include "shapes.h"
#include "types.cuh"

namespace dw::cuda {

// A pooling, for kernels: an image has fewer than 2^30 elements, so that places in it are of 32 bits.
struct PoolImage {
  int h, w, c, oh, ow, kernelH, kernelW, strideH, strideW, top, left;
  bool countPadding;
  Divisor perStrideH, perStrideW;
  explicit PoolImage(const PoolShape& p)
      : h(static_cast<int>(p.h)),
        w(static_cast<int>(p.w)),
        c(static_cast<int>(p.c)),
        oh(static_cast<int>(p.oh)),
        ow(static_cast<int>(p.ow)),
        kernelH(static_cast<int>(p.kernelH)),
        kernelW(static_cast<int>(p.kernelW)),
        strideH(static_cast<int>(p.strideH)),
        strideW(static_cast<int>(p.strideW)),
        top(static_cast<int>(p.top)),
        left(static_cast<int>(p.left)),
        countPadding(p.countPadding),
        perStrideH(p.strideH),
        perStrideW(p.strideW) {}
};

// The places of the tensor that has a thread for each N of its channels: x's, or y's.
struct Places {
  Divisor packs, columns;
  int count;             // of an image
  int64_t size, images;  // elements of an image
  Places(int64_t n, int64_t height, int64_t width, int64_t c, int N)
      : packs(c / N),
        columns(width),
        count(static_cast<int>(height * width * c / N)),
        size(height * width * c),
        images(n) {}
};

template <int N>
struct Place {
  int row, column, channel, at;  // at: of the elements of the image
  __device__ Place(const Places& places, int index) : channel(index), at(index * N) {
    column = places.packs.split(channel);
    row = places.columns.split(column);
    channel *= N;
  }
};

// f(image, place) for the thread's share of all places.
template <int N, class F>
__device__ __forceinline__ void forPlaces(const Places& places, const F& f) {
  const int step = static_cast<int>(threadsOfGrid());
  for (int64_t n = blockIdx.y; n < places.images; n += gridDim.y)
    for (int i = static_cast<int>(threadOfGrid()); i < places.count; i += step) f(n, Place<N>(places, i));
}

// Elements of a range of outputs or taps: [first, last).
struct Range {
  int first, last;
};

__device__ __forceinline__ int lesser(int a, int b) { return a < b ? a : b; }

// The taps of a window that starts at `start` which lie in [0, extent).
__device__ __forceinline__ Range tapsInside(int start, int kernel, int extent) {
  return {start < 0 ? -start : 0, lesser(kernel, extent - start)};
}

// The windows that cover input position i.
__device__ __forceinline__ Range windowsOver(int i, int before, int kernel, const Divisor& stride,
                                             int outputs) {
  const int position = i + before;  // in the padded input
  return {position < kernel ? 0 : stride.divide(position - kernel) + 1,
          lesser(outputs, stride.divide(position) + 1)};
}

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
__global__ void maxPool(PoolImage p, Places places, Map map, const T* __restrict__ x, T* y,
                        uint8_t* __restrict__ argmax) {
  forPlaces<N>(places, [&](int64_t n, const Place<N>& place) {
    const int top = place.row * p.strideH - p.top, left = place.column * p.strideW - p.left;
    const Range high = tapsInside(top, p.kernelH, p.h), wide = tapsInside(left, p.kernelW, p.w);
    const typename Map::template Channels<N> channels(map, place.channel);
    const T* image = x + n * p.h * p.w * p.c + place.channel;
    float best[N] = {};
    int where[N] = {};
    for (int row = high.first; row < high.last; row++) {
      for (int column = wide.first; column < wide.last; column++) {
        float value[N];
        load<N>(image + ((top + row) * p.w + left + column) * p.c, value);
        channels.before(value);
        const bool first = row == high.first && column == wide.first;
        const int tap = row * p.kernelW + column;
#pragma unroll
        for (int j = 0; j < N; j++) {
          const bool better = first || value[j] > best[j] || (value[j] != value[j] && best[j] == best[j]);
          best[j] = better ? value[j] : best[j];
          where[j] = better ? tap : where[j];
        }
      }
    }
    const int64_t at = n * places.size + place.at;
    map.after(at, best);
    store<N>(y + at, best);
    Pack<uint8_t, N> taps;
#pragma unroll
    for (int j = 0; j < N; j++) taps.values[j] = static_cast<uint8_t>(where[j]);
    *reinterpret_cast<Pack<uint8_t, N>*>(argmax + at) = taps;
  });
}

// The gradient at N channels of input row `row`, column `column`; g and argmax of the image, from these
// channels on.
template <int N, class T>
__device__ __forceinline__ void gatherMax(const PoolImage& p, const T* g, const uint8_t* argmax, int row,
                                          int column, float (&dx)[N]) {
  const Range tall = windowsOver(row, p.top, p.kernelH, p.perStrideH, p.oh);
  const Range across = windowsOver(column, p.left, p.kernelW, p.perStrideW, p.ow);
#pragma unroll
  for (int j = 0; j < N; j++) dx[j] = 0.0f;
  for (int oy = tall.first; oy < tall.last; oy++) {
    const int tapRow = row + p.top - oy * p.strideH;
    for (int ox = across.first; ox < across.last; ox++) {
      const int at = (oy * p.ow + ox) * p.c;
      const int tap = tapRow * p.kernelW + column + p.left - ox * p.strideW;
      float value[N];
      load<N>(g + at, value);
      const Pack<uint8_t, N> taps = *reinterpret_cast<const Pack<uint8_t, N>*>(argmax + at);
#pragma unroll
      for (int j = 0; j < N; j++) dx[j] += taps.values[j] == tap ? value[j] : 0.0f;
    }
  }
}

template <int N, class T>
__global__ void maxPoolGrad(PoolImage p, Places places, const T* __restrict__ g,
                            const uint8_t* __restrict__ argmax, T* __restrict__ dx) {
  forPlaces<N>(places, [&](int64_t n, const Place<N>& place) {
    const int64_t pooled = n * p.oh * p.ow * p.c + place.channel;
    float sum[N];
    gatherMax<N>(p, g + pooled, argmax + pooled, place.row, place.column, sum);
    store<N>(dx + n * places.size + place.at, sum);
  });
}

// For sums over the rows of an image's pixels, of which there are fewer than 2^31: dx, written, and dx*x.
template <class T>
struct MaxPoolGradTerms {
  PoolImage p;
  Divisor columns, pixels;  // w, h*w
  const T* g;
  const uint8_t* argmax;
  const T* x;
  T* dx;
  template <int N>
  struct Of {
    using Read = Raw<N, T>;
    static constexpr int kAhead = 2;
    const MaxPoolGradTerms& o;
    int64_t channel;
    __device__ Of(const MaxPoolGradTerms& source, int64_t channel) : o(source), channel(channel) {}
    __device__ void read(int64_t pixel, Read& raw) const { raw.read(o.x + pixel * o.p.c + channel); }
    __device__ void terms(int64_t pixel, const Read& raw, float (&a)[N], float (&b)[N]) const {
      int column = static_cast<int>(pixel);
      const int n = o.pixels.split(column), row = o.columns.split(column);
      const int64_t pooled = static_cast<int64_t>(n) * o.p.oh * o.p.ow * o.p.c + channel;
      gatherMax<N>(o.p, o.g + pooled, o.argmax + pooled, row, column, a);
      store<N>(o.dx + pixel * o.p.c + channel, a);
      raw.get(b);
#pragma unroll
      for (int j = 0; j < N; j++) a[j] = rounded<T>(a[j]), b[j] *= a[j];
    }
  };
};

__device__ __forceinline__ float meanFactor(const PoolImage& p, const Range& high, const Range& wide) {
  const int inside = (high.last - high.first) * (wide.last - wide.first);
  return 1.0f / static_cast<float>(p.countPadding ? p.kernelH * p.kernelW : inside);
}

template <int N, class T>
__global__ void avgPool(PoolImage p, Places places, const T* __restrict__ x, T* __restrict__ y) {
  forPlaces<N>(places, [&](int64_t n, const Place<N>& place) {
    const int top = place.row * p.strideH - p.top, left = place.column * p.strideW - p.left;
    const Range high = tapsInside(top, p.kernelH, p.h), wide = tapsInside(left, p.kernelW, p.w);
    const T* image = x + n * p.h * p.w * p.c + place.channel;
    float sum[N] = {};
    for (int row = high.first; row < high.last; row++) {
      for (int column = wide.first; column < wide.last; column++) {
        float value[N];
        load<N>(image + ((top + row) * p.w + left + column) * p.c, value);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += value[j];
      }
    }
    const float factor = meanFactor(p, high, wide);
#pragma unroll
    for (int j = 0; j < N; j++) sum[j] *= factor;
    store<N>(y + n * places.size + place.at, sum);
  });
}

template <int N, class T>
__global__ void avgPoolGrad(PoolImage p, Places places, const T* __restrict__ g, T* __restrict__ dx) {
  forPlaces<N>(places, [&](int64_t n, const Place<N>& place) {
    const Range tall = windowsOver(place.row, p.top, p.kernelH, p.perStrideH, p.oh);
    const Range across = windowsOver(place.column, p.left, p.kernelW, p.perStrideW, p.ow);
    const T* image = g + n * p.oh * p.ow * p.c + place.channel;
    float sum[N] = {};
    for (int oy = tall.first; oy < tall.last; oy++) {
      const Range high = tapsInside(oy * p.strideH - p.top, p.kernelH, p.h);
      for (int ox = across.first; ox < across.last; ox++) {
        const float factor = meanFactor(p, high, tapsInside(ox * p.strideW - p.left, p.kernelW, p.w));
        float value[N];
        load<N>(image + (oy * p.ow + ox) * p.c, value);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += value[j] * factor;
      }
    }
    store<N>(dx + n * places.size + place.at, sum);
  });
}

// x[n,area,c] -> y[n,c], the means. A thread for N channels: area is small where this is used, and n*c large.
// Eight pixels are on their way at once.
template <int N, class T>
__global__ void globalAvgPool(const T* __restrict__ x, T* __restrict__ y, int64_t n, int64_t area,
                              int64_t c) {
  constexpr int kAhead = 8;
  const int64_t packs = c / N;
  for (int64_t i = threadOfGrid(); i < n * packs; i += threadsOfGrid()) {
    const T* from = x + i / packs * area * c + i % packs * N;
    float sum[N] = {};
    for (int64_t pixel = 0; pixel < area; pixel += kAhead) {
      Raw<N, T> raw[kAhead];
#pragma unroll
      for (int k = 0; k < kAhead; k++)
        if (pixel + k < area) raw[k].read(from + (pixel + k) * c);
#pragma unroll
      for (int k = 0; k < kAhead; k++) {
        if (pixel + k >= area) continue;
        float value[N];
        raw[k].get(value);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += value[j];
      }
    }
    const float factor = 1.0f / static_cast<float>(area);
#pragma unroll
    for (int j = 0; j < N; j++) sum[j] *= factor;
    store<N>(y + i * N, sum);
  }
}

// `places` of dx[n,1,area,c]
template <int N, class T>
__global__ void globalAvgPoolGrad(Places places, const T* __restrict__ g, T* __restrict__ dx, int64_t c,
                                  float factor) {
  forPlaces<N>(places, [&](int64_t n, const Place<N>& place) {
    float value[N];
    load<N>(g + n * c + place.channel, value);
#pragma unroll
    for (int j = 0; j < N; j++) value[j] *= factor;
    store<N>(dx + n * places.size + place.at, value);
  });
}

}  // namespace dw::cuda

#endif
