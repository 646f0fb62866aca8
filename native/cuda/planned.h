// Kernels that are a library's plan, and the choice among several ways to compute the same.
#ifndef DEPTHWISE_CUDA_PLANNED_H
#define DEPTHWISE_CUDA_PLANNED_H

#include <functional>
#include <vector>

#include "op.h"
#include "shapes.h"

namespace dw::cuda {

DataType dataType(int32_t dtype);

// The problem of a convolution of this type on this device, without fusion.
ConvolutionProblem problemOf(const dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                             Direction direction);

// A product of matrices of this type on this device.
MatrixProblem matrixOf(const dw_device& device, int32_t dtype, int64_t m, int64_t n, int64_t k);

// Operands of the plan are those of the node, in its order; `swapped`: the first two change places.
KernelPointer makePlanned(std::unique_ptr<Plan> plan, bool swapped = false);

template <class Problem>
bool isPlanned(const dw_device& device, const Problem& problem) {
  return device.plans->unsupported(problem).empty();
}

// Throws Unsupported with the libraries' reason where there is no plan.
template <class Problem>
void expectPlan(const dw_device& device, const Node& node, const Problem& problem) {
  const std::string reason = device.plans->unsupported(problem);
  if (!reason.empty()) node.unsupported("%s", reason.c_str());
}

// One of several ways to compute a node. `make` throws PlanError where it cannot be done after all: that
// there is an engine does not mean that it can be built.
struct Way {
  const char* name;  // in what is kept of the choice: never with another meaning
  std::function<KernelPointer()> make;
};

// The fastest of the ways that can be made: timed on memory of the node's sizes, and remembered with the
// plans. The first of them where nothing can be timed, there is no memory for it, the time for choosing is
// spent, or the bits must not depend on what was measured. Throws the last PlanError where there is none.
KernelPointer fastestOf(dw_device& device, const Node& node, const std::vector<Way>& ways);

}  // namespace dw::cuda

#endif
