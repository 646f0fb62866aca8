// Shapes of convolutions and poolings, read from nodes with checks.
#ifndef DEPTHWISE_COMMON_SHAPES_H
#define DEPTHWISE_COMMON_SHAPES_H

#include "node.h"

namespace dw {

// Strides and explicit padding: the attributes that the op table calls `window`.
struct Window {
  int64_t strideH, strideW, top, bottom, left, right;
};

constexpr uint32_t kWindowAttributes = 6;
// Of every convolution: window, dilation_h, dilation_w, groups.
constexpr uint32_t kConvolutionAttributes = kWindowAttributes + 3;

// One convolution, whichever of its tensors is the output: x[n,h,w,c], w[o,kernelH,kernelW,c/groups],
// y[n,oh,ow,o].
struct ConvolutionShape {
  int64_t n, h, w, c, o, oh, ow, kernelH, kernelW, groups;
  Window window;
  int64_t dilationH, dilationW;

  bool empty() const { return n == 0; }
  // A filter of its own for each channel.
  bool depthwise() const { return groups == c && o == c; }
  int64_t pixels() const { return n * oh * ow; }
  int64_t weights() const { return o * kernelH * kernelW * (c / groups); }
};

// From the image, the weights and the result, whichever of these the node reads and writes: of one floating
// type.
ConvolutionShape readConvolution(const Node& node, const dw_aval& x, const dw_aval& w, const dw_aval& y);

// A pooling of x[n,h,w,c] to y[n,oh,ow,c].
struct PoolShape {
  int64_t n, h, w, c, oh, ow;
  int64_t kernelH, kernelW, strideH, strideW, top, left;
  bool countPadding;
};

// From its image (x or dx) and its pooled tensor (y or g); attributes kernel_h, kernel_w, window.
PoolShape readPool(const Node& node, const dw_aval& image, const dw_aval& pooled);
// The same with a one-byte argmax: windows of at most 256 elements.
PoolShape readMaxPool(const Node& node, const dw_aval& image, const dw_aval& pooled, const dw_aval& argmax);

}  // namespace dw

#endif
