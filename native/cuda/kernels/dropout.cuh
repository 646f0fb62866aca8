// Dropout by Philox4x32-10 (Salmon et al., SC 2011): element i depends on seed, step and i alone.
#ifndef DEPTHWISE_CUDA_KERNELS_DROPOUT_CUH
#define DEPTHWISE_CUDA_KERNELS_DROPOUT_CUH

#include "types.cuh"

namespace dw::cuda {

// The four words of a counter under a key.
__device__ __forceinline__ void philox(uint32_t (&x)[4], uint32_t key0, uint32_t key1) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const uint32_t high0 = __umulhi(0xd2511f53u, x[0]), low0 = 0xd2511f53u * x[0];
    const uint32_t high1 = __umulhi(0xcd9e8d57u, x[2]), low1 = 0xcd9e8d57u * x[2];
    x[0] = high1 ^ x[1] ^ key0;
    x[1] = low1;
    x[2] = high0 ^ x[3] ^ key1;
    x[3] = low0;
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
}

// counter[2] = seed, step. A thread for four elements, which share a counter. y may be x.
template <class T>
__global__ void dropout(const T* x, const int32_t* counter, T* y, int64_t count, uint32_t stream,
                        uint32_t threshold, float scale) {
  const uint32_t seed = static_cast<uint32_t>(counter[0]), step = static_cast<uint32_t>(counter[1]);
  for (int64_t i = threadOfGrid(); i < (count + 3) / 4; i += threadsOfGrid()) {
    uint32_t words[4] = {static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), step, 0};
    philox(words, seed, stream);
    if (4 * i + 4 <= count) {
      float values[4];
      load<4>(x + 4 * i, values);
#pragma unroll
      for (int j = 0; j < 4; j++) values[j] = words[j] >= threshold ? values[j] * scale : 0.0f;
      store<4>(y + 4 * i, values);
      continue;
    }
    for (int j = 0; 4 * i + j < count; j++) {
      const float kept = toFloat(x[4 * i + j]) * scale;
      y[4 * i + j] = fromFloat<T>(words[j] >= threshold ? kept : 0.0f);
    }
  }
}

}  // namespace dw::cuda

#endif
