// Decoding of JPEGs by libjpeg-turbo: the rows and columns of a part, at a half, a quarter or an eighth of
// the size on request.
#ifndef DEPTHWISE_IMAGES_JPEG_H
#define DEPTHWISE_IMAGES_JPEG_H

// clang-format off: jpeglib.h needs what these declare
#include <cstddef>
#include <cstdio>
// clang-format on
#include <jpeglib.h>

#include <csetjmp>
#include <cstdint>
#include <vector>

#include "geometry.h"

namespace dw::images {

// Images with more pixels are refused from their header: 0x3fff squared, sharp's limit.
constexpr int64_t kMaxPixels = 268402689;

// One image after the other. Every function throws Unreadable: a warning of the library is an error, for a
// JPEG that is damaged in its middle is no more than that to it.
class JpegDecoder {
 public:
  JpegDecoder();
  ~JpegDecoder();
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  // Reads the header. The bytes stay where they are until the next call.
  void open(const uint8_t* data, size_t length);

  // As stored.
  Size size() const { return {static_cast<int>(info_.image_height), static_cast<int>(info_.image_width)}; }
  // EXIF: 1 to 8.
  int orientation() const { return orientation_; }

  // Begins with the pixels of `part`, which is of the size that `eighths` (1, 2, 4 or 8) of 8 leave of the
  // image.
  void start(int eighths, Rectangle part);
  // The next row of the part, 4 bytes a pixel: red, green, blue and one without meaning. Valid until the next
  // call, with kBeyond pixels behind it that mean nothing.
  const uint8_t* row();

 private:
  struct Errors {
    jpeg_error_mgr manager;  // first: libjpeg knows this one alone
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    bool unsupported;
  };
  [[noreturn]] static void fail(j_common_ptr info);
  static void message(j_common_ptr info, int level);
  static void progress(j_common_ptr info);
  [[noreturn]] void failed();
  void readMarkers();
  void fromInks(uint8_t* row, size_t pixels) const;

  jpeg_decompress_struct info_;
  Errors errors_;
  jpeg_progress_mgr progress_;
  int orientation_ = 1;
  std::vector<uint8_t> row_;
  size_t skipped_ = 0;  // pixels before the part in a row that is decoded
  size_t width_ = 0;    // pixels in it
};

}  // namespace dw::images

#endif
