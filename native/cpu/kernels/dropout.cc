// Dropout by Philox4x32-10 (Salmon et al., SC 2011): element i depends on seed, step and i alone.
#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

constexpr int kLanes = 32;  // counters worked on at once

// The blocks of counters {first + lane, step, 0}: word 4 * lane + i is word i of block `lane`.
inline void philoxBlocks(uint64_t first, uint32_t step, const uint32_t key[2], uint32_t words[4 * kLanes]) {
  DW_VECTORIZE
  for (int lane = 0; lane < kLanes; lane++) {
    const uint64_t block = first + static_cast<uint64_t>(lane);
    uint32_t x0 = static_cast<uint32_t>(block), x1 = static_cast<uint32_t>(block >> 32), x2 = step, x3 = 0;
    uint32_t key0 = key[0], key1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
      const uint64_t product0 = uint64_t{0xd2511f53} * x0, product1 = uint64_t{0xcd9e8d57} * x2;
      x0 = static_cast<uint32_t>(product1 >> 32) ^ x1 ^ key0;
      x1 = static_cast<uint32_t>(product1);
      x2 = static_cast<uint32_t>(product0 >> 32) ^ x3 ^ key1;
      x3 = static_cast<uint32_t>(product0);
      key0 += 0x9e3779b9;
      key1 += 0xbb67ae85;
    }
    words[4 * lane] = x0;
    words[4 * lane + 1] = x1;
    words[4 * lane + 2] = x2;
    words[4 * lane + 3] = x3;
  }
}

}  // namespace

void dropout(const float* x, float* y, int64_t begin, int64_t end, const uint32_t key[2], uint32_t step,
             uint32_t threshold, float scale) {
  uint32_t words[4 * kLanes];
  for (int64_t i = begin; i < end; i += 4 * kLanes) {
    philoxBlocks(static_cast<uint64_t>(i) / 4, step, key, words);
    const int64_t count = end - i < 4 * kLanes ? end - i : 4 * kLanes;
    DW_VECTORIZE
    for (int64_t j = 0; j < count; j++) {
      const float kept = x[i + j] * scale;
      y[i + j] = words[j] >= threshold ? kept : 0.0f;
    }
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
