// Element types in kernels: they are stored as float, __half or __nv_bfloat16 and computed with in f32.
// Vectors of them travel as packs of up to 16 bytes.
#ifndef DEPTHWISE_CUDA_KERNELS_TYPES_CUH
#define DEPTHWISE_CUDA_KERNELS_TYPES_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

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
