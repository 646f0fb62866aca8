// Sizes and rectangles in whole pixels.
#ifndef DEPTHWISE_IMAGES_GEOMETRY_H
#define DEPTHWISE_IMAGES_GEOMETRY_H

namespace dw::images {

struct Size {
  int height, width;
};

struct Rectangle {
  int left, top, width, height;
};

}  // namespace dw::images

#endif
