// Depthwise convolutions with a 3x3 window, stride 1 and results as large as the image, and their gradients:
// each element of the large tensors is read from memory about once.
//
// A thread has N channels of a strip of kStrip columns and walks down the rows, of image after image, with
// what it needs of three rows in registers and the next row on its way. Images lie behind one another, so
// that all rows of a batch are one sequence, which is divided evenly: blocks begin and end inside of images.
//
//   block   (x: packs of N channels, y: strips)
//   grid    (x: tiles of channels, y: tiles of strips, z: ranges of rows)
#ifndef DEPTHWISE_CUDA_KERNELS_DEPTHWISE3X3_CUH
#define DEPTHWISE_CUDA_KERNELS_DEPTHWISE3X3_CUH

#include <type_traits>

#include "depthwise.cuh"

namespace dw::cuda {

constexpr int kStrip = 4;               // columns that a thread computes
constexpr int kStripRead = kStrip + 2;  // and those beside them, which the window reads

// Threads that a multiprocessor has at once: 384 of them have 168 registers each, 256 have 255. Blocks have
// half as many at most, so that some compute while others start or end.
template <class T>
constexpr int kSlideThreads = sizeof(T) == 2 ? 384 : 256;

struct SlideShape {
  int height, width, channels;
  int64_t rows;  // of all images
};

// Where a thread works.
template <int N>
struct Slide {
  int channel, column, part;  // the first of its channels and of its columns
  bool inside;                // whether there are any
  int64_t begin, end;         // rows of results
  __device__ explicit Slide(const SlideShape& p)
      : channel(static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * N),
        column(static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y) * kStrip),
        part(static_cast<int>(blockIdx.z * gridDim.y + blockIdx.y)),
        inside(channel < p.channels && column < p.width),
        begin(p.rows * blockIdx.z / gridDim.z),
        end(p.rows * (blockIdx.z + 1) / gridDim.z) {}
};

// A pixel of a row, in 32 bits up to the last addition: offsets of 64 bits would take two registers each.
template <class T>
__device__ __forceinline__ T* pixelOf(T* row, int column, const SlideShape& p) {
  const uint32_t bytes = static_cast<uint32_t>(column) * (static_cast<uint32_t>(p.channels) * sizeof(T));
  using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
  return reinterpret_cast<T*>(reinterpret_cast<Byte*>(row) + bytes);
}

// kCount neighbouring pixels of one row.
template <int N, class T, int kCount>
struct Pixels {
  Raw<N, T> at[kCount];

  // From column `first` on; zeros beyond the sides. `row` points to the thread's channels in column 0.
  __device__ __forceinline__ void read(const T* row, int first, const SlideShape& p) {
#pragma unroll
    for (int i = 0; i < kCount; i++) {
      at[i].clear();
      if (first + i >= 0 && first + i < p.width) at[i].read(pixelOf(row, first + i, p));
    }
  }
};

// An affine map and ReLU; where there is no map, 1 and 0.
template <int N>
struct SlideOnLoad {
  float scale[N], shift[N];
  bool relu;
  __device__ SlideOnLoad(const OnLoad& map, int channel) : relu(map.relu) {
#pragma unroll
    for (int j = 0; j < N; j++) scale[j] = 1.0f, shift[j] = 0.0f;
    if (map.scale == nullptr) return;
    load<N>(map.scale + channel, scale);
    load<N>(map.shift + channel, shift);
  }
  // The values that are convolved: rounded as if they had been in memory, zero where `inside` is false.
  template <class T>
  __device__ __forceinline__ void operator()(Raw<N, T> x, bool inside, float (&values)[N]) const {
    x.get(values);
#pragma unroll
    for (int j = 0; j < N; j++) {
      const float a = values[j] * scale[j] + shift[j];
      values[j] = relu && a < 0.0f ? 0.0f : a;
    }
    x.set(values);
    if (!inside) x.clear();
    x.get(values);
  }
};

// What has been read from memory before is not kept in registers beyond this point, but read again.
__device__ __forceinline__ void readAgain() { asm volatile("" ::: "memory"); }

template <int N>
__device__ __forceinline__ void readTaps(const float* taps, int channel, int channels, float (&w)[9][N]) {
#pragma unroll
  for (int tap = 0; tap < 9; tap++) load<N>(taps + tap * channels + channel, w[tap]);
}

// The columns of a thread that are in the image. `row` points to the thread's channels in column 0.
template <int N, class T>
__device__ __forceinline__ void writeStrip(const SlideShape& p, int column, T* row,
                                           const float (&values)[kStrip][N]) {
#pragma unroll
  for (int s = 0; s < kStrip; s++)
    if (column + s < p.width) store<N>(pixelOf(row, column + s, p), values[s]);
}

// y[n,h,w,c] of x[n,h,w,c]; taps f32[9][c]. Each row adds to three rows of results; two more are on their
// way.
template <int N, class T>
__global__ void __launch_bounds__(kSlideThreads<T> / 2, 2)
    depthwise3x3(SlideShape p, OnLoad map, const T* __restrict__ x, const float* __restrict__ taps,
                 T* __restrict__ y) {
  using Row = Pixels<N, T, kStripRead>;
  using Results = float[kStrip][N];
  const Slide<N> at(p);
  if (!at.inside) return;
  float w[9][N];
  readTaps(taps, at.channel, p.channels, w);
  const SlideOnLoad<N> activate(map, at.channel);
  const int64_t stride = static_cast<int64_t>(p.width) * p.channels;

  // From the row above the first result to the row below the last, as far as these are of the same image.
  int place = static_cast<int>(at.begin % p.height);  // in the image
  int64_t row = at.begin;
  if (place > 0) row--, place--;
  const int64_t stop = at.end % p.height == 0 ? at.end : at.end + 1;
  const T* from = x + row * stride + at.channel;
  T* to = y + row * stride + at.channel;
  const auto read = [&](Row& pixels, int64_t rowToRead) {
    if (rowToRead < stop) pixels.read(from, at.column - 1, p);
    from += stride;
  };
  Row first, second, third;
  read(first, row), read(second, row + 1), read(third, row + 2);

  // `above` and `here` have what earlier rows added to the results of the row before and of this row.
  const auto step = [&](Row& pixels, Results& above, Results& here, Results& below) {
#pragma unroll
    for (int s = 0; s < kStrip; s++)
#pragma unroll
      for (int j = 0; j < N; j++) below[s][j] = 0.0f;
#pragma unroll
    for (int i = 0; i < kStripRead; i++) {
      float value[N];
      const int column = at.column - 1 + i;
      activate(pixels.at[i], column >= 0 && column < p.width, value);
#pragma unroll
      for (int s = 0; s < kStrip; s++) {
        const int tap = i - s;
        if (tap < 0 || tap > 2) continue;
#pragma unroll
        for (int j = 0; j < N; j++) {
          above[s][j] += value[j] * w[6 + tap][j];
          here[s][j] += value[j] * w[3 + tap][j];
          below[s][j] += value[j] * w[tap][j];
        }
      }
    }
    read(pixels, row + 3);
    if (place > 0 && row > at.begin) writeStrip<N>(p, at.column, to - stride, above);
    place++;
    if (place == p.height) {  // the row below is of the next image
      if (row < at.end) writeStrip<N>(p, at.column, to, here);
      place = 0;
#pragma unroll
      for (int s = 0; s < kStrip; s++)
#pragma unroll
        for (int j = 0; j < N; j++) below[s][j] = 0.0f;
    }
    to += stride;
    return ++row < stop;
  };
  // The parts of the three are exchanged, not their registers.
  Results a = {}, b = {}, c;
  while (step(first, a, b, c) && step(second, b, c, a) && step(third, c, a, b)) {
  }
}

// What the gradients are made of. Pointers that the form does not use may be NULL.
template <class T>
struct SlideGradOperands {
  OnLoad map;
  const float* taps;  // f32[9][c]
  const T* residual;  // may be dx
  T* dx;
  float* partials;  // [parts][kQuantities][c]
};

// Which results a form has beside the weights' gradient.
enum class SlideGrad {
  weights,  // none
  sums,     // dx; the sums of dx and of dx*x
  residual  // dx, with a residual added to what is written
};
// As kSlideThreads.
template <class T, SlideGrad kForm>
constexpr int kSlideGradThreads = sizeof(T) == 2 && kForm == SlideGrad::weights ? 384 : 256;
template <SlideGrad kForm>
constexpr int kSlideQuantities = kForm == SlideGrad::sums ? 11 : 9;

__device__ __forceinline__ int threadOfBlock() {
  return static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
}
__device__ __forceinline__ int threadsOfBlock() { return static_cast<int>(blockDim.x * blockDim.y); }

// The sum over the strips of a block of N values of each thread -> to[channels of the block]; shared[height]
// [width][N]
template <int N>
__device__ __forceinline__ void writePartial(const float (&own)[N], int channels, float* to) {
  float* shared = sharedMemory<float>();
  const int width = static_cast<int>(blockDim.x) * N;
  const int thread = threadOfBlock();
  __syncthreads();  // what was there before has been read
#pragma unroll
  for (int j = 0; j < N; j++) shared[thread * N + j] = own[j];
  __syncthreads();
  for (int j = thread; j < width; j += threadsOfBlock()) {
    const int channel = static_cast<int>(blockIdx.x) * width + j;
    float sum = 0.0f;
    for (int line = 0; line < static_cast<int>(blockDim.y); line++) sum += shared[line * width + j];
    if (channel < channels) to[channel] = sum;
  }
}

// The gradients of depthwise3x3 from g[n,h,w,c], of its weights and of x before the map: the latter where the
// form has it, masked by the ReLU. At each element of x both need the same nine of g. The weights are read
// from shared memory for every row: there are no registers for them. shared[9][width][N], then as
// writePartial
template <int N, class T, SlideGrad kForm>
__global__ void __launch_bounds__(kSlideGradThreads<T, kForm> / 2, 2)
    depthwise3x3Grad(SlideShape p, const T* __restrict__ g, const T* __restrict__ x, SlideGradOperands<T> o) {
  constexpr bool kInput = kForm != SlideGrad::weights, kSums = kForm == SlideGrad::sums,
                 kResidual = kForm == SlideGrad::residual;
  using Row = Pixels<N, T, kStripRead>;
  const Slide<N> at(p);
  const int line = static_cast<int>(blockDim.x) * N;
  if (kInput) {
    float* shared = sharedMemory<float>();
    for (int i = threadOfBlock(); i < 9 * line; i += threadsOfBlock()) {
      const int channel = static_cast<int>(blockIdx.x) * line + i % line;
      shared[i] = channel < p.channels ? o.taps[i / line * p.channels + channel] : 0.0f;
    }
    __syncthreads();
  }
  float dw[9][N] = {}, sumG[N] = {}, sumGX[N] = {};
  if (at.inside) {
    const float* w = sharedMemory<float>() + threadIdx.x * N;
    const SlideOnLoad<N> activate(o.map, at.channel);
    const int64_t stride = static_cast<int64_t>(p.width) * p.channels;
    int place = static_cast<int>(at.begin % p.height);
    int64_t row = at.begin;
    const int64_t offset = row * stride + at.channel;
    g += offset, x += offset;
    T* dx = kInput ? o.dx + offset : nullptr;
    const T* residual = kResidual ? o.residual + offset : nullptr;

    Row first, second, third;
    Pixels<N, T, kStrip> nextX;
    if (place > 0) first.read(g - stride, at.column - 1, p);
    second.read(g, at.column - 1, p);
    g += stride;
    if (row + 1 < p.rows) third.read(g, at.column - 1, p);
    nextX.read(x, at.column, p);

    const auto step = [&](Row& above, const Row& here, const Row& below) {
      const Pixels<N, T, kStrip> currentX = nextX;
      Pixels<N, T, kStrip> added;  // needed last, so that the step itself is time enough
      if (kResidual) added.read(residual, at.column, p);
      g += stride, x += stride;
      const bool more = row + 1 < at.end;
      if (more) nextX.read(x, at.column, p);
      readAgain();
      float a[kStrip][N], gradient[kStrip][N] = {};
#pragma unroll
      for (int s = 0; s < kStrip; s++) activate(currentX.at[s], at.column + s < p.width, a[s]);
      const auto add = [&](const Row& pixels, int tapRow) {
        float weight[3][N];
#pragma unroll
        for (int tap = 0; tap < 3; tap++)
          if (kInput) load<N>(w + (tapRow * 3 + tap) * line, weight[tap]);
#pragma unroll
        for (int i = 0; i < kStripRead; i++) {
          float value[N];
          pixels.at[i].get(value);
#pragma unroll
          for (int s = 0; s < kStrip; s++) {
            const int tap = s + 2 - i;
            if (tap < 0 || tap > 2) continue;
#pragma unroll
            for (int j = 0; j < N; j++) {
              if (kInput) gradient[s][j] += value[j] * weight[tap][j];
              dw[tapRow * 3 + tap][j] += value[j] * a[s][j];
            }
          }
        }
      };
      // The rows of g meet those of the window the other way round.
      if (place > 0) add(above, 2);
      if (more && row + 2 < p.rows) above.read(g, at.column - 1, p);
      add(here, 1);
      place++;
      if (place == p.height)
        place = 0;  // the row below is of the next image
      else
        add(below, 0);
      if (kInput) {
#pragma unroll
        for (int s = 0; s < kStrip; s++) {
          const bool all = !activate.relu && at.column + s < p.width;  // what passes without a mask
          float before[N], other[N];
          if (kSums) currentX.at[s].get(before);
          if (kResidual) added.at[s].get(other);
#pragma unroll
          for (int j = 0; j < N; j++) {
            const float d = a[s][j] > 0.0f || all ? rounded<T>(gradient[s][j]) : 0.0f;
            if (kSums) sumG[j] += d, sumGX[j] += d * before[j];
            gradient[s][j] = kResidual ? other[j] + d : d;
          }
        }
        writeStrip<N>(p, at.column, dx, gradient);
        dx += stride;
        if (kResidual) residual += stride;
      }
      return ++row < at.end;
    };
    while (step(first, second, third) && step(second, third, first) && step(third, first, second)) {
    }
  }
  float* to = o.partials + static_cast<int64_t>(at.part) * kSlideQuantities<kForm> * p.channels;
#pragma unroll
  for (int tap = 0; tap < 9; tap++) writePartial<N>(dw[tap], p.channels, to + tap * p.channels);
  if (!kSums) return;
  writePartial<N>(sumG, p.channels, to + 9 * p.channels);
  writePartial<N>(sumGX, p.channels, to + 10 * p.channels);
}

// partials[parts][quantities][c] -> dw[c][9], sumG[c], sumGX[c]; blockIdx.y: which of the quantities.
// shared[height][width]
template <class T>
__global__ void finishDepthwise3x3(const float* __restrict__ partials, int64_t parts, int64_t c,
                                   T* __restrict__ dw, float* __restrict__ sumG, float* __restrict__ sumGX) {
  const int64_t j = threadOfGrid(), quantity = blockIdx.y, stride = gridDim.y * c;
  Sum sum;
  if (j < c) addColumn(sum, partials + quantity * c + j, parts, stride);
  sum = overRows(sum, sharedMemory<Sum>());
  if (threadIdx.y != 0 || j >= c) return;
  if (quantity < 9)
    dw[j * 9 + quantity] = fromFloat<T>(sum.value());
  else
    (quantity == 9 ? sumG : sumGX)[j] = sum.value();
}

}  // namespace dw::cuda

#endif
