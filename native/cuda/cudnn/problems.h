// Problems as the C interface has them: numbers in the order of depthwise_cudnn.h.
#ifndef DEPTHWISE_CUDNN_PROBLEMS_H
#define DEPTHWISE_CUDNN_PROBLEMS_H

#include <cstddef>
#include <variant>

#include "../plans.h"

namespace dw::cuda {

using Problem = std::variant<ConvolutionProblem, NormalizationProblem, PoolingProblem>;

// Throws std::invalid_argument that names the number which is wrong.
Problem readProblem(const double* numbers, size_t count);

}  // namespace dw::cuda

#endif
