// Ops whose every element is a function of the elements at its place.
#ifndef DEPTHWISE_CUDA_KERNELS_ELEMENTWISE_CUH
#define DEPTHWISE_CUDA_KERNELS_ELEMENTWISE_CUH

#include "types.cuh"

namespace dw::cuda {

// Functions of one or two elements, in f32. NaN passes through: a broken step must show in the loss.
struct Relu {
  __device__ float operator()(float x) const { return x < 0.0f ? 0.0f : x; }
};
struct ReluGrad {
  __device__ float operator()(float g, float y) const { return y > 0.0f ? g : 0.0f; }
};
struct Elu {
  float alpha;
  __device__ float operator()(float x) const { return x > 0.0f ? x : alpha * expm1f(x); }
};
struct EluGrad {
  float alpha;
  __device__ float operator()(float g, float y) const { return y > 0.0f ? g : g * (y + alpha); }
};
struct Sigmoid {
  __device__ float operator()(float x) const { return 1.0f / (1.0f + expf(-x)); }
};
struct SigmoidGrad {
  __device__ float operator()(float g, float y) const { return g * y * (1.0f - y); }
};
struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Subtract {
  __device__ float operator()(float a, float b) const { return a - b; }
};
struct Multiply {
  __device__ float operator()(float a, float b) const { return a * b; }
};
struct Scale {
  float factor;
  __device__ float operator()(float x) const { return x * factor; }
};
struct Square {
  __device__ float operator()(float x) const { return x * x; }
};

// y = f(a) or f(a, b), `count` elements. y may be a or b.
template <int kInputs, class F, class T>
__global__ void elementwise(F f, const T* a, const T* b, T* y, int64_t count) {
  constexpr int N = kWide<T>;
  const int64_t packs = count / N;
  for (int64_t i = threadOfGrid(); i < packs; i += threadsOfGrid()) {
    float first[N], second[N];
    load<N>(a + i * N, first);
    if constexpr (kInputs == 2) load<N>(b + i * N, second);
#pragma unroll
    for (int j = 0; j < N; j++) {
      if constexpr (kInputs == 2)
        first[j] = f(first[j], second[j]);
      else
        first[j] = f(first[j]);
    }
    store<N>(y + i * N, first);
  }
  // What does not fill a pack.
  const int64_t i = packs * N + threadOfGrid();
  if (i >= count) return;
  if constexpr (kInputs == 2)
    y[i] = fromFloat<T>(f(toFloat(a[i]), toFloat(b[i])));
  else
    y[i] = fromFloat<T>(f(toFloat(a[i])));
}

}  // namespace dw::cuda

#endif
