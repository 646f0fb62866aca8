// Depthwise convolutions by our own loops: 3x3 at stride 1, one filter per channel.
#ifndef DEPTHWISE_CPU_DEPTHWISE_CONVOLUTION_H
#define DEPTHWISE_CPU_DEPTHWISE_CONVOLUTION_H

#include "convolution.h"

namespace dw::cpu {

// Whether the loops of kernels/depthwise.cc can do it.
bool hasDepthwiseLoops(const Convolution& conv);

// conv2d, conv2dInputGrad and conv2dWeightGrad of such a convolution.
KernelPointer prepareDepthwise(dw_device& device, const Convolution& conv);
KernelPointer prepareDepthwiseInputGrad(dw_device& device, const Convolution& conv);
KernelPointer prepareDepthwiseWeightGrad(dw_device& device, const Convolution& conv);

}  // namespace dw::cpu

#endif
