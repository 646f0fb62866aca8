// From types and extents at run time to the templates of kernels.
#ifndef DEPTHWISE_CUDA_DISPATCH_H
#define DEPTHWISE_CUDA_DISPATCH_H

#include <type_traits>

#include "kernels/types.cuh"
#include "node.h"

namespace dw::cuda {

template <class T>
struct Type {
  using type = T;
};

// f(Type<T>) for a floating type that has passed Node::expectFloating.
template <class F>
auto withType(int32_t dtype, const F& f) {
  switch (dtype) {
    case DW_F32:
      return f(Type<float>{});
    case DW_F16:
      return f(Type<__half>{});
    case DW_BF16:
      return f(Type<__nv_bfloat16>{});
    default:
      throw Error(DW_INTERNAL, "a kernel for %s was asked for", typeName(dtype));
  }
}

// f(how many channels a thread takes at once): as many as 16 bytes hold where that divides all of them, else
// one.
template <class T, class F>
auto withWidth(int64_t c, const F& f) {
  if (c % kWide<T> == 0) return f(std::integral_constant<int, kWide<T>>{});
  return f(std::integral_constant<int, 1>{});
}

}  // namespace dw::cuda

#endif
