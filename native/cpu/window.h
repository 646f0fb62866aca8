// Reading a `window` (strides and explicit padding) from a node's attributes, for convolutions and pooling.
#ifndef DEPTHWISE_CPU_WINDOW_H
#define DEPTHWISE_CPU_WINDOW_H

#include "op.h"

namespace dw::cpu {

struct Window {
  int64_t strideH, strideW, top, bottom, left, right;
};

constexpr uint32_t kWindowAttributes = 6;

// The six attributes from `first` on.
inline Window readWindow(const Node& node, uint32_t first) {
  return {node.integer(first, 1),     node.integer(first + 1, 1), node.integer(first + 2, 0),
          node.integer(first + 3, 0), node.integer(first + 4, 0), node.integer(first + 5, 0)};
}

// Throws unless `output` windows of `span` elements are what `extent` padded elements give.
inline void checkExtent(const Node& node, int64_t extent, int64_t before, int64_t after, int64_t span,
                        int64_t stride, int64_t output) {
  const int64_t padded = extent + before + after;
  if (padded < span || (padded - span) / stride + 1 != output)
    node.invalid("%lld elements, padded by %lld and %lld, do not give %lld windows of %lld at stride %lld",
                 static_cast<long long>(extent), static_cast<long long>(before),
                 static_cast<long long>(after), static_cast<long long>(output), static_cast<long long>(span),
                 static_cast<long long>(stride));
}

}  // namespace dw::cpu

#endif
