// gradientGate: whether a step may change anything, and by what its gradient is multiplied. Formula: depthwise_ops.h.
#include "kernels/gradientGate.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

void checkGradientGate(const dw_device&, const Node& node) {
  node.expect(2, 3, 2);
  node.expectFloating(node.input(0));
  if (node.input(0).dtype != DW_F32)
    node.unsupported("gradients are measured in f32, not in %s", typeName(node.input(0).dtype));
  const auto expectScalar = [&](const dw_aval& aval) {
    node.expectRank(aval, 0);
    node.expectType(aval, DW_F32);
  };
  expectScalar(node.input(1));
  for (uint32_t i = 0; i < 3; i++) expectScalar(node.output(i));
  node.integer(1, 1);
}

KernelPointer prepare(dw_device& device, const Node& node) {
  const int64_t count = elements(node.input(0));
  const double clip = node.attribute(0), batches = static_cast<double>(node.integer(1, 1));
  const dim3 grid = blocksFor(ceilDivide(count, 4), device.multiprocessors);
  const size_t shared = kThreads * sizeof(double);
  return makeKernel(
      [=](const Launch& run) {
        double* partials = run.scratch<double>();
        launch(squares, grid, kThreads, shared, run.stream(), run.in(0), count, partials);
        launch(gradientGate, 1, kThreads, shared, run.stream(), partials, int64_t{grid.x}, run.in(1), clip,
               batches, run.out(0), run.out(1), run.out(2));
      },
      piece(grid.x * sizeof(double)));
}

}  // namespace

extern const Op op_gradientGate;
const Op op_gradientGate = {checkGradientGate, prepare};

}  // namespace dw::cuda
