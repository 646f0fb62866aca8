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

// Adds the terms begin, begin + step, and so on below `end`, in their order. Four are on their way at once.
template <class T>
__device__ __forceinline__ void addTerms(Sum& sum, const T* __restrict__ from, const Box& terms,
                                         int64_t begin, int64_t end, int64_t step) {
  constexpr int kAhead = 4;
  for (int64_t r = begin; r < end; r += kAhead * step) {
    float values[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; i++)
      if (r + i * step < end) values[i] = toFloat(from[offsetOf(terms, r + i * step)]);
#pragma unroll
    for (int i = 0; i < kAhead; i++)
      if (r + i * step < end) sum.add(values[i]);
  }
}

// A thread for each result and part: where the innermost axis is kept, neighbours read neighbours.
// partials[parts][kept], parts = gridDim.y
template <class T>
__global__ void reduceByThread(ReduceShape shape, const T* x, float* partials) {
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int64_t begin = shape.reducedCount * part / parts, end = shape.reducedCount * (part + 1) / parts;
  for (int64_t i = threadOfGrid(); i < shape.keptCount; i += threadsOfGrid()) {
    Sum sum;
    addTerms(sum, x + offsetOf(shape.kept, i), shape.reduced, begin, end, 1);
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
    Sum sum;
    addTerms(sum, x + offsetOf(shape.kept, i), shape.reduced, begin + threadIdx.x, end, blockDim.x);
    shared[threadIdx.x] = sum.value();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
      __syncthreads();
      if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) partials[shape.keptCount * part + i] = shared[0];
    __syncthreads();  // before the next result
  }
}

// y[kept] = the sum of partials[parts][kept]; blocks have one row of threads
template <class T>
__global__ void finishReduce(const float* partials, int64_t parts, int64_t kept, T* y) {
  for (int64_t i = threadOfGrid(); i < kept; i += threadsOfGrid()) {
    Sum sum;
    addColumn(sum, partials + i, parts, kept);
    y[i] = fromFloat<T>(sum.value());
  }
}

}  // namespace dw::cuda

#endif
