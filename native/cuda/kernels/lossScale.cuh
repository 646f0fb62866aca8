// Dynamic loss scaling. Formulas: depthwise_ops.h. Nothing goes to the host: a step that overflowed is undone by choosing
// the old values.
#ifndef DEPTHWISE_CUDA_KERNELS_LOSS_SCALE_CUH
#define DEPTHWISE_CUDA_KERNELS_LOSS_SCALE_CUH

#include "types.cuh"

namespace dw::cuda {

// `count` elements of U, which may hold several of the tensor's. y may be a or b: then what is there already stays.
template <class U>
__global__ void select(const float* condition, const U* a, const U* b, U* y, int64_t count) {
  const U* from = *condition != 0.0f ? a : b;
  if (from == y) return;
  for (int64_t i = threadOfGrid(); i < count; i += threadsOfGrid()) y[i] = from[i];
}

// NaN compares false with everything.
__device__ __forceinline__ bool isFinite(float x) { return fabsf(x) <= 3.402823466e38f; }

// `overflow` is 0 before; threads that find something all write the same. y may be g.
template <class T>
__global__ void unscale(const T* g, const float* scale, float* y, float* overflow, int64_t count) {
  constexpr int N = 4;
  const float inverse = 1.0f / *scale;
  bool finite = true;
  for (int64_t i = threadOfGrid() * N; i < count; i += threadsOfGrid() * N) {
    if (i + N <= count) {
      float values[N];
      load<N>(g + i, values);
#pragma unroll
      for (int j = 0; j < N; j++) {
        finite = finite && isFinite(values[j]);
        values[j] *= inverse;
      }
      store<N>(y + i, values);
      continue;
    }
    for (int64_t j = i; j < count; j++) {
      const float value = toFloat(g[j]);
      finite = finite && isFinite(value);
      y[j] = value * inverse;
    }
  }
  if (!finite) *overflow = 1.0f;
}

// State of the scale: its value, good steps since it changed, steps skipped.
struct LossScale {
  const float *scale, *good, *skipped, *overflow;
  float *newScale, *newGood, *newSkipped;
};

// By one thread. Outputs may be the inputs that they succeed.
static __global__ void lossScaleUpdate(LossScale s, float growth, float backoff, float interval) {
  float scale = *s.scale, good = *s.good, skipped = *s.skipped;
  if (*s.overflow != 0.0f) {
    scale *= backoff;
    good = 0.0f;
    skipped += 1.0f;
  } else if (good + 1.0f < interval) {
    good += 1.0f;
  } else {
    if (isFinite(scale * growth)) scale *= growth;
    good = 0.0f;
  }
  *s.newScale = scale, *s.newGood = good, *s.newSkipped = skipped;
}

}  // namespace dw::cuda

#endif
