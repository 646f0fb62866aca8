// Activations and their gradients. Formulas: depthwise_ops.h.
#include "elementwise.h"

namespace dw::cpu {
namespace {

KernelPointer prepareEluGrad(dw_device& device, const Node& node) {
  const float alpha = static_cast<float>(node.attribute(0));
  return makeKernel(
      [kernel = device.kernels->eluGrad, alpha, count = elements(node.output(0))](const Launch& run) {
        parallelFor(count, 1, [&](int64_t begin, int64_t end) {
          kernel(run.in(0) + begin, run.in(1) + begin, run.out(0) + begin, end - begin, alpha);
        });
      });
}

}  // namespace

extern const Op op_relu, op_reluGrad, op_elu, op_eluGrad, op_sigmoid, op_sigmoidGrad;

const Op op_relu = {checkElementwise<1, 0>, unary<&Kernels::relu>};
const Op op_reluGrad = {checkElementwise<2, 0>, binary<&Kernels::reluGrad>};
const Op op_elu = {checkElementwise<1, 1>, unaryWithNumber<&Kernels::elu>};
const Op op_eluGrad = {checkElementwise<2, 1>, prepareEluGrad};
const Op op_sigmoid = {checkElementwise<1, 0>, unary<&Kernels::sigmoid>};
const Op op_sigmoidGrad = {checkElementwise<2, 0>, binary<&Kernels::sigmoidGrad>};

}  // namespace dw::cpu
