// Division by a number that is known at the launch, in a multiplication and a shift: a GPU has no division,
// and kernels that find out where they are by one spend most of their time on it.
#ifndef DEPTHWISE_CUDA_KERNELS_DIVISOR_CUH
#define DEPTHWISE_CUDA_KERNELS_DIVISOR_CUH

#include "types.cuh"

namespace dw::cuda {

// Granlund and Montgomery, "Division by invariant integers using multiplication" (1994), for dividends of 31
// bits.
struct Divisor {
  uint32_t divisor = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  // 1 <= number < 2^31
  explicit Divisor(int64_t number) : divisor(static_cast<uint32_t>(number)) {
    while ((uint64_t{1} << shift) < divisor) shift++;
    multiplier = static_cast<uint32_t>((((uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }

  // 0 <= x < 2^31
  __device__ __forceinline__ int divide(int x) const {
    const uint32_t dividend = static_cast<uint32_t>(x);
    return static_cast<int>((__umulhi(dividend, multiplier) + dividend) >> shift);
  }
  // The quotient; x becomes the rest.
  __device__ __forceinline__ int split(int& x) const {
    const int quotient = divide(x);
    x -= quotient * static_cast<int>(divisor);
    return quotient;
  }
};

}  // namespace dw::cuda

#endif
