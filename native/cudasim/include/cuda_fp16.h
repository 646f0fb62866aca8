// Half precision for the simulation: storage and the conversions that kernels use.
#ifndef DEPTHWISE_CUDASIM_CUDA_FP16_H
#define DEPTHWISE_CUDASIM_CUDA_FP16_H

#include <cuda_runtime.h>

struct alignas(2) __half {
  uint16_t bits;
};

inline float __half2float(__half x) {
  const unsigned sign = static_cast<unsigned>(x.bits & 0x8000) << 16, magnitude = x.bits & 0x7fff;
  if (magnitude >= 0x7c00) return __uint_as_float(sign | 0x7f800000 | magnitude << 13);
  if (magnitude >= 0x0400) return __uint_as_float(sign | ((magnitude << 13) + ((127 - 15) << 23)));
  const float subnormal = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // 2^-24
  return sign ? -subnormal : subnormal;
}

// To nearest, ties to even.
inline __half __float2half_rn(float x) {
  const unsigned bits = __float_as_uint(x), magnitude = bits & 0x7fffffff;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  unsigned result;
  if (magnitude > 0x7f800000)
    result = 0x7fff;
  else if (magnitude >= 0x477ff000)  // 65520
    result = 0x7c00;
  else if (magnitude >= 0x38800000)  // 2^-14
    result = (magnitude - ((127 - 15) << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  else  // the sum's lowest bits are the subnormal's units, rounded by the addition itself
    result = __float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000;
  return {static_cast<uint16_t>(result | sign)};
}

struct alignas(4) __half2 {
  __half x, y;
};

inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline float __low2float(__half2 pair) { return __half2float(pair.x); }
inline float __high2float(__half2 pair) { return __half2float(pair.y); }

#endif
