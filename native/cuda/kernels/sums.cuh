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

// What is summed up. A source has a template Of<N>, which a thread makes of the source and the first of its N
// channels, with
//   struct Read                                  what a row needs from memory
//   static constexpr int kAhead                  so many rows are read before the first of them is used
//   void read(int64_t row, Read&) const
//   void terms(int64_t row, const Read&, float (&first)[N], float (&second)[N]) const
// of which the last gives the terms of both sums at a row, and may write results on the way.
template <int N, class Source>
__global__ void partialSums(Source source, int64_t rows, int64_t c, float* partials) {
  using Of = typename Source::template Of<N>;
  constexpr int kAhead = Of::kAhead;
  static_assert(kPlainRows % kAhead == 0, "whole groups of rows");
  const int64_t channel = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  const bool inside = channel < c;
  const int64_t begin = rows * blockIdx.y / gridDim.y, end = rows * (blockIdx.y + 1) / gridDim.y;
  const int64_t step = blockDim.y;
  Sum first[N], second[N];
  if (inside) {
    const Of of(source, channel);
    int64_t row = begin + threadIdx.y;
    while (row < end) {
      float plainFirst[N] = {}, plainSecond[N] = {};
      for (int plain = 0; plain < kPlainRows && row < end; plain += kAhead, row += kAhead * step) {
        typename Of::Read read[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; i++)
          if (row + i * step < end) of.read(row + i * step, read[i]);
#pragma unroll
        for (int i = 0; i < kAhead; i++) {
          if (row + i * step >= end) continue;
          float a[N], b[N];
          of.terms(row + i * step, read[i], a, b);
#pragma unroll
          for (int j = 0; j < N; j++) plainFirst[j] += a[j], plainSecond[j] += b[j];
        }
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

// Adds every blockDim.y-th of `count` values, which are `stride` apart, in their order, from that of the
// thread's row on. Eight are on their way at once.
__device__ __forceinline__ void addColumn(Sum& sum, const float* __restrict__ from, int64_t count,
                                          int64_t stride) {
  constexpr int kAhead = 8;
  const int64_t step = blockDim.y;
  int64_t part = threadIdx.y;
  for (; part + (kAhead - 1) * step < count; part += kAhead * step) {
    float values[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; i++) values[i] = from[(part + i * step) * stride];
#pragma unroll
    for (int i = 0; i < kAhead; i++) sum.add(values[i]);
  }
  for (; part < count; part += step) sum.add(from[part * stride]);
}

// partials[parts][2][c] -> first[c], second[c]; shared[2][height][width]. A thread for each channel
// and every height-th part. A template only so that it may stand in a header.
template <class = void>
__global__ void finishSums(const float* partials, int64_t parts, int64_t c, float* first, float* second) {
  const int64_t j = threadOfGrid();
  Sum a, b;
  if (j < c) {
    addColumn(a, partials + j, parts, 2 * c);
    addColumn(b, partials + c + j, parts, 2 * c);
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
  struct Of {
    using Read = Raw<N, T>;
    static constexpr int kAhead = 4;
    const T* x;
    int64_t c;
    __device__ Of(const SquareTerms& source, int64_t channel) : x(source.x + channel), c(source.c) {}
    __device__ void read(int64_t row, Read& raw) const { raw.read(x + row * c); }
    __device__ void terms(int64_t, const Read& raw, float (&a)[N], float (&b)[N]) const {
      raw.get(a);
#pragma unroll
      for (int j = 0; j < N; j++) b[j] = a[j] * a[j];
    }
  };
};

// g and g*x.
template <class T>
struct ProductTerms {
  const T *g, *x;
  int64_t c;
  template <int N>
  struct Of {
    struct Read {
      Raw<N, T> g, x;
    };
    static constexpr int kAhead = 4;
    const T *g, *x;
    int64_t c;
    __device__ Of(const ProductTerms& source, int64_t channel)
        : g(source.g + channel), x(source.x + channel), c(source.c) {}
    __device__ void read(int64_t row, Read& raw) const { raw.g.read(g + row * c), raw.x.read(x + row * c); }
    __device__ void terms(int64_t, const Read& raw, float (&a)[N], float (&b)[N]) const {
      raw.g.get(a);
      raw.x.get(b);
#pragma unroll
      for (int j = 0; j < N; j++) b[j] *= a[j];
    }
  };
};

// dx = g where x*scale + shift > 0, written; dx and dx*x. dx may be g.
template <class T>
struct MaskedTerms {
  const T *g, *x;
  const float *scale, *shift;
  T* dx;
  int64_t c;
  template <int N>
  struct Of : ProductTerms<T>::template Of<N> {
    using Products = typename ProductTerms<T>::template Of<N>;
    using typename Products::Read;
    static constexpr int kAhead = 2;  // with more, a multiprocessor would hold half as many threads
    float factor[N], offset[N];
    T* dx;
    __device__ Of(const MaskedTerms& source, int64_t channel)
        : Products({source.g, source.x, source.c}, channel), dx(source.dx + channel) {
      load<N>(source.scale + channel, factor);
      load<N>(source.shift + channel, offset);
    }
    __device__ void terms(int64_t row, const Read& raw, float (&a)[N], float (&b)[N]) const {
      raw.g.get(a);
      raw.x.get(b);
#pragma unroll
      for (int j = 0; j < N; j++) {
        a[j] = b[j] * factor[j] + offset[j] > 0.0f ? a[j] : 0.0f;
        b[j] *= a[j];
      }
      store<N>(dx + row * this->c, a);
    }
  };
};

}  // namespace dw::cuda

#endif
