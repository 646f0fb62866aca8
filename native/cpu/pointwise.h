// Pointwise convolutions (1x1, stride 1) and their gradients as products of matrices by our own loops.
#ifndef DEPTHWISE_CPU_POINTWISE_H
#define DEPTHWISE_CPU_POINTWISE_H

#include "convolution.h"
#include "device.h"

namespace dw::cpu {

// Measured on Zen 4 over Xception's layers, one core, against oneDNN 2.6.3 held to the same instruction set:
// 109 GFLOP/s against 102 with AVX-512, 107 against 100 with AVX2 (of a peak of 115), and 39 against 41 with
// SSE 4.
inline bool hasPointwiseLoops(const Convolution& conv) {
  return conv.pointwise() && !conv.empty() && conv.c > 0 && conv.o > 0;
}

// For weight gradients: the same, unless the result is small for its many pixels. What bounds these is
// memory, and oneDNN divides them better (128 to 128 channels on 172,872 pixels, two cores: 27 ms against 36
// ms).
inline bool hasPointwiseWeightGradLoops(const Convolution& conv) {
  return hasPointwiseLoops(conv) && conv.o * conv.c > 1 << 16;
}

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
// Inputs g, w.
KernelPointer preparePointwiseInputGrad(dw_device& device, const Convolution& conv);
// Inputs x, g.
KernelPointer preparePointwiseWeightGrad(dw_device& device, const Convolution& conv);

// Bytes of packed filters, and a kernel that packs them: input w.
size_t packedPointwiseBytes(const Convolution& conv);
KernelPointer preparePackPointwise(dw_device& device, const Convolution& conv);

}  // namespace dw::cpu

#endif
