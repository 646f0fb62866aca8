// Resizing: antialiased bilinear and bicubic, as Pillow's Image.resize computes them, bit for bit.
#ifndef DEPTHWISE_IMAGES_RESAMPLE_H
#define DEPTHWISE_IMAGES_RESAMPLE_H

#include <cstdint>
#include <vector>

#include "geometry.h"
#include "kernels/kernels.h"

namespace dw::images {

// What the pixels along one axis of the result are made of.
class Axis {
 public:
  // `size` pixels from the range [from, to) of places along an axis that has pixels 0 to `available` - 1;
  // pixel i is at places i to i + 1.
  void set(double from, double to, int available, int size, bool bicubic);

  Taps taps() const { return {first_.data(), count_.data(), weights_.data(), stride_}; }

 private:
  std::vector<int32_t> first_, count_, weights_;
  std::vector<double> row_;
  int32_t stride_ = 0;
  double from_ = -1, to_ = -1;
  int available_ = 0, size_ = 0;
  bool bicubic_ = false;
};

// Takes rows one by one and gives the result.
class Resampler {
 public:
  explicit Resampler(const Kernels& kernels) : kernels_(kernels) {}

  // The axes for `part` of the source, whose rows and columns start at 0. See Axis.
  void begin(double left, double right, int columns, double top, double bottom, int rows, Size result,
             bool bicubic);
  // The next row, [columns + kBeyond] pixels of 4 bytes.
  void row(const uint8_t* pixels);
  // After all rows: [height, width, 3]; mirrored left and right on request.
  void finish(uint8_t* out, bool mirror);

  // Memory for what comes next is kept, unless it is this large.
  void shrink();

 private:
  const Kernels& kernels_;
  Axis across_, down_;
  std::vector<uint8_t> middle_;  // [rows, width] pixels of 4 bytes
  std::vector<uint8_t> line_;    // [width]
  Size result_{};
  int64_t rows_ = 0;
};

}  // namespace dw::images

#endif
