// Sums per channel over rows: partial sums by blocks in the order of the rows, then the partials in their
// order. No atomics, so the same bits every time.
#ifndef DEPTHWISE_CUDA_KERNELS_SUMS_CUH
#define DEPTHWISE_CUDA_KERNELS_SUMS_CUH

#include "types.cuh"

namespace dw::cuda {

// A sum in f32 that keeps what rounding takes from it (Knuth's two-sum): many rows lose no more than few.
struct Sum {
  float total = 0.0f, lost = 0.0f;
  __device__ __forceinline__ void add(float x) {
    const float sum = total + x, part = sum - total;
    lost += (total - (sum - part)) + (x - part);
    total = sum;
  }
  __device__ __forceinline__ void add(const Sum& other) {
    add(other.total);
    lost += other.lost;
  }
  __device__ __forceinline__ float value() const { return total + lost; }
};

// Rows that are added up plainly before they go into a Sum.
constexpr int kPlainRows = 16;

// How the sums over `rows` x `c` are divided: blocks of `width` x `height` threads, a thread for N channels;
// `parts` blocks behind one another.
struct SumsGrid {
  unsigned width, height, columns, parts;
};

// The terms of both sums at a row, N channels from `channel` on: a source has
//   void terms(int64_t row, int64_t channel, float (&first)[N], float (&second)[N]) const
// and may write results on the way.
template <int N, class Source>
__global__ void partialSums(Source source, int64_t rows, int64_t c, float* partials) {
  const int64_t channel = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  const bool inside = channel < c;
  const int64_t begin = rows * blockIdx.y / gridDim.y, end = rows * (blockIdx.y + 1) / gridDim.y;
  Sum first[N], second[N];
  if (inside) {
    for (int64_t row = begin + threadIdx.y; row < end; row += kPlainRows * blockDim.y) {
      float plainFirst[N] = {}, plainSecond[N] = {};
      const int64_t last = least(end, row + kPlainRows * blockDim.y);
      for (int64_t r = row; r < last; r += blockDim.y) {
        float a[N], b[N];
        source.terms(r, channel, a, b);
#pragma unroll
        for (int j = 0; j < N; j++) plainFirst[j] += a[j], plainSecond[j] += b[j];
      }
#pragma unroll
      for (int j = 0; j < N; j++) first[j].add(plainFirst[j]), second[j].add(plainSecond[j]);
    }
  }
  // Over the rows of threads, halves onto halves. shared[height][2][width * N]
  float* shared = sharedMemory<float>();
  const int line = static_cast<int>(blockDim.x) * N, at = static_cast<int>(threadIdx.x) * N;
  float* own = shared + static_cast<int>(threadIdx.y) * 2 * line + at;
#pragma unroll
  for (int j = 0; j < N; j++) own[j] = first[j].value(), own[line + j] = second[j].value();
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y >= half) continue;
    const float* other = own + static_cast<int>(half) * 2 * line;
#pragma unroll
    for (int j = 0; j < N; j++) own[j] += other[j], own[line + j] += other[line + j];
  }
  if (threadIdx.y != 0 || !inside) return;
  float* to = partials + 2 * c * blockIdx.y + channel;
#pragma unroll
  for (int j = 0; j < N; j++) to[j] = own[j], to[c + j] = own[line + j];
}

// The sum of a column of threads, in a fixed order, for the first row; shared[height][width]
__device__ __forceinline__ Sum overRows(const Sum& own, Sum* shared) {
  Sum* at = shared + threadIdx.y * blockDim.x + threadIdx.x;
  *at = own;
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) at->add(at[half * blockDim.x]);
  }
  return *at;
}

// partials[parts][2][c] -> first[c], second[c]; shared[2][height][width]. A thread for each channel
// and every height-th part. A template only so that it may stand in a header.
template <class = void>
__global__ void finishSums(const float* partials, int64_t parts, int64_t c, float* first, float* second) {
  const int64_t j = threadOfGrid();
  Sum a, b;
  if (j < c) {
    for (int64_t part = threadIdx.y; part < parts; part += blockDim.y) {
      a.add(partials[2 * c * part + j]);
      b.add(partials[2 * c * part + c + j]);
    }
  }
  Sum* shared = sharedMemory<Sum>();
  a = overRows(a, shared);
  b = overRows(b, shared + blockDim.x * blockDim.y);
  if (threadIdx.y != 0 || j >= c) return;
  first[j] = a.value();
  second[j] = b.value();
}

// x and x*x.
template <class T>
struct SquareTerms {
  const T* x;
  int64_t c;
  template <int N>
  __device__ void terms(int64_t row, int64_t channel, float (&a)[N], float (&b)[N]) const {
    load<N>(x + row * c + channel, a);
#pragma unroll
    for (int j = 0; j < N; j++) b[j] = a[j] * a[j];
  }
};

// g and g*x.
template <class T>
struct ProductTerms {
  const T *g, *x;
  int64_t c;
  template <int N>
  __device__ void terms(int64_t row, int64_t channel, float (&a)[N], float (&b)[N]) const {
    load<N>(g + row * c + channel, a);
    load<N>(x + row * c + channel, b);
#pragma unroll
    for (int j = 0; j < N; j++) b[j] *= a[j];
  }
};

// dx = g where x*scale + shift > 0, written; dx and dx*x.
template <class T>
struct MaskedTerms {
  const T *g, *x;
  const float *scale, *shift;
  T* dx;
  int64_t c;
  template <int N>
  __device__ void terms(int64_t row, int64_t channel, float (&a)[N], float (&b)[N]) const {
    float factor[N], offset[N];
    load<N>(g + row * c + channel, a);
    load<N>(x + row * c + channel, b);
    load<N>(scale + channel, factor);
    load<N>(shift + channel, offset);
#pragma unroll
    for (int j = 0; j < N; j++) {
      a[j] = b[j] * factor[j] + offset[j] > 0.0f ? a[j] : 0.0f;
      b[j] *= a[j];
    }
    store<N>(dx + row * c + channel, a);
  }
};

}  // namespace dw::cuda

#endif
