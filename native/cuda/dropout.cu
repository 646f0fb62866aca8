// Dropout: counter-based, so eager and compiled runs agree bit for bit. Formula: depthwise_ops.h.
#include <cmath>

#include "dispatch.h"
#include "kernels/dropout.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

void checkDropout(const dw_device&, const Node& node) {
  node.expect(2, 1, 2);
  node.expectFloating(node.input(0));
  node.expectSame(node.input(0), node.output(0));
  node.expectType(node.input(1), DW_I32);
  node.expectShape(node.input(1), {2});
  const double rate = node.attribute(0);
  if (!(rate >= 0 && rate < 1)) node.invalid("rate: expected a number from 0 to below 1, got %g", rate);
  if (node.integer(1, 0) > UINT32_MAX) node.invalid("stream: expected 32 bits, got %g", node.attribute(1));
}

KernelPointer prepareDropout(dw_device&, const Node& node) {
  const double rate = node.attribute(0);
  const uint32_t threshold = static_cast<uint32_t>(std::floor(rate * 4294967296.0));
  const uint32_t stream = static_cast<uint32_t>(node.integer(1, 0));
  const float scale = static_cast<float>(1 / (1 - rate));
  const int64_t count = elements(node.output(0));
  if (count == 0) return makeNothing();
  return withType(node.output(0).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return makeKernel([=](const Launch& run) {
      launch(dropout<T>, blocksFor(ceilDivide(count, 4), run.device.multiprocessors), kThreads, 0,
             run.stream(), run.in<T>(0), run.in<int32_t>(1), run.out<T>(0), count, stream, threshold, scale);
    });
  });
}

}  // namespace

extern const Op op_dropout;
const Op op_dropout = {checkDropout, prepareDropout};

}  // namespace dw::cuda
