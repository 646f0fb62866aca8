// sum over any axes, in f32 without loss to rounding.
#include "dispatch.h"
#include "kernels/reduce.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

// Which axes go, from the attributes.
struct Axes {
  explicit Axes(const Node& node) {
    const dw_aval& x = node.input(0);
    int64_t previous = -1;
    for (uint32_t i = 1; i < node.attributes(); i++) {
      const int64_t axis = node.integer(i, 0);
      if (axis >= x.rank || axis <= previous) node.invalid("axes: expected ascending axes below %d", x.rank);
      reduced[axis] = true;
      previous = axis;
    }
  }
  bool reduced[DW_MAX_RANK] = {};
};

void checkSum(const dw_device&, const Node& node) {
  if (node.inputs() != 1 || node.outputs() != 1 || node.attributes() == 0) node.invalid("expected one input");
  node.expectFloating(node.input(0));
  const Axes axes(node);
  const dw_aval& x = node.input(0);
  const bool keep = node.attribute(0) != 0;
  dw_aval wanted = x;
  wanted.rank = 0;
  for (int32_t i = 0; i < x.rank; i++) {
    if (!axes.reduced[i])
      wanted.dims[wanted.rank++] = x.dims[i];
    else if (keep)
      wanted.dims[wanted.rank++] = 1;
  }
  node.expectSame(node.output(0), wanted);
}

KernelPointer prepareSum(dw_device& device, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  if (elements(y) == 0) return makeNothing();
  const Axes axes(node);
  int64_t strides[DW_MAX_RANK];
  denseStrides(x, strides);
  ReduceShape shape = {};
  bool byBlock = true;  // the innermost axis of more than one element goes
  for (int32_t i = 0; i < x.rank; i++) {
    (axes.reduced[i] ? shape.reduced : shape.kept).push(x.dims[i], 0, strides[i]);
    if (x.dims[i] > 1) byBlock = axes.reduced[i];
  }
  shape.keptCount = elements(y);
  shape.reducedCount = elements(x) / shape.keptCount;
  // Parts where there are too few results to fill the device; each has a thousand terms at least.
  const int64_t fill = int64_t{device.multiprocessors} * (byBlock ? 8 : 2048);
  const int64_t parts =
      std::clamp<int64_t>(std::min(fill / shape.keptCount, shape.reducedCount / 1024), 1, 1024);
  return withType(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return makeKernel(
        [=](const Launch& run) {
          const int count = run.device.multiprocessors;
          float* partials = run.scratch();
          if (byBlock) {
            const int64_t blocks = std::min<int64_t>(shape.keptCount, int64_t{count} * 64);
            launch(reduceByBlock<T>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(parts)),
                   kThreads, kThreads * sizeof(float), run.stream(), shape, run.in<T>(0), partials);
          } else {
            dim3 grid = blocksFor(shape.keptCount, count);
            grid.y = static_cast<unsigned>(parts);
            launch(reduceByThread<T>, grid, kThreads, 0, run.stream(), shape, run.in<T>(0), partials);
          }
          launch(finishReduce<T>, blocksFor(shape.keptCount, count), kThreads, 0, run.stream(), partials,
                 parts, shape.keptCount, run.out<T>(0));
        },
        piece(static_cast<size_t>(shape.keptCount * parts) * sizeof(float)));
  });
}

}  // namespace

extern const Op op_sum;
const Op op_sum = {checkSum, prepareSum};

}  // namespace dw::cuda
