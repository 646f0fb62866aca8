// Launching maps over channels, and sums over them, for the families that have such ops.
#ifndef DEPTHWISE_CUDA_CHANNELS_H
#define DEPTHWISE_CUDA_CHANNELS_H

#include <algorithm>
#include <array>

#include "dispatch.h"
#include "kernels/channel.cuh"
#include "kernels/sums.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {

// y = f of tensors and vectors, on `rows` x `c` elements, N channels at a time.
template <int N, class F, class S, class V, class T>
void launchChannelMap(const Launch& run, F f,
                      const ChannelOperands<S, V, T, F::kTensors, F::kVectors>& operands, int64_t rows,
                      int64_t c) {
  if (rows * c == 0) return;
  dim3 grid = blocksFor(rows * (c / N), run.device.multiprocessors);
  // A thread for each pack of a row at least.
  grid.x = std::max(grid.x, static_cast<unsigned>(ceilDivide(c / N, kThreads)));
  launch(channelMap<N, F, S, V, T>, grid, kThreads, 0, run.stream(), f, operands, rows, c);
}

// A kernel of tensors, then vectors f32[c], as inputs in the order of the op.
template <class F>
KernelPointer channelMapKernel(const Node& node, const int (&tensors)[F::kTensors],
                               const int (&vectors)[F::kVectors]) {
  const dw_aval& y = node.output(0);
  const int64_t c = channels(y), count = rows(y);
  std::array<int, F::kTensors> from;
  std::array<int, F::kVectors> with;
  std::copy_n(tensors, F::kTensors, from.begin());
  std::copy_n(vectors, F::kVectors, with.begin());
  return withType(y.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return withWidth<T>(c, [&](auto width) {
      constexpr int N = decltype(width)::value;
      return makeKernel([=](const Launch& run) {
        ChannelOperands<T, float, T, F::kTensors, F::kVectors> operands = {};
        for (int i = 0; i < F::kTensors; i++) operands.tensors[i] = run.in<T>(from[i]);
        for (int i = 0; i < F::kVectors; i++) operands.vectors[i] = run.in(with[i]);
        operands.y = run.out<T>(0);
        launchChannelMap<N>(run, F{}, operands, count, c);
      });
    });
  });
}

// How sums over `rows` x `c`, N channels to a thread, are divided. By shape and device alone.
inline SumsGrid sumsGrid(int64_t rows, int64_t c, int N, int multiprocessors) {
  SumsGrid grid = {};
  const int64_t packs = std::max<int64_t>(1, c / N);
  grid.width = 1;
  while (grid.width < 32 && grid.width < packs) grid.width *= 2;
  grid.height = kThreads / grid.width;
  grid.columns = static_cast<unsigned>(ceilDivide(packs, grid.width));
  // Two waves of blocks, of which each has at least one round of plain rows.
  const int64_t wanted = ceilDivide(int64_t{multiprocessors} * 16, grid.columns);
  const int64_t filled = rows / (int64_t{grid.height} * kPlainRows);
  grid.parts = static_cast<unsigned>(std::clamp<int64_t>(std::min(wanted, filled), 1, 1024));
  return grid;
}

inline size_t sumsBytes(const SumsGrid& grid, int64_t c) {
  return piece(static_cast<size_t>(2 * c) * grid.parts * sizeof(float));
}

// The partial sums of a source over `rows` x `c` into partials[parts][2][c].
template <int N, class Source>
void launchPartialSums(const Launch& run, const Source& source, const SumsGrid& grid, int64_t rows, int64_t c,
                       float* partials) {
  launch(partialSums<N, Source>, dim3(grid.columns, grid.parts), dim3(grid.width, grid.height),
         2 * kThreads * N * sizeof(float), run.stream(), source, rows, c, partials);
}

// The threads that add up the partial sums of 32 channels: up to 16 to a channel, each of 16 parts or more.
// One alone would need longer for hundreds of parts than the device for what they are sums of.
inline dim3 finishBlock(unsigned parts) {
  unsigned height = 1;
  while (height < 16 && height * 16 <= parts) height *= 2;
  return dim3(32, height);
}

inline dim3 finishBlocks(int64_t c) { return dim3(static_cast<unsigned>(ceilDivide(c, 32))); }

// Both sums of a source. `partials`: sumsBytes of scratch memory.
template <int N, class Source>
void launchSums(const Launch& run, const Source& source, const SumsGrid& grid, int64_t rows, int64_t c,
                float* partials, float* first, float* second) {
  if (c == 0) return;
  launchPartialSums<N>(run, source, grid, rows, c, partials);
  const dim3 block = finishBlock(grid.parts);
  launch(finishSums<>, finishBlocks(c), block, 2 * block.x * block.y * sizeof(Sum), run.stream(), partials,
         grid.parts, c, first, second);
}

// A kernel of both sums. `source` makes, of a Launch and Type<T>, the source.
template <class MakeSource>
KernelPointer sumsKernel(dw_device& device, int32_t dtype, int64_t rows, int64_t c, int firstOutput,
                         MakeSource makeSource) {
  return withType(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return withWidth<T>(c, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const SumsGrid grid = sumsGrid(rows, c, N, device.multiprocessors);
      return makeKernel(
          [=](const Launch& run) {
            launchSums<N>(run, makeSource(run, Type<T>{}), grid, rows, c, run.scratch(), run.out(firstOutput),
                          run.out(firstOutput + 1));
          },
          sumsBytes(grid, c));
    });
  });
}

}  // namespace dw::cuda

#endif
