// Depthwise convolutions of any window, with an affine map and ReLU on load, and their gradients: the general
// form. A thread for N channels of a pixel.
#ifndef DEPTHWISE_CUDA_KERNELS_DEPTHWISE_CUH
#define DEPTHWISE_CUDA_KERNELS_DEPTHWISE_CUH

#include "shapes.h"
#include "sums.cuh"
#include "types.cuh"

namespace dw::cuda {

// w[c][taps] -> taps f32[taps][c], so that channels are neighbours; the last tap first where `flip`.
template <class T>
__global__ void transposeTaps(const T* w, float* taps, int64_t c, int64_t count, bool flip) {
  for (int64_t i = threadOfGrid(); i < c * count; i += threadsOfGrid()) {
    const int64_t tap = i / c;
    taps[i] = toFloat(w[i % c * count + (flip ? count - 1 - tap : tap)]);
  }
}

// Where N channels of one pixel are, counted along channels, columns, rows, images.
struct PackPlace {
  int64_t n, row, column, channel;
  __device__ PackPlace(int64_t index, int64_t packs, int64_t columns, int64_t rows, int width) {
    channel = index % packs * width;
    index /= packs;
    column = index % columns;
    index /= columns;
    row = index % rows;
    n = index / rows;
  }
};

// What an image passes before it is convolved. scale is NULL where there is no affine map.
struct OnLoad {
  const float *scale, *shift;
  bool relu;
};

template <int N>
struct ChannelsOnLoad {
  float scale[N], shift[N];
  bool affine, relu;
  __device__ ChannelsOnLoad(const OnLoad& map, int64_t channel)
      : affine(map.scale != nullptr), relu(map.relu) {
    if (!affine) return;
    load<N>(map.scale + channel, scale);
    load<N>(map.shift + channel, shift);
  }
  __device__ float before(float x, int j) const { return affine ? x * scale[j] + shift[j] : x; }
  __device__ float operator()(float x, int j) const {
    const float a = before(x, j);
    return relu && a < 0.0f ? 0.0f : a;
  }
  // Whether the gradient passes at x.
  __device__ bool passes(float x, int j) const { return !relu || before(x, j) > 0.0f; }
};

// y[n,oh,ow,c] of x[n,h,w,c]; taps f32[kernelH*kernelW][c].
template <int N, class T>
__global__ void depthwise(ConvolutionShape p, OnLoad map, const T* x, const float* taps, T* y) {
  const int64_t packs = p.c / N, count = p.n * p.oh * p.ow * packs;
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) {
    const PackPlace place(i, packs, p.ow, p.oh, N);
    const ChannelsOnLoad<N> channels(map, place.channel);
    float sum[N] = {};
    for (int64_t kh = 0; kh < p.kernelH; kh++) {
      const int64_t row = place.row * p.window.strideH - p.window.top + kh * p.dilationH;
      if (row < 0 || row >= p.h) continue;
      for (int64_t kw = 0; kw < p.kernelW; kw++) {
        const int64_t column = place.column * p.window.strideW - p.window.left + kw * p.dilationW;
        if (column < 0 || column >= p.w) continue;
        float value[N], weight[N];
        load<N>(x + ((place.n * p.h + row) * p.w + column) * p.c + place.channel, value);
        load<N>(taps + (kh * p.kernelW + kw) * p.c + place.channel, weight);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += rounded<T>(channels(value[j], j)) * weight[j];
      }
    }
    store<N>(y + i * N, sum);
  }
}

// The gradient of the image before it is masked: of N channels of one pixel.
template <int N, class T>
__device__ __forceinline__ void gatherDepthwise(const ConvolutionShape& p, const T* g, const float* taps,
                                                int64_t n, int64_t h, int64_t w, int64_t channel,
                                                float (&sum)[N]) {
#pragma unroll
  for (int j = 0; j < N; j++) sum[j] = 0.0f;
  for (int64_t kh = 0; kh < p.kernelH; kh++) {
    const int64_t row = h + p.window.top - kh * p.dilationH;
    if (row < 0 || row % p.window.strideH != 0 || row / p.window.strideH >= p.oh) continue;
    for (int64_t kw = 0; kw < p.kernelW; kw++) {
      const int64_t column = w + p.window.left - kw * p.dilationW;
      if (column < 0 || column % p.window.strideW != 0 || column / p.window.strideW >= p.ow) continue;
      float value[N], weight[N];
      load<N>(g + ((n * p.oh + row / p.window.strideH) * p.ow + column / p.window.strideW) * p.c + channel,
              value);
      load<N>(taps + (kh * p.kernelW + kw) * p.c + channel, weight);
#pragma unroll
      for (int j = 0; j < N; j++) sum[j] += value[j] * weight[j];
    }
  }
}

// Over the pixels of x: dx where the gradient passes, written, and dx*x; with a residual added to what is
// written.
template <class T>
struct DepthwiseGradTerms {
  ConvolutionShape p;
  OnLoad map;
  const T *g, *x;  // x is NULL where the gradient passes everywhere, and its products are not wanted
  const float* taps;
  const T* residual;  // or NULL
  T* dx;
  template <int N>
  struct Of {
    struct Read {};
    static constexpr int kAhead = 1;
    const DepthwiseGradTerms& o;
    int64_t channel;
    ChannelsOnLoad<N> channels;
    __device__ Of(const DepthwiseGradTerms& source, int64_t channel)
        : o(source), channel(channel), channels(source.map, channel) {}
    __device__ void read(int64_t, Read&) const {}
    __device__ void terms(int64_t pixel, const Read&, float (&a)[N], float (&b)[N]) const {
      const int64_t line = pixel / o.p.w, at = pixel * o.p.c + channel;
      gatherDepthwise<N>(o.p, o.g, o.taps, line / o.p.h, line % o.p.h, pixel % o.p.w, channel, a);
      if (o.x != nullptr) load<N>(o.x + at, b);
      float written[N] = {};
      if (o.residual != nullptr) load<N>(o.residual + at, written);
#pragma unroll
      for (int j = 0; j < N; j++) {
        a[j] = o.x == nullptr || channels.passes(b[j], j) ? rounded<T>(a[j]) : 0.0f;
        b[j] = o.x == nullptr ? 0.0f : b[j] * a[j];
        written[j] += a[j];
      }
      store<N>(o.dx + at, written);
    }
  };
};

// The same without sums.
template <int N, class T>
__global__ void depthwiseInputGrad(DepthwiseGradTerms<T> terms) {
  const int64_t packs = terms.p.c / N, count = terms.p.n * terms.p.h * terms.p.w * packs;
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) {
    using Of = typename DepthwiseGradTerms<T>::template Of<N>;
    float a[N], b[N];
    Of(terms, i % packs * N).terms(i / packs, {}, a, b);
  }
}

// The weights' gradient: for tap blockIdx.z, sums over the pixels of y of g times what the tap sees of the
// image. As a source of partialSums, whose second sum is unused.
template <class T>
struct DepthwiseWeightTerms {
  ConvolutionShape p;
  OnLoad map;
  const T *x, *g;
  int64_t kh, kw;
  template <int N>
  struct Of {
    struct Read {};
    static constexpr int kAhead = 1;
    const DepthwiseWeightTerms& o;
    int64_t channel;
    ChannelsOnLoad<N> channels;
    __device__ Of(const DepthwiseWeightTerms& source, int64_t channel)
        : o(source), channel(channel), channels(source.map, channel) {}
    __device__ void read(int64_t, Read&) const {}
    __device__ void terms(int64_t pixel, const Read&, float (&a)[N], float (&b)[N]) const {
      const ConvolutionShape& p = o.p;
      const int64_t line = pixel / p.ow;
      const int64_t row = line % p.oh * p.window.strideH - p.window.top + o.kh * p.dilationH;
      const int64_t column = pixel % p.ow * p.window.strideW - p.window.left + o.kw * p.dilationW;
#pragma unroll
      for (int j = 0; j < N; j++) a[j] = b[j] = 0.0f;
      if (row < 0 || row >= p.h || column < 0 || column >= p.w) return;
      load<N>(o.g + pixel * p.c + channel, a);
      load<N>(o.x + ((line / p.oh * p.h + row) * p.w + column) * p.c + channel, b);
#pragma unroll
      for (int j = 0; j < N; j++) a[j] *= rounded<T>(channels(b[j], j)), b[j] = 0.0f;
    }
  };
};

// partials[parts][2][c] of one tap -> dw[c][taps]; shared[height][width]
template <class T>
__global__ void finishTap(const float* partials, int64_t parts, int64_t c, T* dw, int64_t taps, int64_t tap) {
  const int64_t j = threadOfGrid();
  Sum sum;
  if (j < c) addColumn(sum, partials + j, parts, 2 * c);
  sum = overRows(sum, sharedMemory<Sum>());
  if (threadIdx.y == 0 && j < c) dw[j * taps + tap] = fromFloat<T>(sum.value());
}

}  // namespace dw::cuda

#endif
