// Dropout: counter-based, so eager and compiled runs agree bit for bit. Formula: depthwise_ops.h.
#include <cmath>

#include "op.h"

namespace dw::cpu {
namespace {

void check(const Node& node) {
  node.expect(2, 1, 2);
  node.expectType(node.input(0), DW_F32);
  node.expectType(node.input(1), DW_I32);
  node.expectType(node.output(0), DW_F32);
  node.expectSameShape(node.input(0), node.output(0));
  node.expectShape(node.input(1), {2});
  const double rate = node.attribute(0);
  if (!(rate >= 0 && rate < 1)) node.invalid("rate: expected a number from 0 to below 1, got %g", rate);
  if (node.integer(1, 0) > UINT32_MAX) node.invalid("stream: expected 32 bits, got %g", node.attribute(1));
}

KernelPointer prepare(dw_device& device, const Node& node) {
  const double rate = node.attribute(0);
  const uint32_t threshold = static_cast<uint32_t>(std::floor(rate * 4294967296.0));
  const uint32_t stream = static_cast<uint32_t>(node.integer(1, 0));
  const float scale = static_cast<float>(1 / (1 - rate));
  const int64_t count = elements(node.output(0));
  return makeKernel([=, kernel = device.kernels->dropout](const Launch& run) {
    const int32_t* counter = static_cast<const int32_t*>(run.inputs[1]);
    const uint32_t key[2] = {static_cast<uint32_t>(counter[0]), stream};
    const uint32_t step = static_cast<uint32_t>(counter[1]);
    // Whole blocks of four elements: they share one counter.
    parallelFor((count + 3) / 4, 4, [&](int64_t begin, int64_t end) {
      kernel(run.in(0), run.out(0), begin * 4, std::min(end * 4, count), key, step, threshold, scale);
    });
  });
}

}  // namespace

extern const Op op_dropout;
const Op op_dropout = {check, prepare};

}  // namespace dw::cpu
