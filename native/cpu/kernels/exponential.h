// Vectorisable exponential functions, each within 2 ulp of the exact result. Included by the kernel sources
// only.
#ifndef DEPTHWISE_CPU_KERNELS_EXPONENTIAL_H
#define DEPTHWISE_CPU_KERNELS_EXPONENTIAL_H

#include <cstdint>

namespace dw::cpu {
namespace DW_ISA {

static inline float bitsToFloat(int32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

static inline int32_t floatToBits(float value) {
  int32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

// x = n*ln2 + r with |r| <= ln2/2; exp(r) - 1 by a polynomial (Cephes expf's coefficients: Moshier, 1989).
struct Exponent {
  float lowPower, highPower;  // their product is 2^n, which alone may be out of range
  float expm1;                // exp(r) - 1
};

static inline Exponent splitExponent(float x) {
  // Beyond these bounds the result is 0 or infinity anyway. The comparisons keep NaN.
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  // Adding and subtracting 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
  const float magic = 12582912.0f;
  const float shifted = x * 1.44269504088896341f + magic;
  const float n = shifted - magic;
  const int32_t integer = floatToBits(shifted) - floatToBits(magic);
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const int32_t half = integer >> 1;
  Exponent e;
  e.lowPower = bitsToFloat(static_cast<int32_t>(static_cast<uint32_t>(half + 127) << 23));
  e.highPower = bitsToFloat(static_cast<int32_t>(static_cast<uint32_t>(integer - half + 127) << 23));
  e.expm1 = p * r * r + r;
  return e;
}

static inline float exponential(float x) {
  const Exponent e = splitExponent(x);
  return (e.expm1 + 1.0f) * e.lowPower * e.highPower;
}

// exp(x) - 1 without cancellation near 0.
static inline float exponentialMinusOne(float x) {
  const Exponent e = splitExponent(x);
  return e.expm1 * e.lowPower * e.highPower + (e.lowPower * e.highPower - 1.0f);
}

}  // namespace DW_ISA
}  // namespace dw::cpu

#endif
