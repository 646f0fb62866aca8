// Element types in kernels: they are stored as float, __half or __nv_bfloat16 and computed with in f32.
// Vectors of them travel as packs of up to 16 bytes.
#ifndef DEPTHWISE_CUDA_KERNELS_TYPES_CUH
#define DEPTHWISE_CUDA_KERNELS_TYPES_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace dw::cuda {

__device__ __forceinline__ float toFloat(float x) { return x; }
__device__ __forceinline__ float toFloat(__half x) { return __half2float(x); }
__device__ __forceinline__ float toFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float toFloat(uint8_t x) { return static_cast<float>(x); }

// Rounded to nearest.
template <class T>
__device__ __forceinline__ T fromFloat(float x);
template <>
__device__ __forceinline__ float fromFloat<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __half fromFloat<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ __forceinline__ __nv_bfloat16 fromFloat<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

// Two 16-bit elements in one register, the first in its lower half.
template <class T>
__device__ __forceinline__ void fromPair(uint32_t pair, float& first, float& second);
template <>
__device__ __forceinline__ void fromPair<__nv_bfloat16>(uint32_t pair, float& first, float& second) {
  first = __uint_as_float(pair << 16);
  second = __uint_as_float(pair & 0xffff0000u);
}
template <>
__device__ __forceinline__ void fromPair<__half>(uint32_t pair, float& first, float& second) {
  __half2 halves;
  memcpy(&halves, &pair, sizeof halves);
  first = __low2float(halves);
  second = __high2float(halves);
}

// Rounded to nearest.
template <class T>
__device__ __forceinline__ uint32_t toPair(float first, float second);
template <>
__device__ __forceinline__ uint32_t toPair<__nv_bfloat16>(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}
template <>
__device__ __forceinline__ uint32_t toPair<__half>(float first, float second) {
  const __half2 pair = __floats2half2_rn(first, second);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// N neighbours in memory, read and written at once.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T values[N];
};

// Elements of a 16-byte access.
template <class T>
constexpr int kWide = 16 / static_cast<int>(sizeof(T));

template <int N, class T>
__device__ __forceinline__ void load(const T* from, float (&values)[N]) {
  const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; i++) values[i] = toFloat(pack.values[i]);
}

// f32 vectors per channel, beside packs of a narrower type: up to 8 floats in loads of 16 bytes.
template <int N>
__device__ __forceinline__ void load(const float* from, float (&values)[N]) {
  constexpr int kPart = N < 4 ? N : 4;
#pragma unroll
  for (int i = 0; i < N; i += kPart) {
    const Pack<float, kPart> pack = *reinterpret_cast<const Pack<float, kPart>*>(from + i);
#pragma unroll
    for (int j = 0; j < kPart; j++) values[i + j] = pack.values[j];
  }
}

template <int N, class T>
__device__ __forceinline__ void store(T* to, const float (&values)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; i++) pack.values[i] = fromFloat<T>(values[i]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// What a value is after it has been kept in memory as T.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  return toFloat(fromFloat<T>(x));
}

// N elements of T as they are in memory, in whole registers: 16-bit values that are kept one by one would
// take a register each.
template <int N, class T>
struct Raw {
  static constexpr int kWords = (N * static_cast<int>(sizeof(T)) + 3) / 4;
  static constexpr bool kHalfWord = N * sizeof(T) < 4;
  uint32_t words[kWords];

  __device__ __forceinline__ void read(const T* from) {
    if (kHalfWord) {
      words[0] = *reinterpret_cast<const uint16_t*>(from);
    } else {
      const Pack<uint32_t, kWords> pack = *reinterpret_cast<const Pack<uint32_t, kWords>*>(from);
#pragma unroll
      for (int i = 0; i < kWords; i++) words[i] = pack.values[i];
    }
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kWords; i++) words[i] = 0;
  }
  __device__ __forceinline__ void get(float (&values)[N]) const {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int j = 0; j < N; j++) values[j] = __uint_as_float(words[j]);
    } else if constexpr (kHalfWord) {
      float none;
      fromPair<T>(words[0], values[0], none);
    } else {
#pragma unroll
      for (int i = 0; i < kWords; i++) fromPair<T>(words[i], values[2 * i], values[2 * i + 1]);
    }
  }
  __device__ __forceinline__ void set(const float (&values)[N]) {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int j = 0; j < N; j++) words[j] = __float_as_uint(values[j]);
    } else if constexpr (kHalfWord) {
      words[0] = toPair<T>(values[0], 0.0f);
    } else {
#pragma unroll
      for (int i = 0; i < kWords; i++) words[i] = toPair<T>(values[2 * i], values[2 * i + 1]);
    }
  }
};

__device__ __forceinline__ int64_t threadOfGrid() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t threadsOfGrid() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

__host__ __device__ __forceinline__ int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
__host__ __device__ __forceinline__ int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// The dynamic shared memory of the block: the only kind there is, so that the simulation can watch its
// bounds.
template <class T>
__device__ __forceinline__ T* sharedMemory() {
#ifdef DW_CUDASIM
  return static_cast<T*>(cudasim::sharedMemory());
#else
  extern __shared__ __align__(16) unsigned char dynamicSharedMemory[];
  return reinterpret_cast<T*>(dynamicSharedMemory);
#endif
}

constexpr unsigned kWholeWarp = 0xffffffffu;

}  // namespace dw::cuda

#endif
