// flatten: operands one after the other in one tensor, each from a multiple of 32 elements on. What lies
// there already is not moved.
#include <algorithm>
#include <vector>

#include "kernels/flat.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

constexpr int64_t kUnit = 32;

int64_t placeSize(const dw_aval& aval) { return (elements(aval) + kUnit - 1) / kUnit * kUnit; }

void checkFlatten(const dw_device&, const Node& node) {
  if (node.inputs() == 0) node.invalid("expected at least one input");
  node.expect(node.inputs(), 1, 0);
  int64_t size = 0;
  for (uint32_t i = 0; i < node.inputs(); i++) {
    node.expectType(node.input(i), node.output(0).dtype);
    if (__builtin_add_overflow(size, placeSize(node.input(i)), &size)) node.invalid("impossible shape");
  }
  node.expectShape(node.output(0), {size});
}

// Elements as what they are in memory.
template <class U>
KernelPointer makeFlatten(const Node& node) {
  std::vector<Piece<U>> places;
  int64_t begin = 0;
  for (uint32_t i = 0; i < node.inputs(); i++) {
    const int64_t next = begin + placeSize(node.input(i));
    places.push_back({nullptr, begin, begin + elements(node.input(i)), next});
    begin = next;
  }
  return makeKernel([places = std::move(places)](const Launch& run) {
    U* const y = run.out<U>(0);
    Pieces<U> pieces;
    int count = 0;
    int64_t largest = 0;
    const auto flush = [&] {
      if (count == 0) return;
      dim3 grid = blocksFor(largest, run.device.multiprocessors);
      grid.y = static_cast<unsigned>(count);
      launch(flatten<U>, grid, kThreads, 0, run.stream(), pieces, y);
      count = 0, largest = 0;
    };
    for (size_t i = 0; i < places.size(); i++) {
      Piece<U> piece = places[i];
      const U* from = run.in<U>(static_cast<int>(i));
      if (from != y + piece.begin) {
        piece.from = from;
        largest = std::max(largest, piece.end - piece.begin);
      }
      if (piece.from == nullptr && piece.next == piece.end) continue;
      pieces.list[count++] = piece;
      if (count == kMostPieces) flush();
    }
    flush();
  });
}

KernelPointer prepareFlatten(dw_device&, const Node& node) {
  switch (byteSize(node.output(0).dtype)) {
    case 1:
      return makeFlatten<uint8_t>(node);
    case 2:
      return makeFlatten<uint16_t>(node);
    case 4:
      return makeFlatten<uint32_t>(node);
    default:
      return makeFlatten<uint64_t>(node);
  }
}

}  // namespace

extern const Op op_flatten;
const Op op_flatten = {checkFlatten, prepareFlatten};

}  // namespace dw::cuda
