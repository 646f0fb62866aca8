// Filters of inference programs.
#ifndef DEPTHWISE_CUDA_KERNELS_FILTERS_CUH
#define DEPTHWISE_CUDA_KERNELS_FILTERS_CUH

#include "types.cuh"

namespace dw::cuda {

// w[o][size] times scale[o].
template <class T>
__global__ void filterMultiply(const T* w, const float* scale, T* y, int64_t o, int64_t size) {
  for (int64_t i = threadOfGrid(); i < o * size; i += threadsOfGrid())
    y[i] = fromFloat<T>(toFloat(w[i]) * scale[i / size]);
}

}  // namespace dw::cuda

#endif
