// libjpeg-turbo behind JpegDecoder. Its errors come by longjmp: no function below has, where that may happen,
// a local object with a destructor, or a variable that is read after the jump.
#include "jpeg.h"

#include <jerror.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "exif.h"
#include "kernels/kernels.h"
#include "unreadable.h"

namespace dw::images {

namespace {

// Of the library's own memory, which holds all coefficients of a progressive image: 3 bytes a pixel. So much, and so much for
// each byte of the file: a photograph has half a bit a pixel or more, and no small file may claim a large image.
constexpr long kMaxMemory = 48L << 20;
constexpr long kMaxMemoryPerByte = 64;
// A small file can have as many scans over a large image as it likes; real ones have about ten.
constexpr int kMaxScans = 500;
// Columns beside the part that its chroma is interpolated from.
constexpr int kMargin = 2;

}  // namespace

JpegDecoder::JpegDecoder() {
  std::memset(&info_, 0, sizeof info_);
  info_.err = jpeg_std_error(&errors_.manager);
  errors_.manager.error_exit = fail;
  errors_.manager.emit_message = message;
  errors_.manager.output_message = [](j_common_ptr) {};
  errors_.unsupported = false;
  if (setjmp(errors_.jump)) throw std::bad_alloc();
  jpeg_create_decompress(&info_);
  progress_.progress_monitor = progress;
  info_.progress = &progress_;
  jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);
}

JpegDecoder::~JpegDecoder() { jpeg_destroy_decompress(&info_); }

void JpegDecoder::fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  info->err->format_message(info, errors->message);
  const int code = info->err->msg_code;
  if (code == JERR_NO_BACKING_STORE) {
    std::snprintf(errors->message, sizeof errors->message, "too large for a progressive JPEG of so few bytes");
  }
  errors->unsupported = code == JERR_SOF_UNSUPPORTED || code == JERR_BAD_PRECISION ||
                        code == JERR_CONVERSION_NOTIMPL || code == JERR_BAD_J_COLORSPACE;
  std::longjmp(errors->jump, 1);
}

void JpegDecoder::message(j_common_ptr info, int level) {
  if (level < 0) fail(info);
}

void JpegDecoder::progress(j_common_ptr info) {
  if (!info->is_decompressor) return;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    auto* errors = reinterpret_cast<Errors*>(info->err);
    std::snprintf(errors->message, sizeof errors->message, "more than %d scans", kMaxScans);
    std::longjmp(errors->jump, 1);
  }
}

void JpegDecoder::failed() {
  jpeg_abort_decompress(&info_);
  throw Unreadable(errors_.message, errors_.unsupported ? DW_IMAGE_OTHER : DW_IMAGE_UNREADABLE);
}

void JpegDecoder::open(const uint8_t* data, size_t length) {
  jpeg_abort_decompress(&info_);  // what the image before left unread
  errors_.unsupported = false;
  if (setjmp(errors_.jump)) failed();
  info_.mem->max_memory_to_use = kMaxMemory + kMaxMemoryPerByte * static_cast<long>(length);
  jpeg_mem_src(&info_, data, static_cast<unsigned long>(length));
  jpeg_read_header(&info_, TRUE);
  if (static_cast<int64_t>(info_.image_width) * info_.image_height > kMaxPixels) {
    throw Unreadable("more than " + std::to_string(kMaxPixels) + " pixels");
  }
  readMarkers();
}

void JpegDecoder::readMarkers() {
  orientation_ = 1;
  for (const jpeg_marker_struct* marker = info_.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker != JPEG_APP0 + 1) continue;
    if (marker->data_length < 6 || std::memcmp(marker->data, "Exif\0\0", 6) != 0) continue;  // XMP
    orientation_ = exifOrientation(marker->data, marker->data_length);
    return;
  }
}

void JpegDecoder::start(int eighths, Rectangle part) {
  if (setjmp(errors_.jump)) failed();
  info_.scale_num = static_cast<unsigned>(eighths);
  info_.scale_denom = 8;
  const bool inks = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  if (!inks && info_.jpeg_color_space == JCS_UNKNOWN) {
    throw Unreadable("components of an unknown kind", DW_IMAGE_OTHER);
  }
  info_.out_color_space = inks ? JCS_CMYK : JCS_EXT_RGBX;
  jpeg_start_decompress(&info_);
  const int whole = static_cast<int>(info_.output_width);
  const int from = std::max(0, part.left - kMargin);
  const int to = std::min(whole, part.left + part.width + kMargin);
  JDIMENSION left = static_cast<JDIMENSION>(from), width = static_cast<JDIMENSION>(to - from);
  if (from > 0 || to < whole)
    jpeg_crop_scanline(&info_, &left, &width);
  else
    left = 0, width = static_cast<JDIMENSION>(whole);
  skipped_ = static_cast<size_t>(part.left) - left;
  width_ = width;
  row_.resize((width_ + kBeyond) * 4);
  if (part.top > 0) jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(part.top));
}

const uint8_t* JpegDecoder::row() {
  if (setjmp(errors_.jump)) failed();
  JSAMPROW rows[1] = {row_.data()};
  if (jpeg_read_scanlines(&info_, rows, 1) != 1) throw Unreadable("fewer rows than its header says");
  if (info_.out_color_space == JCS_CMYK) fromInks(row_.data(), width_);
  return row_.data() + skipped_ * 4;
}

// Each ink and black take their share of the light, as Pillow has it; Adobe's files hold what is left of the
// light.
void JpegDecoder::fromInks(uint8_t* row, size_t pixels) const {
  const int inverted = info_.saw_Adobe_marker ? 0 : 255;
  for (size_t i = 0; i < pixels; i++) {
    uint8_t* pixel = row + 4 * i;
    const int black = pixel[3] ^ inverted;
    for (int c = 0; c < 3; c++) pixel[c] = static_cast<uint8_t>(((pixel[c] ^ inverted) * black + 127) / 255);
  }
}

}  // namespace dw::images
