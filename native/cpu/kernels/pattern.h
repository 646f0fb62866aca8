// Per-channel values along rows. Included by the kernel sources only.
#ifndef DEPTHWISE_CPU_KERNELS_PATTERN_H
#define DEPTHWISE_CPU_KERNELS_PATTERN_H

#include <cstdint>

namespace dw::cpu {
namespace DW_ISA {

// Rows shorter than this are taken several at a time, with the per-channel values repeated, so that vectors
// are full.
constexpr int64_t kNarrow = 64;

// How a tensor of `rows` by `c` is walked: `wide` channels per step, the last step with fewer.
struct Pattern {
  Pattern(const float* values, int64_t c) {
    if (c >= kNarrow || c == 0) {
      data = values;
      width = c;
      return;
    }
    width = (kNarrow + c - 1) / c * c;
    for (int64_t i = 0; i < width; i++) buffer[i] = values[i % c];
    data = buffer;
  }
  const float* data;
  int64_t width;
  float buffer[2 * kNarrow];
};

}  // namespace DW_ISA
}  // namespace dw::cpu

#endif
