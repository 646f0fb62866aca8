// Arithmetic on tensors of one shape.
#include "elementwise.h"

namespace dw::cuda {

extern const Op op_add, op_subtract, op_multiply, op_scale, op_square;

const Op op_add = {checkElementwise<2, 0>, prepareElementwise<2, Add>};
const Op op_subtract = {checkElementwise<2, 0>, prepareElementwise<2, Subtract>};
const Op op_multiply = {checkElementwise<2, 0>, prepareElementwise<2, Multiply>};
const Op op_scale = {checkElementwise<1, 1>, prepareWithNumber<1, Scale>};
const Op op_square = {checkElementwise<1, 0>, prepareElementwise<1, Square>};

}  // namespace dw::cuda
