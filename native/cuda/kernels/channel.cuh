// Maps over rows of channels: each element with what belongs to its channel.
#ifndef DEPTHWISE_CUDA_KERNELS_CHANNEL_CUH
#define DEPTHWISE_CUDA_KERNELS_CHANNEL_CUH

#include "types.cuh"

namespace dw::cuda {

// Functions of elements x at one place and vectors v at its channel.
struct AffineMap {  // x, scale, shift
  static constexpr int kTensors = 1, kVectors = 2;
  __device__ float operator()(const float* x, const float* v) const { return x[0] * v[0] + v[1]; }
};
struct MultiplyMap {  // x, scale
  static constexpr int kTensors = 1, kVectors = 1;
  __device__ float operator()(const float* x, const float* v) const { return x[0] * v[0]; }
};
struct BiasMap {  // x, bias
  static constexpr int kTensors = 1, kVectors = 1;
  __device__ float operator()(const float* x, const float* v) const { return x[0] + v[0]; }
};
struct Affine2Map {  // a, b, p, q, r
  static constexpr int kTensors = 2, kVectors = 3;
  __device__ float operator()(const float* x, const float* v) const {
    return x[0] * v[0] + x[1] * v[1] + v[2];
  }
};
struct AffineReluMap {  // x, scale, shift
  static constexpr int kTensors = 1, kVectors = 2;
  __device__ float operator()(const float* x, const float* v) const {
    const float a = x[0] * v[0] + v[1];
    return a < 0.0f ? 0.0f : a;
  }
};
struct AffineAddMap {  // x, residual, scale, shift
  static constexpr int kTensors = 2, kVectors = 2;
  __device__ float operator()(const float* x, const float* v) const { return x[0] * v[0] + v[1] + x[1]; }
};
template <bool kRelu>
struct BiasReluMap {  // x, bias
  static constexpr int kTensors = 1, kVectors = 1;
  __device__ float operator()(const float* x, const float* v) const {
    const float a = x[0] + v[0];
    return kRelu && a < 0.0f ? 0.0f : a;
  }
};
template <bool kRelu>
struct BiasAddMap {  // x, residual, bias
  static constexpr int kTensors = 2, kVectors = 1;
  __device__ float operator()(const float* x, const float* v) const {
    const float a = x[0] + v[0] + x[1];
    return kRelu && a < 0.0f ? 0.0f : a;
  }
};

// From tensors of S and vectors of V to a tensor of T, which may be one of the inputs.
template <class S, class V, class T, int kTensors, int kVectors>
struct ChannelOperands {
  const S* tensors[kTensors];
  const V* vectors[kVectors];
  T* y;
};

// rows x c elements, in packs of N along the channels. A thread stays with its channels: the grid has at
// least c/N threads, and those that do not make whole rows are idle.
template <int N, class F, class S, class V, class T>
__global__ void channelMap(F f, ChannelOperands<S, V, T, F::kTensors, F::kVectors> operands, int64_t rows,
                           int64_t c) {
  const int64_t packs = c / N, stride = threadsOfGrid() / packs;
  const int64_t thread = threadOfGrid(), first = thread / packs;
  if (first >= stride) return;
  const int64_t channel = thread % packs * N;
  float vectors[F::kVectors][N];
#pragma unroll
  for (int v = 0; v < F::kVectors; v++) load<N>(operands.vectors[v] + channel, vectors[v]);
  for (int64_t row = first; row < rows; row += stride) {
    const int64_t at = row * c + channel;
    float tensors[F::kTensors][N], y[N];
#pragma unroll
    for (int t = 0; t < F::kTensors; t++) load<N>(operands.tensors[t] + at, tensors[t]);
#pragma unroll
    for (int j = 0; j < N; j++) {
      float x[F::kTensors], v[F::kVectors];
#pragma unroll
      for (int t = 0; t < F::kTensors; t++) x[t] = tensors[t][j];
#pragma unroll
      for (int k = 0; k < F::kVectors; k++) v[k] = vectors[k][j];
      y[j] = f(x, v);
    }
    store<N>(operands.y + at, y);
  }
}

}  // namespace dw::cuda

#endif
