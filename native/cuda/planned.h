// Kernels that are a library's plan, and the choice between one and what it stands for.
#ifndef DEPTHWISE_CUDA_PLANNED_H
#define DEPTHWISE_CUDA_PLANNED_H

#include "op.h"
#include "shapes.h"

namespace dw::cuda {

DataType dataType(int32_t dtype);

// The problem of a convolution of this type on this device, without fusion.
ConvolutionProblem problemOf(const dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                             Direction direction);

// Operands of the plan are those of the node, in its order.
KernelPointer makePlanned(std::unique_ptr<Plan> plan);

// The same, or NULL where none can be made after all: that there is an engine does not mean that it can be
// built.
template <class Problem>
KernelPointer tryPlanned(dw_device& device, const Problem& problem) {
  try {
    return makePlanned(device.plans->plan(problem));
  } catch (const PlanError&) {
    return nullptr;
  }
}

// Throws Unsupported with the libraries' reason where there is no plan.
template <class Problem>
void expectPlan(const dw_device& device, const Node& node, const Problem& problem) {
  const std::string reason = device.plans->unsupported(problem);
  if (!reason.empty()) node.unsupported("%s", reason.c_str());
}

// The faster of two kernels for a node, by timing them on memory of its sizes; the first where there is no
// device to time on, or no memory for it, or where the bits must not depend on what was measured; the second
// where there is no first.
KernelPointer fasterOf(dw_device& device, const Node& node, KernelPointer first, KernelPointer second);

}  // namespace dw::cuda

#endif
