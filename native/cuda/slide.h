// How depthwise3x3 is divided among blocks: by shape, type and device alone, so that the bits repeat.
#ifndef DEPTHWISE_CUDA_SLIDE_H
#define DEPTHWISE_CUDA_SLIDE_H

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/depthwise3x3.cuh"
#include "launch.h"
#include "shapes.h"

namespace dw::cuda {

// Whether the kernels that walk down the rows do this convolution: 3x3, stride 1, a result as large as the
// image.
inline bool slides(const ConvolutionShape& p) {
  const Window& window = p.window;
  return p.kernelH == 3 && p.kernelW == 3 && window.strideH == 1 && window.strideW == 1 && p.dilationH == 1 &&
         p.dilationW == 1 && window.top == 1 && window.bottom == 1 && window.left == 1 && window.right == 1 &&
         p.n > 0 && p.h > 0 && p.w > 0 && p.c > 0 &&
         (p.w + kStripRead) * p.c * int64_t{sizeof(float)} <= std::numeric_limits<int32_t>::max();
}

inline SlideShape slideShape(const ConvolutionShape& p) {
  return {static_cast<int>(p.h), static_cast<int>(p.w), static_cast<int>(p.c), p.n * p.h};
}

struct SlideGrid {
  dim3 grid, block;
  int64_t parts() const { return int64_t{grid.y} * grid.z; }
};

// Blocks of `threads` that a multiprocessor has at once, of which it can have `most` threads.
inline int64_t residentBlocks(int threads, int most) { return most / (ceilDivide(threads, 32) * 32); }

// Which part of a device that is full of blocks of packs x strips threads is of use. A thread beside the
// image is idle, and so is one that fills up a warp; strips at the side of a block read two columns that
// another block reads too; packs that are not neighbours in memory cost parts of a sector of 32 bytes.
inline double slideUse(int packs, int strips, int packsOfAll, int stripsOfAll, size_t packBytes, int most) {
  const auto filled = [](int all, int block) {
    return static_cast<double>(all) / static_cast<double>(ceilDivide(all, block) * block);
  };
  const int threads = packs * strips;
  const double columns = strips * kStrip, bytes = static_cast<double>(packs) * static_cast<double>(packBytes);
  return filled(packsOfAll, packs) * filled(stripsOfAll, strips) *
         static_cast<double>(residentBlocks(threads, most) * threads) / most * columns / (columns + 1) *
         bytes / (bytes + 16);
}

// Blocks for a convolution, with N channels to a thread, on a device of so many multiprocessors that each
// have `most` threads at once. `waves`: the device is filled so many times, if ranges of 16 rows are enough
// for that, since each reads two rows beside its own; once, if ranges of 4 are.
inline SlideGrid slideGrid(const ConvolutionShape& p, int N, size_t elementBytes, int multiprocessors,
                           int most, int waves) {
  const int packs = static_cast<int>(p.c / N), strips = static_cast<int>(ceilDivide(p.w, kStrip));
  int width = 1, height = 1;
  double best = 0;
  for (int y = 1; y <= std::min(strips, 32); y++) {
    for (int x = 1; x <= std::min(packs, most / 2 / y); x++) {
      const double use = slideUse(x, y, packs, strips, static_cast<size_t>(N) * elementBytes, most);
      if (use > best) best = use, width = x, height = y;
    }
  }
  const int64_t across = ceilDivide(packs, width), along = ceilDivide(strips, height), rows = p.n * p.h;
  const int64_t wave = residentBlocks(width * height, most) * multiprocessors / (across * along);
  const int64_t ranges = std::min(wave * waves, std::max(rows / 16, std::min(wave, rows / 4)));
  SlideGrid slide;
  slide.block = dim3(static_cast<unsigned>(width), static_cast<unsigned>(height));
  slide.grid = dim3(static_cast<unsigned>(across), static_cast<unsigned>(along),
                    static_cast<unsigned>(std::clamp<int64_t>(ranges, 1, 65535)));
  return slide;
}

}  // namespace dw::cuda

#endif
