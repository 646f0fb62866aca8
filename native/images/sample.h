// One sample from its bytes to its place in a batch. One of these per thread, so that memory is used again.
#ifndef DEPTHWISE_IMAGES_SAMPLE_H
#define DEPTHWISE_IMAGES_SAMPLE_H

#include <vector>

#include "changes.h"
#include "depthwise_images.h"
#include "draws.h"
#include "jpeg.h"
#include "resample.h"

namespace dw::images {

class SampleMaker {
 public:
  SampleMaker() : kernels_(selectKernels()), resampler_(kernels_) {}

  // Writes [height, width, 3] to `out`. Throws Unreadable, or std::bad_alloc.
  void make(const dw_image_rules& rules, const dw_image_input& input, uint8_t* out);

 private:
  void fromJpeg(const uint8_t* data, size_t length, const dw_image_rules& rules, const Draws& draws,
                uint8_t* out);
  void fromPixels(const dw_image_rules& rules, const dw_image_input& input, const Draws& draws, uint8_t* out);
  void change(const dw_image_rules& rules, const Draws& draws, uint8_t* out);

  const Kernels& kernels_;
  JpegDecoder jpeg_;
  Resampler resampler_;
  Changes changes_;
  std::vector<uint8_t> bytes_, turned_, row_;
  size_t length_ = 0;
};

}  // namespace dw::images

#endif
