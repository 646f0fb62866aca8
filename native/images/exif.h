// The camera's rotation, from the EXIF data of a JPEG.
#ifndef DEPTHWISE_IMAGES_EXIF_H
#define DEPTHWISE_IMAGES_EXIF_H

#include <cstddef>
#include <cstdint>

namespace dw::images {

// Tag 0x0112 of the first directory of `data`, the content of an APP1 segment: 1 (as stored) to 8. 1 where
// there is none, or none that makes sense.
int exifOrientation(const uint8_t* data, size_t length);

}  // namespace dw::images

#endif
