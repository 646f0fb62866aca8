// Reading of image files and of ranges of files.
#ifndef DEPTHWISE_IMAGES_FILE_H
#define DEPTHWISE_IMAGES_FILE_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dw::images {

// Files with more bytes are not read.
constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;

// Throws Unreadable unless the first bytes are those of a JPEG; with status OTHER where they are those of
// another photograph's format.
void checkJpeg(const uint8_t* data, size_t length);

// Reads `length` bytes (UINT64_MAX: all) from `offset` into `bytes`, which may be longer, once their
// beginning has passed checkJpeg; `count` is how many. Throws Unreadable.
void readJpeg(const char* path, uint64_t offset, uint64_t length, std::vector<uint8_t>* bytes, size_t* count);

}  // namespace dw::images

#endif
