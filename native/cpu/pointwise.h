// Pointwise convolutions (1x1, stride 1) and their gradients as products of matrices by our own loops.
#ifndef DEPTHWISE_CPU_POINTWISE_H
#define DEPTHWISE_CPU_POINTWISE_H

#include "convolution.h"
#include "device.h"

namespace dw::cpu {

// Whether our product is the faster way on this device: see pointwise.cc.
bool hasPointwiseLoops(const dw_device& device, const Convolution& conv);

// What a forward product does beside multiplying. Inputs of the node are x, w, then what is named here, in
// this order.
struct PointwiseEpilogue {
  bool sums = false;      // outputs 1 and 2: sums of y and y*y by channel
  bool bias = false;      // + bias [o]
  bool residual = false;  // + residual, as large as y
  bool relu = false;      // last
  bool packed = false;    // w comes as packPointwise makes it
};

KernelPointer preparePointwise(dw_device& device, const Convolution& conv, const PointwiseEpilogue& epilogue);
// Inputs g, w; with `affine2` g, y, p, q, r, w, and g*p + y*q + r in place of g.
KernelPointer preparePointwiseInputGrad(dw_device& device, const Convolution& conv, bool affine2 = false);
// Inputs x, g; with `affine2` x, g, y, p, q, r.
KernelPointer preparePointwiseWeightGrad(dw_device& device, const Convolution& conv, bool affine2 = false);

// Bytes of packed filters, and a kernel that packs them: input w.
size_t packedPointwiseBytes(const dw_device& device, const Convolution& conv);
KernelPointer preparePackPointwise(dw_device& device, const Convolution& conv);

}  // namespace dw::cpu

#endif
