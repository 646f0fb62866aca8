// The part of CUDA's runtime that the CUDA backend uses, for a host compiler: kernels run on the CPU, one
// thread of the grid after the other, each on a stack of its own where it has to wait for others. For tests;
// see docs/cuda.md.
//
// What is not here does not exist in the simulation: static `__shared__` variables (all shared memory is
// dynamic, so that it can start as NaN and end where it ends), textures, cooperative groups, inline PTX.
#ifndef DEPTHWISE_CUDASIM_CUDA_RUNTIME_H
#define DEPTHWISE_CUDASIM_CUDA_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

// Kernels.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1)
      : x(width), y(height), z(depth) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

namespace cudasim {

// Of the thread that runs. One thread of one grid runs at a time, whatever the number of devices.
extern uint3 currentThread, currentBlock;
extern dim3 currentBlockExtent, currentGridExtent;

// All threads of the block wait here for each other.
void awaitBlock();
// The threads of `mask` in the warp wait for each other.
void awaitWarp(unsigned mask);
// As awaitWarp; `value` is left for the others, and what thread `lane` of the warp left is put in its place.
// A lane outside the warp's threads leaves the value.
void exchange(unsigned mask, void* value, size_t bytes, int lane);
int currentLane();
void* sharedMemory();

template <class T>
inline T exchanged(unsigned mask, T value, int lane) {
  static_assert(sizeof(T) <= 8);
  exchange(mask, &value, sizeof value, lane);
  return value;
}

}  // namespace cudasim

#define threadIdx (::cudasim::currentThread)
#define blockIdx (::cudasim::currentBlock)
#define blockDim (::cudasim::currentBlockExtent)
#define gridDim (::cudasim::currentGridExtent)
constexpr int warpSize = 32;

inline void __syncthreads() { cudasim::awaitBlock(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { cudasim::awaitWarp(mask); }
inline void __threadfence() {}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int = warpSize) {
  return cudasim::exchanged(mask, value, lane);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int laneMask, int = warpSize) {
  return cudasim::exchanged(mask, value, cudasim::currentLane() ^ laneMask);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int = warpSize) {
  return cudasim::exchanged(mask, value, cudasim::currentLane() + static_cast<int>(delta));
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int = warpSize) {
  return cudasim::exchanged(mask, value, cudasim::currentLane() - static_cast<int>(delta));
}

// One thread runs at a time, and only waiting passes control on: these are atomic as they stand.
template <class T>
inline T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <class T>
inline T atomicMax(T* address, T value) {
  const T old = *address;
  if (value > old) *address = value;
  return old;
}
template <class T>
inline T atomicExch(T* address, T value) {
  const T old = *address;
  *address = value;
  return old;
}
template <class T>
inline T atomicCAS(T* address, T expected, T value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

template <class T>
inline T __ldg(const T* address) {
  return *address;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}

// The runtime's host side. Numbers of errors are CUDA's.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInitializationError = 3,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorUnknown = 999
};
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  size_t sharedMemPerBlock;
  size_t sharedMemPerBlockOptin;
  int major, minor;
  int multiProcessorCount;
  int maxThreadsPerMultiProcessor;
  int l2CacheSize;
};
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);

cudaError_t cudaMalloc(void** pointer, size_t bytes);
cudaError_t cudaFree(void* pointer);
cudaError_t cudaMallocHost(void** pointer, size_t bytes);
cudaError_t cudaFreeHost(void* pointer);
cudaError_t cudaMemGetInfo(size_t* available, size_t* total);

typedef struct cudasimStream* cudaStream_t;
typedef struct cudasimEvent* cudaEvent_t;
typedef struct cudasimGraph* cudaGraph_t;
typedef struct cudasimGraph* cudaGraphExec_t;

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);

enum { cudaStreamNonBlocking = 1 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);

enum { cudaEventDisableTiming = 2 };
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2
};
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value);

// What stands for cudaLaunchKernel and cudaLaunchHostFunc: `thread` is what each thread of the grid does,
// `function` the kernel's address.
cudaError_t cudasimLaunch(const void* function, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                          std::function<void()> thread);
cudaError_t cudasimEnqueue(cudaStream_t stream, std::function<void()> work);

#endif
