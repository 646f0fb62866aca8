// Ops whose every element is a function of the elements at its place: check and kernel shared by their
// families.
#ifndef DEPTHWISE_CUDA_ELEMENTWISE_H
#define DEPTHWISE_CUDA_ELEMENTWISE_H

#include "dispatch.h"
#include "kernels/elementwise.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {

// One floating type, one shape, `kAttributes` numbers.
template <uint32_t kInputs, uint32_t kAttributes>
void checkElementwise(const dw_device&, const Node& node) {
  node.expect(kInputs, 1, kAttributes);
  node.expectFloating(node.output(0));
  for (uint32_t i = 0; i < kInputs; i++) node.expectSame(node.input(i), node.output(0));
}

template <int kInputs, class F>
KernelPointer elementwiseKernel(const Node& node, F f) {
  const int64_t count = elements(node.output(0));
  if (count == 0) return makeNothing();
  return withType(node.output(0).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return makeKernel([=](const Launch& run) {
      launch(elementwise<kInputs, F, T>, blocksFor(ceilDivide(count, kWide<T>), run.device.multiprocessors),
             kThreads, 0, run.stream(), f, run.in<T>(0), kInputs == 2 ? run.in<T>(1) : nullptr, run.out<T>(0),
             count);
    });
  });
}

// A function without numbers of its own, and one whose number is the first attribute.
template <int kInputs, class F>
KernelPointer prepareElementwise(dw_device&, const Node& node) {
  return elementwiseKernel<kInputs>(node, F{});
}
template <int kInputs, class F>
KernelPointer prepareWithNumber(dw_device&, const Node& node) {
  return elementwiseKernel<kInputs>(node, F{static_cast<float>(node.attribute(0))});
}

}  // namespace dw::cuda

#endif
