// A product of matrices, as a kernel: linear layers.
#ifndef DEPTHWISE_CPU_MATMUL_H
#define DEPTHWISE_CPU_MATMUL_H

#include "op.h"

namespace dw::cpu {

// A dense matrix [rows, columns] in memory; `transposed` means that [columns, rows] is what lies there.
struct Matrix {
  int64_t rows, columns;
  bool transposed;
};

// y [a.rows, b.columns] = a b, with the node's inputs number `inputA` and `inputB`. Zeros if there is nothing
// to add.
KernelPointer prepareProduct(dw_device& device, Matrix a, int inputA, Matrix b, int inputB);

}  // namespace dw::cpu

#endif
