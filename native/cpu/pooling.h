// Reading a pooling's shapes from a node, for the plain and the fused ops.
#ifndef DEPTHWISE_CPU_POOLING_H
#define DEPTHWISE_CPU_POOLING_H

#include "op.h"
#include "window.h"

namespace dw::cpu {

// Of a node whose first input is pooled into y and argmax; its other inputs and their number are the
// caller's.
PoolShape readMaxPool(const Node& node);
// Of a node that reads g and argmax, and whose first output is dx.
PoolShape readMaxPoolGrad(const Node& node);

}  // namespace dw::cpu

#endif
