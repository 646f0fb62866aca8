// Conversions between f32, i32, u8, f16 and bf16. To an integer: truncates towards zero and saturates; NaN is
// 0.
#include "../../include/depthwise.h"
#include "exponential.h"
#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

inline float load(float x) { return x; }
inline float load(uint8_t x) { return x; }
inline float load(Brain x) { return bitsToFloat(static_cast<int32_t>(static_cast<uint32_t>(x.bits) << 16)); }

inline float load(Half x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  const uint32_t magnitude = x.bits & 0x7fff;
  // Moved to f32's place, a half is 2^112 too small; a subnormal is an integer times 2^-24. Infinity and NaN
  // have the largest exponent in both.
  const uint32_t normal = (magnitude << 13) + ((127 - 15) << 23);
  const uint32_t special = (magnitude << 13) | 0x7f800000;
  const uint32_t subnormal =
      static_cast<uint32_t>(floatToBits(static_cast<float>(magnitude) * 5.9604644775390625e-8f));
  const uint32_t bits = magnitude >= 0x7c00 ? special : magnitude < 0x0400 ? subnormal : normal;
  return bitsToFloat(static_cast<int32_t>(bits | sign));
}

inline void store(float* y, float x) { *y = x; }

inline void store(int32_t* y, float x) {
  // 2147483520 is the largest f32 below 2^31.
  const float inside = x >= 2147483520.0f    ? 2147483520.0f
                       : x <= -2147483648.0f ? -2147483648.0f
                       : x == x              ? x
                                             : 0.0f;
  *y = x >= 2147483648.0f ? 2147483647 : static_cast<int32_t>(inside);
}

inline void store(uint8_t* y, float x) {
  const float inside = x > 0.0f ? x < 255.0f ? x : 255.0f : 0.0f;
  *y = static_cast<uint8_t>(static_cast<int32_t>(inside));
}

inline void store(Brain* y, float x) {
  const uint32_t bits = static_cast<uint32_t>(floatToBits(x));
  const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);  // to nearest, ties to even
  y->bits = static_cast<uint16_t>((x != x ? bits | 0x00400000 : rounded) >> 16);
}

inline void store(Half* y, float x) {
  const uint32_t bits = static_cast<uint32_t>(floatToBits(x));
  const uint32_t sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
  const uint32_t odd = (magnitude >> 13) & 1;
  const uint32_t normal = (magnitude - ((127 - 15) << 23) + 0xfff + odd) >> 13;  // to nearest, ties to even
  // Adding 0.5 puts a subnormal half's units into the lowest bits of the sum, rounded by the addition itself.
  const uint32_t subnormal =
      static_cast<uint32_t>(floatToBits(bitsToFloat(static_cast<int32_t>(magnitude)) + 0.5f)) - 0x3f000000;
  uint32_t result = magnitude < 0x38800000 ? subnormal : normal;
  result = magnitude >= 0x477ff000 ? 0x7c00 : result;  // 65520 and more round to infinity
  result = magnitude > 0x7f800000 ? 0x7e00 : result;
  y->bits = static_cast<uint16_t>(result | sign);
}

template <class From, class To>
inline void convert(const From* x, To* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) store(&y[i], load(x[i]));
}

inline void convert(const int32_t* x, int32_t* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = x[i];
}

template <class To>
inline void convert(const int32_t* x, To* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) store(&y[i], static_cast<float>(x[i]));
}

template <class From>
inline void convertFrom(const From* x, void* y, int32_t to, int64_t n) {
  switch (to) {
    case DW_F32:
      return convert(x, static_cast<float*>(y), n);
    case DW_I32:
      return convert(x, static_cast<int32_t*>(y), n);
    case DW_U8:
      return convert(x, static_cast<uint8_t*>(y), n);
    case DW_F16:
      return convert(x, static_cast<Half*>(y), n);
    case DW_BF16:
      return convert(x, static_cast<Brain*>(y), n);
    default:
      return;  // refused by the op's check
  }
}

}  // namespace

void cast(const void* x, int32_t from, void* y, int32_t to, int64_t n) {
  switch (from) {
    case DW_F32:
      return convertFrom(static_cast<const float*>(x), y, to, n);
    case DW_I32:
      return convertFrom(static_cast<const int32_t*>(x), y, to, n);
    case DW_U8:
      return convertFrom(static_cast<const uint8_t*>(x), y, to, n);
    case DW_F16:
      return convertFrom(static_cast<const Half*>(x), y, to, n);
    case DW_BF16:
      return convertFrom(static_cast<const Brain*>(x), y, to, n);
    default:
      return;
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
