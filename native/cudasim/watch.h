// Kernels of the simulation that may reach their operands and nothing else: under AddressSanitizer, a node
// that leaves what it names ends the program, also within an arena or a block of parameters, where its
// neighbours lie.
#ifndef DEPTHWISE_CUDASIM_WATCH_H
#define DEPTHWISE_CUDASIM_WATCH_H

#include "op.h"

namespace dw::cuda {

// The kernel of a node; under AddressSanitizer, one that is confined to the node's operands and its
// workspace.
KernelPointer watch(KernelPointer kernel, const Node& node);

}  // namespace dw::cuda

#endif
