// The shapes of a convolution, read from a node with checks.
#ifndef DEPTHWISE_CPU_CONVOLUTION_H
#define DEPTHWISE_CPU_CONVOLUTION_H

#include "op.h"
#include "window.h"

namespace dw::cpu {

// The shapes of one convolution, whichever of its tensors is the output.
struct Convolution {
  int64_t n, h, w, c, o, oh, ow, kernelH, kernelW, groups;
  Window window;
  int64_t dilationH, dilationW;

  bool empty() const { return n == 0; }
  // A product of matrices: every pixel by itself.
  bool pointwise() const {
    return kernelH == 1 && kernelW == 1 && groups == 1 && window.strideH == 1 && window.strideW == 1 &&
           oh == h && ow == w && window.top == 0 && window.left == 0;
  }
  int64_t pixels() const { return n * oh * ow; }
};

// Attributes of every convolution: window, dilation_h, dilation_w, groups.
constexpr uint32_t kConvolutionAttributes = kWindowAttributes + 3;

// From the image, the weights and the result, whichever of these the node reads and writes.
Convolution readConvolution(const Node& node, const dw_aval& x, const dw_aval& w, const dw_aval& y);

}  // namespace dw::cpu

#endif
