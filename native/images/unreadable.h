// What is thrown within this library where a sample is at fault, or belongs to another decoder.
#ifndef DEPTHWISE_IMAGES_UNREADABLE_H
#define DEPTHWISE_IMAGES_UNREADABLE_H

#include <exception>
#include <string>

#include "depthwise_images.h"

namespace dw::images {

class Unreadable : public std::exception {
 public:
  explicit Unreadable(std::string reason, dw_image_status status = DW_IMAGE_UNREADABLE)
      : reason(std::move(reason)), status(status) {}
  const char* what() const noexcept override { return reason.c_str(); }

  std::string reason;
  dw_image_status status;
};

}  // namespace dw::images

#endif
