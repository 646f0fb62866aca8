// Sums over any axes: partial sums over ranges of what is added up, then these in their order.
#ifndef DEPTHWISE_CUDA_KERNELS_REDUCE_CUH
#define DEPTHWISE_CUDA_KERNELS_REDUCE_CUH

#include "box.h"
#include "sums.cuh"
#include "types.cuh"

namespace dw::cuda {

// Positions in x of the results, and of what is added up to each: `from` strides of boxes.
struct ReduceShape {
  Box kept, reduced;
  int64_t keptCount, reducedCount;
};

__device__ __forceinline__ int64_t offsetOf(const Box& box, int64_t index) {
  int64_t to, from;
  box.locate(index, &to, &from);
  return from;
}

// A thread for each result and part: where the innermost axis is kept, neighbours read neighbours.
// partials[parts][kept], parts = gridDim.y
template <class T>
__global__ void reduceByThread(ReduceShape shape, const T* x, float* partials) {
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int64_t begin = shape.reducedCount * part / parts, end = shape.reducedCount * (part + 1) / parts;
  for (int64_t i = threadOfGrid(); i < shape.keptCount; i += threadsOfGrid()) {
    const T* from = x + offsetOf(shape.kept, i);
    Sum sum;
    for (int64_t r = begin; r < end; r++) sum.add(toFloat(from[offsetOf(shape.reduced, r)]));
    partials[shape.keptCount * part + i] = sum.value();
  }
}

// A block for each result and part: where the innermost axis is added up. blockDim.x is a power of two;
// shared[blockDim.x]
template <class T>
__global__ void reduceByBlock(ReduceShape shape, const T* x, float* partials) {
  float* shared = sharedMemory<float>();
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int64_t begin = shape.reducedCount * part / parts, end = shape.reducedCount * (part + 1) / parts;
  for (int64_t i = blockIdx.x; i < shape.keptCount; i += gridDim.x) {
    const T* from = x + offsetOf(shape.kept, i);
    Sum sum;
    for (int64_t r = begin + threadIdx.x; r < end; r += blockDim.x)
      sum.add(toFloat(from[offsetOf(shape.reduced, r)]));
    shared[threadIdx.x] = sum.value();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
      __syncthreads();
      if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) partials[shape.keptCount * part + i] = shared[0];
    __syncthreads();  // before the next result
  }
}

// y[kept] = the sum of partials[parts][kept]
template <class T>
__global__ void finishReduce(const float* partials, int64_t parts, int64_t kept, T* y) {
  for (int64_t i = threadOfGrid(); i < kept; i += threadsOfGrid()) {
    Sum sum;
    for (int64_t part = 0; part < parts; part++) sum.add(partials[kept * part + i]);
    y[i] = fromFloat<T>(sum.value());
  }
}

}  // namespace dw::cuda

#endif
