// Arithmetic on tensors of one shape.
#include "elementwise.h"

namespace dw::cpu {

extern const Op op_add, op_subtract, op_multiply, op_scale, op_square;

const Op op_add = {checkElementwise<2, 0>, binary<&Kernels::add>};
const Op op_subtract = {checkElementwise<2, 0>, binary<&Kernels::subtract>};
const Op op_multiply = {checkElementwise<2, 0>, binary<&Kernels::multiply>};
const Op op_scale = {checkElementwise<1, 1>, unaryWithNumber<&Kernels::scale>};
const Op op_square = {checkElementwise<1, 0>, unary<&Kernels::square>};

}  // namespace dw::cpu
