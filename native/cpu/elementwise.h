// Ops whose every element is a function of the elements at its place: checks and kernels shared by their
// families.
#ifndef DEPTHWISE_CPU_ELEMENTWISE_H
#define DEPTHWISE_CPU_ELEMENTWISE_H

#include "op.h"

namespace dw::cpu {

using UnaryKernel = void(const float*, float*, int64_t);
using BinaryKernel = void(const float*, const float*, float*, int64_t);

// f32 everywhere, all operands of one shape, `attributes` numbers.
template <uint32_t kInputs, uint32_t kAttributes>
void checkElementwise(const Node& node) {
  node.expect(kInputs, 1, kAttributes);
  node.expectFloats();
  for (uint32_t i = 0; i < kInputs; i++) node.expectSameShape(node.input(i), node.output(0));
}

template <UnaryKernel* Kernels::* kKernel>
KernelPointer unary(dw_device& device, const Node& node) {
  return makeKernel([kernel = device.kernels->*kKernel, count = elements(node.output(0))](const Launch& run) {
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin, run.out(0) + begin, end - begin);
    });
  });
}

template <BinaryKernel* Kernels::* kKernel>
KernelPointer binary(dw_device& device, const Node& node) {
  return makeKernel([kernel = device.kernels->*kKernel, count = elements(node.output(0))](const Launch& run) {
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin, run.in(1) + begin, run.out(0) + begin, end - begin);
    });
  });
}

template <void (*Kernels::*kKernel)(const float*, float*, int64_t, float)>
KernelPointer unaryWithNumber(dw_device& device, const Node& node) {
  const float number = static_cast<float>(node.attribute(0));
  return makeKernel(
      [kernel = device.kernels->*kKernel, number, count = elements(node.output(0))](const Launch& run) {
        parallelFor(count, 1, [&](int64_t begin, int64_t end) {
          kernel(run.in(0) + begin, run.out(0) + begin, end - begin, number);
        });
      });
}

}  // namespace dw::cpu

#endif
