// Depthwise convolutions by our own kernels.
#ifndef DEPTHWISE_CUDA_DEPTHWISE_CONVOLUTION_H
#define DEPTHWISE_CUDA_DEPTHWISE_CONVOLUTION_H

#include "op.h"
#include "shapes.h"

namespace dw::cuda {

// Which operands a depthwise op has, by their place; -1: none.
struct DepthwiseOperands {
  int g = -1, x = -1, scale = -1, shift = -1, w = -1, residual = -1;  // inputs
  int y = -1, dx = -1, dw = -1, sumG = -1, sumGX = -1;                // outputs
};

// y, or dx and dw as far as they are wanted; with an affine map and ReLU on load. Picks the form.
KernelPointer prepareDepthwise(dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                               const DepthwiseOperands& operands, bool relu);

// The form for 3x3 windows with stride 1, or NULL where it does not do this.
KernelPointer prepareDepthwise3x3(dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                                  const DepthwiseOperands& operands, bool relu);

}  // namespace dw::cuda

#endif
