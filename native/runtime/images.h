// The library that makes batches of images, behind depthwise_images.h, with owners. Adds no policy.
#ifndef DEPTHWISE_RUNTIME_IMAGES_H
#define DEPTHWISE_RUNTIME_IMAGES_H

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "depthwise_images.h"

namespace dw {

// What dw_image_batch has. `paths` owns those that the inputs name by `path`.
struct ImageBatch {
  dw_image_rules rules{};
  std::vector<dw_image_input> inputs;
  std::vector<std::string> paths;
  uint8_t* out = nullptr;
  std::vector<dw_image_outcome> outcomes;
};

// The libraries behind the one at this path. Throws Load where it is none.
const char* aboutImages(const std::string& library);

// Threads that make images. For one thread, except for the callbacks.
class ImagePool {
 public:
  // Throws Load where `library` is none, Argument for numbers out of range.
  ImagePool(const std::string& library, int32_t workers);
  ~ImagePool();
  ImagePool(const ImagePool&) = delete;
  ImagePool& operator=(const ImagePool&) = delete;

  // `done` is called once, on another thread, and then dropped together with the batch. Both throw Failure.
  void submit(std::shared_ptr<ImageBatch> batch, std::function<void()> done);
  void mix(const dw_image_mix& mix, std::function<void()> done);
  void cancel();

  std::vector<double> draw(const dw_image_rules& rules, uint32_t sample, int32_t height, int32_t width) const;
  void change(int32_t op, double magnitude, uint8_t* rgb, int32_t height, int32_t width) const;

 private:
  const dw_images& api_;
  dw_image_pool* pool_ = nullptr;
};

}  // namespace dw

#endif
