// The fused depthwise ops, by one kernel of our own or in steps with the libraries' depthwise convolutions.
#ifndef DEPTHWISE_CUDA_DEPTHWISE_WAYS_H
#define DEPTHWISE_CUDA_DEPTHWISE_WAYS_H

#include <functional>

#include "op.h"

namespace dw::cuda {

// The faster one for a node of depthwiseAffine, depthwiseRelu, depthwiseAffineGrad or depthwiseReluGrad that
// has passed its check; `own` makes our kernel, which is taken where nothing can be timed.
KernelPointer fastestDepthwise(dw_device& device, const Node& node,
                               const std::function<KernelPointer()>& own);

}  // namespace dw::cuda

#endif
