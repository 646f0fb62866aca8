// Whether a step may change anything, and by what its gradient is multiplied. Formula: depthwise_ops.h. Nothing goes to the
// host: updates read the factor from the device's memory.
#ifndef DEPTHWISE_CUDA_KERNELS_GRADIENT_GATE_CUH
#define DEPTHWISE_CUDA_KERNELS_GRADIENT_GATE_CUH

#include <cmath>

#include "types.cuh"

namespace dw::cuda {

// The sum over the threads of a block, for its first thread. blockDim.x is a power of two; shared[blockDim.x]
__device__ __forceinline__ double overBlock(double own, double* shared) {
  shared[threadIdx.x] = own;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  return shared[0];
}

// partials[gridDim.x]: the sums of squares of what each block reads, in f64, where no square of an f32 overflows.
static __global__ void squares(const float* g, int64_t count, double* partials) {
  constexpr int N = 4;
  double sum = 0;
  for (int64_t i = threadOfGrid() * N; i < count; i += threadsOfGrid() * N) {
    if (i + N <= count) {
      float values[N];
      load<N>(g + i, values);
#pragma unroll
      for (int j = 0; j < N; j++) sum += static_cast<double>(values[j]) * values[j];
      continue;
    }
    for (int64_t j = i; j < count; j++) sum += static_cast<double>(g[j]) * g[j];
  }
  const double total = overBlock(sum, sharedMemory<double>());
  if (threadIdx.x == 0) partials[blockIdx.x] = total;
}

// By one block.
static __global__ void gradientGate(const double* partials, int64_t parts, const float* loss, double clip,
                                    double count, float* factor, float* norm, float* skip) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < parts; i += blockDim.x) sum += partials[i];
  const double total = overBlock(sum, sharedMemory<double>());
  if (threadIdx.x != 0) return;
  const double length = sqrt(total) / count;
  const bool good = length - length == 0 && *loss - *loss == 0;  // both finite
  *factor = good ? static_cast<float>((clip > 0 && length > clip ? clip / length : 1) / count) : NAN;
  *norm = static_cast<float>(length);
  *skip = good ? 0.0f : 1.0f;
}

}  // namespace dw::cuda

#endif
