// Loops over pixels, each compiled once per instruction set; `selectKernels` picks a table. Pixels have 4
// bytes on the way (red, green, blue and one without meaning) and 3 in the result.
#ifndef DEPTHWISE_IMAGES_KERNELS_H
#define DEPTHWISE_IMAGES_KERNELS_H

#include <cstdint>

namespace dw::images {

// Weights are whole numbers of 2^-22, so that all of 255 times a sum of weights fits into 31 bits.
constexpr int kWeightBits = 22;

// Pixels behind a row that may be read, for nothing.
constexpr int64_t kBeyond = 3;

// What each pixel of a row (or each row) is made of: `count[i]` neighbours from `first[i]` on, with weights
// [i * stride, ...), a multiple of 4 of them, zeros beyond the count.
struct Taps {
  const int32_t* first;
  const int32_t* count;
  const int32_t* weights;
  int32_t stride;
};

#define DW_IMAGE_KERNELS(X)                                                                              \
  /* out [width] pixels of 4 bytes from a row of them, behind which kBeyond more are */                  \
  X(horizontal, (const uint8_t* row, uint8_t* out, int64_t width, const Taps& taps))                     \
  /* out [lanes] bytes from `count` rows of `lanes` bytes, `stride` bytes apart */                       \
  X(vertical, (const uint8_t* rows, int64_t stride, const int32_t* weights, int32_t count, uint8_t* out, \
               int64_t lanes))                                                                           \
  /* from 3 bytes a pixel to 4, and back, the latter also mirrored */                                    \
  X(widen, (const uint8_t* rgb, uint8_t* out, int64_t pixels))                                           \
  X(narrow, (const uint8_t* in, uint8_t* rgb, int64_t pixels, bool mirror))                              \
  /* rgb [pixels] of 3 bytes: matrix [9] times pixel plus offset, rounded and cut to 0 to 255 */         \
  X(recolor, (uint8_t * rgb, int64_t pixels, const float* matrix, float offset))                         \
  /* a = (a * fraction + b * (65536 - fraction)) / 65536, rounded */                                     \
  X(blend, (uint8_t * a, const uint8_t* b, int64_t bytes, uint32_t fraction))

struct Kernels {
  const char* isa;
#define DW_KERNEL_MEMBER(name, arguments) void(*name) arguments;
  DW_IMAGE_KERNELS(DW_KERNEL_MEMBER)
#undef DW_KERNEL_MEMBER
};

// The best table that this processor can run.
const Kernels& selectKernels();

}  // namespace dw::images

#ifdef DW_ISA
namespace dw::images::DW_ISA {
#define DW_KERNEL_DECLARATION(name, arguments) void name arguments;
DW_IMAGE_KERNELS(DW_KERNEL_DECLARATION)
#undef DW_KERNEL_DECLARATION
}  // namespace dw::images::DW_ISA
#endif

#endif
