// Softmax and the cross-entropies of softmax and sigmoid: a block for each row of classes. Stable: the row's
// largest logit is subtracted first. Formulas: depthwise_ops.h. Gradients may be written over the logits.
#ifndef DEPTHWISE_CUDA_KERNELS_LOSS_CUH
#define DEPTHWISE_CUDA_KERNELS_LOSS_CUH

#include "report.h"
#include "types.cuh"

namespace dw::cuda {

constexpr int kLossThreads = 128, kLossWarps = kLossThreads / 32;

struct Larger {
  __device__ float operator()(float a, float b) const { return b > a ? b : a; }
};
struct Plus {
  __device__ float operator()(float a, float b) const { return a + b; }
};

// Every thread's value combined, for every thread; shared[kLossWarps]. In one order, so with the same bits
// every time.
template <class Combine>
__device__ float combineBlock(float value, Combine combine, float* shared) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2)
    value = combine(value, __shfl_xor_sync(kWholeWarp, value, lanes));
  __syncthreads();  // whoever reads what was combined before is done
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  float result = shared[0];
#pragma unroll
  for (int warp = 1; warp < kLossWarps; warp++) result = combine(result, shared[warp]);
  return result;
}

// f(j) for the thread's own elements of the row, combined over the block.
template <class Combine, class Function>
__device__ float combineRow(int64_t c, float start, Combine combine, float* shared, const Function& f) {
  float value = start;
  for (int64_t j = threadIdx.x; j < c; j += kLossThreads) value = combine(value, f(j));
  return combineBlock(value, combine, shared);
}

template <class T>
struct SoftmaxRow {
  const T* x;
  float largest, sum;  // the sum of exp(x - largest)

  __device__ SoftmaxRow(const T* row, int64_t c, float* shared) : x(row) {
    // From the first element: a row of nothing but NaN is NaN.
    largest = combineRow(c, toFloat(row[0]), Larger{}, shared, [&](int64_t j) { return toFloat(row[j]); });
    sum = combineRow(c, 0.0f, Plus{}, shared, [&](int64_t j) { return expf(toFloat(row[j]) - largest); });
  }
  __device__ float probability(int64_t j) const { return expf(toFloat(x[j]) - largest) / sum; }
};

// shared[kLossWarps]
template <class T>
__global__ void __launch_bounds__(kLossThreads) softmax(const T* x, T* y, int64_t rows, int64_t c) {
  float* shared = sharedMemory<float>();
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const SoftmaxRow<T> softmax(x + row * c, c, shared);
    for (int64_t j = threadIdx.x; j < c; j += kLossThreads)
      y[row * c + j] = fromFloat<T>(softmax.probability(j));
  }
}

template <class T>
__global__ void __launch_bounds__(kLossThreads)
    softmaxGrad(const T* g, const T* y, T* dx, int64_t rows, int64_t c) {
  float* shared = sharedMemory<float>();
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t first = row * c;
    const float inner = combineRow(c, 0.0f, Plus{}, shared,
                                   [&](int64_t j) { return toFloat(g[first + j]) * toFloat(y[first + j]); });
    for (int64_t j = first + threadIdx.x; j < first + c; j += kLossThreads)
      dx[j] = fromFloat<T>(toFloat(y[j]) * (toFloat(g[j]) - inner));
  }
}

// Whether the label is a class; reports it where it is not. By one thread.
__device__ inline bool checkLabel(Report* report, int op, int32_t label, int64_t row, int64_t c) {
  if (label >= 0 && label < c) return true;
  if (threadIdx.x == 0 && atomicCAS(&report->op, 0, op) == 0) {
    report->label = label;
    report->index = row;
    report->classes = c;
  }
  return false;
}

// loss[rows] = log(sum of exp) - (1 - smoothing)*logit - smoothing * mean of the logits, all less the
// largest.
template <class T>
__global__ void __launch_bounds__(kLossThreads)
    softmaxCrossEntropy(const T* logits, const int32_t* labels, float* loss, int64_t rows, int64_t c,
                        float smoothing, Report* report, int op) {
  float* shared = sharedMemory<float>();
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* x = logits + row * c;
    const SoftmaxRow<T> softmax(x, c, shared);
    float all = 0.0f;
    if (smoothing != 0.0f)
      all = combineRow(c, 0.0f, Plus{}, shared, [&](int64_t j) { return toFloat(x[j]) - softmax.largest; });
    const int32_t label = labels[row];
    const bool valid = checkLabel(report, op, label, row, c);
    if (threadIdx.x != 0) continue;
    const float chosen = valid ? toFloat(x[label]) - softmax.largest : nanf("");
    loss[row] = logf(softmax.sum) - (1.0f - smoothing) * chosen - smoothing * (all / static_cast<float>(c));
  }
}

template <class T>
__global__ void __launch_bounds__(kLossThreads)
    softmaxCrossEntropyGrad(const float* g, const T* logits, const int32_t* labels, T* dlogits, int64_t rows,
                            int64_t c, float smoothing, Report* report, int op) {
  float* shared = sharedMemory<float>();
  const float share = smoothing / static_cast<float>(c);
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const SoftmaxRow<T> softmax(logits + row * c, c, shared);
    const int32_t label = labels[row];
    const float gradient = checkLabel(report, op, label, row, c) ? g[row] : nanf("");
    for (int64_t j = threadIdx.x; j < c; j += kLossThreads) {
      const float target = share + (j == label ? 1.0f - smoothing : 0.0f);
      dlogits[row * c + j] = fromFloat<T>(gradient * (softmax.probability(j) - target));
    }
  }
}

// loss[rows] = the mean over the classes of max(z, 0) - z*target + log(1 + exp(-|z|)).
template <class T>
__global__ void __launch_bounds__(kLossThreads)
    sigmoidCrossEntropy(const T* logits, const float* targets, float* loss, int64_t rows, int64_t c,
                        float smoothing) {
  float* shared = sharedMemory<float>();
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t first = row * c;
    const float total = combineRow(c, 0.0f, Plus{}, shared, [&](int64_t j) {
      const float z = toFloat(logits[first + j]);
      const float target = targets[first + j] * (1.0f - smoothing) + smoothing / 2;
      return (z < 0.0f ? 0.0f : z) - z * target + log1pf(expf(-fabsf(z)));  // NaN stays
    });
    if (threadIdx.x == 0) loss[row] = total / static_cast<float>(c);
  }
}

template <class T>
__global__ void sigmoidCrossEntropyGrad(const float* g, const T* logits, const float* targets, T* dlogits,
                                        int64_t rows, int64_t c, float smoothing) {
  const float share = 1.0f / static_cast<float>(c);
  for (int64_t i = threadOfGrid(); i < rows * c; i += threadsOfGrid()) {
    const float target = targets[i] * (1.0f - smoothing) + smoothing / 2;
    const float probability = 1.0f / (1.0f + expf(-toFloat(logits[i])));
    dlogits[i] = fromFloat<T>(g[i / c] * share * (probability - target));
  }
}

}  // namespace dw::cuda

#endif
