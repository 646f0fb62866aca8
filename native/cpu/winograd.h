// Dense 3x3 convolutions at stride 1 by Winograd's minimal filtering: 2.25 times fewer multiplications.
#ifndef DEPTHWISE_CPU_WINOGRAD_H
#define DEPTHWISE_CPU_WINOGRAD_H

#include "convolution.h"
#include "device.h"

namespace dw::cpu {

// Whether it is done so: with few channels transforms take what products save, and with many a task's share
// of tiles gets too small for the caches to hold its filters. Measured on Zen 4, two cores, 8 images of
// 149x149, 32 to 64 channels: 22, 23 and 27 ms (convolution with sums, input and
// weight gradient) against 30, 33 and 35 ms by oneDNN 2.6.3.
bool hasWinograd(const Convolution& conv);

// What the convolution does beside. Inputs of the node are x, w, then the bias.
struct WinogradEpilogue {
  bool sums = false;    // outputs 1 and 2: sums of y and y*y by channel
  bool bias = false;    // + bias [o]
  bool relu = false;    // last
  bool packed = false;  // w comes as packWinograd makes it
};

KernelPointer prepareWinograd(dw_device& device, const Convolution& conv, const WinogradEpilogue& epilogue);
// Inputs g, w.
KernelPointer prepareWinogradInputGrad(dw_device& device, const Convolution& conv);
// Inputs x, g.
KernelPointer prepareWinogradWeightGrad(dw_device& device, const Convolution& conv);

// Bytes of transformed filters, and a kernel that makes them: input w.
size_t packedWinogradBytes(const Convolution& conv);
KernelPointer preparePackWinograd(dw_device& device, const Convolution& conv);

}  // namespace dw::cpu

#endif
