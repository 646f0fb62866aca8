// Dynamic loss scaling: select, unscale, lossScaleUpdate. Formulas: depthwise_ops.h.
#include "dispatch.h"
#include "kernels/lossScale.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

void expectScalar(const Node& node, const dw_aval& aval) {
  node.expectRank(aval, 0);
  node.expectType(aval, DW_F32);
}

void checkSelect(const dw_device&, const Node& node) {
  node.expect(3, 1, 0);
  expectScalar(node, node.input(0));
  node.expectFloating(node.output(0));
  for (uint32_t i = 1; i < 3; i++) node.expectSame(node.input(i), node.output(0));
}

template <class U>
KernelPointer makeSelect(int64_t count) {
  return makeKernel([count](const Launch& run) {
    launch(select<U>, blocksFor(count, run.device.multiprocessors), kThreads, 0, run.stream(), run.in(0),
           run.in<U>(1), run.in<U>(2), run.out<U>(0), count);
  });
}

KernelPointer prepareSelect(dw_device&, const Node& node) {
  const int64_t bytes = elements(node.output(0)) * static_cast<int64_t>(byteSize(node.output(0).dtype));
  if (bytes == 0) return makeNothing();
  if (bytes % 16 == 0) return makeSelect<uint4>(bytes / 16);
  return bytes % 4 == 0 ? makeSelect<uint32_t>(bytes / 4) : makeSelect<uint16_t>(bytes / 2);
}

void checkUnscale(const dw_device&, const Node& node) {
  node.expect(2, 2, 0);
  node.expectFloating(node.input(0));
  expectScalar(node, node.input(1));
  node.expectSameShape(node.output(0), node.input(0));
  node.expectType(node.output(0), DW_F32);
  expectScalar(node, node.output(1));
}

KernelPointer prepareUnscale(dw_device&, const Node& node) {
  const int64_t count = elements(node.input(0));
  return withType(node.input(0).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return makeKernel([count](const Launch& run) {
      check(cudaMemsetAsync(run.outputs[1], 0, sizeof(float), run.stream()), "cudaMemsetAsync");
      if (count == 0) return;
      launch(unscale<T>, blocksFor(ceilDivide(count, 4), run.device.multiprocessors), kThreads, 0,
             run.stream(), run.in<T>(0), run.in(1), run.out(0), run.out(1), count);
    });
  });
}

void checkLossScaleUpdate(const dw_device&, const Node& node) {
  node.expect(4, 3, 3);
  for (uint32_t i = 0; i < 4; i++) expectScalar(node, node.input(i));
  for (uint32_t i = 0; i < 3; i++) expectScalar(node, node.output(i));
}

KernelPointer prepareLossScaleUpdate(dw_device&, const Node& node) {
  const float growth = static_cast<float>(node.attribute(0)),
              backoff = static_cast<float>(node.attribute(1)),
              interval = static_cast<float>(node.integer(2, 1));
  return makeKernel([=](const Launch& run) {
    const LossScale state = {run.in(0),  run.in(1),  run.in(2), run.in(3),
                             run.out(0), run.out(1), run.out(2)};
    launch(lossScaleUpdate, 1, 1, 0, run.stream(), state, growth, backoff, interval);
  });
}

}  // namespace

extern const Op op_select, op_unscale, op_lossScaleUpdate;

const Op op_select = {checkSelect, prepareSelect};
const Op op_unscale = {checkUnscale, prepareUnscale};
const Op op_lossScaleUpdate = {checkLossScaleUpdate, prepareLossScaleUpdate};

}  // namespace dw::cuda
