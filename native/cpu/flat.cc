// flatten: operands one after the other in one tensor, each from a multiple of 32 elements on. What lies there already
// is not moved.
#include <cstring>
#include <vector>

#include "op.h"

namespace dw::cpu {
namespace {

constexpr int64_t kUnit = 32;

int64_t placeSize(const dw_aval& aval) { return (elements(aval) + kUnit - 1) / kUnit * kUnit; }

void checkFlatten(const Node& node) {
  if (node.inputs() == 0) node.invalid("expected at least one input");
  node.expect(node.inputs(), 1, 0);
  int64_t size = 0;
  for (uint32_t i = 0; i < node.inputs(); i++) {
    if (node.input(i).dtype != node.output(0).dtype) node.invalid("the output is of another type");
    if (__builtin_add_overflow(size, placeSize(node.input(i)), &size)) node.invalid("impossible shape");
  }
  node.expectShape(node.output(0), {size});
}

// An operand's place in the output, in bytes, and what is left between it and the next.
struct Place {
  int64_t begin, end, next;
};

KernelPointer prepareFlatten(dw_device&, const Node& node) {
  const auto bytes = static_cast<int64_t>(byteSize(node.output(0).dtype));
  std::vector<Place> places;
  int64_t offset = 0;
  for (uint32_t i = 0; i < node.inputs(); i++) {
    const int64_t next = offset + placeSize(node.input(i)) * bytes;
    places.push_back({offset, offset + elements(node.input(i)) * bytes, next});
    offset = next;
  }
  return makeKernel([places = std::move(places)](const Launch& run) {
    char* const y = static_cast<char*>(run.outputs[0]);
    for (size_t i = 0; i < places.size(); i++) {
      const auto [begin, end, next] = places[i];
      const char* const x = static_cast<const char*>(run.inputs[i]);
      if (x != y + begin) {
        parallelFor(end - begin, 1, [x, to = y + begin](int64_t from, int64_t until) {
          std::memcpy(to + from, x + from, static_cast<size_t>(until - from));
        });
      }
      std::memset(y + end, 0, static_cast<size_t>(next - end));
    }
  });
}

}  // namespace

extern const Op op_flatten;
const Op op_flatten = {checkFlatten, prepareFlatten};

}  // namespace dw::cpu
