// A convolution's operands as oneDNN describes them: NHWC images, weights [o, kh, kw, c/groups] at the
// interface.
#ifndef DEPTHWISE_CPU_DESCRIPTORS_H
#define DEPTHWISE_CPU_DESCRIPTORS_H

#include "convolution.h"
#include "onednn.h"

namespace dw::cpu {

inline onednn::Geometry geometryOf(const Convolution& conv) {
  const Window& window = conv.window;
  return {{window.strideH, window.strideW},
          {conv.dilationH, conv.dilationW},
          {window.top, window.left},
          {window.bottom, window.right}};
}

inline onednn::Desc describeImage(int64_t n, int64_t h, int64_t w, int64_t c) {
  return onednn::Desc({n, c, h, w}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::nhwc);
}

inline dnnl::memory::dims weightDims(const Convolution& conv) {
  if (conv.groups == 1) return {conv.o, conv.c, conv.kernelH, conv.kernelW};
  return {conv.groups, conv.o / conv.groups, conv.c / conv.groups, conv.kernelH, conv.kernelW};
}

// The weights as they are at the interface.
inline onednn::Desc describeWeights(const Convolution& conv) {
  const int64_t c = conv.c / conv.groups, column = c, row = conv.kernelW * c, filter = conv.kernelH * row;
  if (conv.groups == 1)
    return onednn::Desc(weightDims(conv), dnnl::memory::data_type::f32,
                        dnnl::memory::dims{filter, 1, row, column});
  return onednn::Desc(weightDims(conv), dnnl::memory::data_type::f32,
                      dnnl::memory::dims{conv.o / conv.groups * filter, filter, 1, row, column});
}

inline onednn::Desc anyWeights(const Convolution& conv) {
  return onednn::Desc(weightDims(conv), dnnl::memory::data_type::f32, dnnl::memory::format_tag::any);
}

inline onednn::Desc describeVector(int64_t count) {
  return onednn::Desc({count}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a);
}

}  // namespace dw::cpu

#endif
