// The tile of a product of matrices: how much of the result is held in registers at once. Included by the
// kernel sources only.
#ifndef DEPTHWISE_CPU_KERNELS_PRODUCT_H
#define DEPTHWISE_CPU_KERNELS_PRODUCT_H

#include "vectors.h"

namespace dw::cpu {
namespace DW_ISA {

// Two vectors of columns; and as many rows as registers hold beside two vectors of the right matrix and one
// value of the left: 28 of 32 registers, or 12 of 16.
constexpr int kTileColumns = 2 * kWidth;
constexpr int kTileRows = kWidth == 16 ? 14 : 6;

}  // namespace DW_ISA
}  // namespace dw::cpu

#endif
