// Many tensors one after the other in one.
#ifndef DEPTHWISE_CUDA_KERNELS_FLAT_CUH
#define DEPTHWISE_CUDA_KERNELS_FLAT_CUH

#include "types.cuh"

namespace dw::cuda {

// Where an operand goes: elements [begin, end) of the output, and zeros up to `next`. from is NULL where it
// lies there.
template <class U>
struct Piece {
  const U* from;
  int64_t begin, end, next;
};

// As many as fit into a kernel's parameters well.
constexpr int kMostPieces = 64;
template <class U>
struct Pieces {
  Piece<U> list[kMostPieces];
};

// A row of blocks for each piece: blockIdx.y.
template <class U>
__global__ void flatten(Pieces<U> pieces, U* y) {
  const Piece<U> piece = pieces.list[blockIdx.y];
  if (piece.from != nullptr)
    for (int64_t i = piece.begin + threadOfGrid(); i < piece.end; i += threadsOfGrid())
      y[i] = piece.from[i - piece.begin];
  const int64_t gap = piece.end + threadOfGrid();
  if (gap < piece.next) y[gap] = U{};
}

}  // namespace dw::cuda

#endif
