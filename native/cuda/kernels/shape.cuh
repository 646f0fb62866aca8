// Moving, repeating and converting elements.
#ifndef DEPTHWISE_CUDA_KERNELS_SHAPE_CUH
#define DEPTHWISE_CUDA_KERNELS_SHAPE_CUH

#include "box.h"
#include "types.cuh"

namespace dw::cuda {

// Elements as what they are in memory, or several at a time: U has 1 to 16 bytes. The box counts in U.
template <class U>
__global__ void copyBox(Box box, U* to, const U* from, int64_t count) {
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) {
    int64_t target, source;
    box.locate(i, &target, &source);
    to[target] = from[source];
  }
}

template <class U>
__global__ void fill(U* to, U value, int64_t count) {
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) to[i] = value;
}

// Conversions. To an integer: truncates towards zero and saturates; NaN is 0.
template <class To>
struct Conversion {
  static __device__ To from(float x) { return fromFloat<To>(x); }
};
template <>
struct Conversion<int32_t> {
  static __device__ int32_t from(float x) {
    if (x >= 2147483648.0f) return 2147483647;
    if (x <= -2147483648.0f) return -2147483647 - 1;
    return x == x ? static_cast<int32_t>(x) : 0;
  }
};
template <>
struct Conversion<uint8_t> {
  static __device__ uint8_t from(float x) {
    const float inside = x > 0.0f ? x < 255.0f ? x : 255.0f : 0.0f;
    return static_cast<uint8_t>(inside);
  }
};

template <class From, class To>
__device__ __forceinline__ To converted(From x) {
  if constexpr (sizeof(From) == sizeof(To) && std::is_same_v<From, To>)
    return x;
  else if constexpr (std::is_same_v<From, int32_t>)
    return Conversion<To>::from(static_cast<float>(x));
  else
    return Conversion<To>::from(toFloat(x));
}

template <class From, class To>
__global__ void cast(const From* x, To* y, int64_t count) {
  constexpr int N = 16 / (sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));
  const int64_t packs = count / N;
  for (int64_t i = threadOfGrid(); i < packs; i += threadsOfGrid()) {
    const Pack<From, N> from = *reinterpret_cast<const Pack<From, N>*>(x + i * N);
    Pack<To, N> to;
#pragma unroll
    for (int j = 0; j < N; j++) to.values[j] = converted<From, To>(from.values[j]);
    *reinterpret_cast<Pack<To, N>*>(y + i * N) = to;
  }
  const int64_t i = packs * N + threadOfGrid();
  if (i < count) y[i] = converted<From, To>(x[i]);
}

}  // namespace dw::cuda

#endif
