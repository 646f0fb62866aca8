// Activations and their gradients. Formulas: depthwise_ops.h.
#include "elementwise.h"

namespace dw::cuda {

extern const Op op_relu, op_reluGrad, op_elu, op_eluGrad, op_sigmoid, op_sigmoidGrad;

const Op op_relu = {checkElementwise<1, 0>, prepareElementwise<1, Relu>};
const Op op_reluGrad = {checkElementwise<2, 0>, prepareElementwise<2, ReluGrad>};
const Op op_elu = {checkElementwise<1, 1>, prepareWithNumber<1, Elu>};
const Op op_eluGrad = {checkElementwise<2, 1>, prepareWithNumber<2, EluGrad>};
const Op op_sigmoid = {checkElementwise<1, 0>, prepareElementwise<1, Sigmoid>};
const Op op_sigmoidGrad = {checkElementwise<2, 0>, prepareElementwise<2, SigmoidGrad>};

}  // namespace dw::cuda
