// Walking tensors of up to six axes: axes that lie one after another in memory are merged, then rows are
// walked.
#ifndef DEPTHWISE_CPU_STRIDED_H
#define DEPTHWISE_CPU_STRIDED_H

#include "op.h"

namespace dw::cpu {

// A box of elements seen in two tensors, outermost axis first; strides in elements, 0 where a tensor repeats
// itself.
struct Box {
  int rank = 0;
  int64_t extents[DW_MAX_RANK + 1] = {};
  int64_t toStrides[DW_MAX_RANK + 1] = {};
  int64_t fromStrides[DW_MAX_RANK + 1] = {};

  // Appends an inner axis; leaves out axes of one element, and merges where both tensors go on without a gap.
  void push(int64_t extent, int64_t toStride, int64_t fromStride) {
    if (extent == 1) return;
    if (rank > 0 && toStrides[rank - 1] == extent * toStride &&
        fromStrides[rank - 1] == extent * fromStride) {
      extents[rank - 1] *= extent;
      toStrides[rank - 1] = toStride;
      fromStrides[rank - 1] = fromStride;
      return;
    }
    extents[rank] = extent;
    toStrides[rank] = toStride;
    fromStrides[rank] = fromStride;
    rank++;
  }

  // Afterwards there is at least one axis: the row.
  void finish() {
    if (rank > 0) return;
    extents[0] = toStrides[0] = fromStrides[0] = 1;
    rank = 1;
  }

  int64_t rowExtent() const { return extents[rank - 1]; }
  int64_t rowCount() const {
    int64_t count = 1;
    for (int i = 0; i + 1 < rank; i++) count *= extents[i];
    return count;
  }

  // Where row number `row` begins in each tensor.
  void locate(int64_t row, int64_t* to, int64_t* from) const {
    *to = *from = 0;
    for (int i = rank - 2; i >= 0; i--) {
      *to += row % extents[i] * toStrides[i];
      *from += row % extents[i] * fromStrides[i];
      row /= extents[i];
    }
  }
};

// Strides in elements of a dense tensor.
inline void denseStrides(const dw_aval& aval, int64_t strides[DW_MAX_RANK]) {
  int64_t stride = 1;
  for (int32_t i = aval.rank - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= aval.dims[i];
  }
}

}  // namespace dw::cpu

#endif
