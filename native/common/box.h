// Walking tensors of up to six axes: axes that lie one after another in memory are merged. Usable in kernels.
#ifndef DEPTHWISE_COMMON_BOX_H
#define DEPTHWISE_COMMON_BOX_H

#include "node.h"

#ifdef __CUDACC__
#define DW_HOST_DEVICE __host__ __device__
#else
#define DW_HOST_DEVICE
#endif

namespace dw {

// A box of elements seen in two tensors, outermost axis first; strides in elements, 0 where a tensor repeats
// itself.
struct Box {
  int32_t rank = 0;
  int64_t extents[DW_MAX_RANK] = {};
  int64_t toStrides[DW_MAX_RANK] = {};
  int64_t fromStrides[DW_MAX_RANK] = {};

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

  int64_t count() const {
    int64_t product = 1;
    for (int32_t i = 0; i < rank; i++) product *= extents[i];
    return product;
  }

  // Where element number `index` is in each tensor.
  DW_HOST_DEVICE void locate(int64_t index, int64_t* to, int64_t* from) const {
    int64_t toOffset = 0, fromOffset = 0;
    for (int32_t i = rank - 1; i > 0; i--) {
      const int64_t at = index % extents[i];
      toOffset += at * toStrides[i];
      fromOffset += at * fromStrides[i];
      index /= extents[i];
    }
    if (rank > 0) {
      toOffset += index * toStrides[0];
      fromOffset += index * fromStrides[0];
    }
    *to = toOffset;
    *from = fromOffset;
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

}  // namespace dw

#endif
