// Launching kernels with a thread for each place of images, for the families that pool.
#ifndef DEPTHWISE_CUDA_POOLING_H
#define DEPTHWISE_CUDA_POOLING_H

#include <algorithm>

#include "dispatch.h"
#include "kernels/pool.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {

// Refuses what Places and PoolImage cannot count in 32 bits: an image of 2^30 elements, 2^31 pixels in all.
inline void expectPlaces(const Node& node, const dw_aval& image) {
  const int64_t pixels = image.dims[1] * image.dims[2];
  if (pixels * image.dims[3] >= int64_t{1} << 30 || image.dims[0] * pixels >= int64_t{1} << 31)
    node.unsupported("images of 2^30 elements, or batches of 2^31 pixels");
}

inline PoolShape expectPlaces(const Node& node, const PoolShape& p) {
  if (p.h * p.w * p.c >= int64_t{1} << 30 || p.oh * p.ow * p.c >= int64_t{1} << 30 ||
      p.n * p.h * p.w >= int64_t{1} << 31)
    node.unsupported("images of 2^30 elements, or batches of 2^31 pixels");
  return p;
}

// As blocksFor, for the places of all images.
inline dim3 blocksFor(const Places& places, int multiprocessors) {
  dim3 grid = blocksFor(places.count, multiprocessors);
  const int64_t most = int64_t{multiprocessors} * 64 / grid.x;
  grid.y = static_cast<unsigned>(std::clamp<int64_t>(std::min(places.images, most), 1, 65535));
  return grid;
}

// A kernel with a thread for each N channels of the images y: `start(run, Type<T>, N, places, grid)` launches
// it.
template <class Start>
KernelPointer perPlace(const dw_aval& y, Start start) {
  if (elements(y) == 0) return makeNothing();
  return withType(y.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return withWidth<T>(channels(y), [&](auto width) {
      constexpr int N = decltype(width)::value;
      const Places places(y.dims[0], y.dims[1], y.dims[2], y.dims[3], N);
      return makeKernel([=](const Launch& run) {
        start(run, Type<T>{}, std::integral_constant<int, N>{}, places,
              blocksFor(places, run.device.multiprocessors));
      });
    });
  });
}

}  // namespace dw::cuda

#endif
