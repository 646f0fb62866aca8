// How kernels are launched, for nvcc and for the simulation alike: never by <<<>>>.
#ifndef DEPTHWISE_CUDA_LAUNCH_H
#define DEPTHWISE_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "check.h"

namespace dw::cuda {

// Queues a kernel. Arguments are converted to its parameters' types here.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "an argument for each parameter");
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "parameters are copied as bytes");
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
#ifdef DW_CUDASIM
  check(cudasimLaunch(reinterpret_cast<const void*>(kernel), grid, block, shared, stream,
                      [kernel, values] { std::apply(kernel, values); }),
        "cudaLaunchKernel");
#else
  std::apply(
      [&](auto&... value) {
        void* pointers[sizeof...(Parameters) + 1] = {&value...};
        check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared, stream),
              "cudaLaunchKernel");
      },
      values);
#endif
}

// Lets a kernel have more than 48 KiB of dynamic shared memory.
template <class... Parameters>
void allowShared(void (*kernel)(Parameters...), size_t bytes) {
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "cudaFuncSetAttribute");
}

constexpr unsigned kThreads = 256;  // of a block, where nothing else is wanted

inline int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks of kThreads for a loop over a grid that takes `count` steps in all: enough to fill the device eight
// times over, at least one.
inline dim3 blocksFor(int64_t count, int multiprocessors) {
  const int64_t most = int64_t{multiprocessors} * 64;
  return dim3(static_cast<unsigned>(std::clamp<int64_t>(ceilDivide(count, kThreads), 1, most)));
}

}  // namespace dw::cuda

#endif
