// The stages of a sample, in the order of dw_image_rules.
#include "sample.h"

#include <algorithm>
#include <cmath>

#include "file.h"
#include "unreadable.h"

namespace dw::images {

namespace {

// Memory for files that is kept for the next one.
constexpr size_t kKept = size_t{16} << 20;

// An image is decoded at a half, a quarter or an eighth where so many pixels are left for each of the result:
// the filter that then shrinks it has enough to count that the result is near that of the whole image.
constexpr double kPixelsLeft = 2;

int eighthsFor(const Rectangle& part, Size result) {
  for (int eighths : {1, 2, 4}) {
    const double scale = eighths / 8.0;
    if (part.width * scale >= kPixelsLeft * result.width &&
        part.height * scale >= kPixelsLeft * result.height)
      return eighths;
  }
  return 8;
}

// Where a part of the image as it is seen is in the image as it is stored, of size `stored`.
Rectangle stored(const Rectangle& seen, int orientation, Size stored) {
  Rectangle part = orientation >= 5 ? Rectangle{seen.top, seen.left, seen.height, seen.width} : seen;
  const bool fromRight = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool fromBelow = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  if (fromRight) part.left = stored.width - part.left - part.width;
  if (fromBelow) part.top = stored.height - part.top - part.height;
  return part;
}

}  // namespace

void SampleMaker::make(const dw_image_rules& rules, const dw_image_input& input, uint8_t* out) {
  const Draws draws(rules, input.sample);
  if (input.kind == DW_IMAGE_PIXELS) {
    fromPixels(rules, input, draws, out);
  } else if (input.kind == DW_IMAGE_BYTES) {
    checkJpeg(input.data, static_cast<size_t>(input.length));
    fromJpeg(input.data, static_cast<size_t>(input.length), rules, draws, out);
  } else {
    readJpeg(input.path, input.offset, input.length, &bytes_, &length_);
    fromJpeg(bytes_.data(), length_, rules, draws, out);
    if (bytes_.capacity() > kKept) std::vector<uint8_t>().swap(bytes_);
  }
  resampler_.shrink();
  change(rules, draws, out);
}

void SampleMaker::fromJpeg(const uint8_t* data, size_t length, const dw_image_rules& rules, const Draws& draws,
                           uint8_t* out) {
  jpeg_.open(data, length);
  const int orientation = jpeg_.orientation();
  const bool sideways = orientation >= 5;
  const Size whole = jpeg_.size();
  const Size seen = sideways ? Size{whole.width, whole.height} : whole;
  const Rectangle part = stored(draws.crop(seen), orientation, whole);
  const Size result = sideways ? Size{rules.width, rules.height} : Size{rules.height, rules.width};
  const int eighths = eighthsFor(part, result);
  // The part at that scale, and the whole pixels that it touches.
  const double scale = eighths / 8.0;
  const double left = part.left * scale, right = (part.left + part.width) * scale;
  const double top = part.top * scale, bottom = (part.top + part.height) * scale;
  const int x0 = static_cast<int>(left), x1 = static_cast<int>(std::ceil(right));
  const int y0 = static_cast<int>(top), y1 = static_cast<int>(std::ceil(bottom));
  jpeg_.start(eighths, {x0, y0, x1 - x0, y1 - y0});
  resampler_.begin(left - x0, right - x0, x1 - x0, top - y0, bottom - y0, y1 - y0, result,
                   rules.bicubic != 0);
  for (int y = y0; y < y1; y++) resampler_.row(jpeg_.row());
  const bool mirror = draws.flip();
  if (orientation == 1) {
    resampler_.finish(out, mirror);
  } else {
    turned_.resize(static_cast<size_t>(result.height) * static_cast<size_t>(result.width) * 3);
    resampler_.finish(turned_.data(), false);
    orient(turned_.data(), out, {rules.height, rules.width}, orientation, mirror);
  }
}

void SampleMaker::fromPixels(const dw_image_rules& rules, const dw_image_input& input, const Draws& draws,
                             uint8_t* out) {
  const Rectangle part = draws.crop({input.height, input.width});
  resampler_.begin(0, part.width, part.width, 0, part.height, part.height, {rules.height, rules.width},
                   rules.bicubic != 0);
  row_.resize(static_cast<size_t>(part.width + kBeyond) * 4);
  const size_t stride = static_cast<size_t>(input.width) * 3;
  const uint8_t* row =
      input.data + static_cast<size_t>(part.top) * stride + static_cast<size_t>(part.left) * 3;
  for (int y = 0; y < part.height; y++, row += stride) {
    kernels_.widen(row, row_.data(), part.width);
    resampler_.row(row_.data());
  }
  resampler_.finish(out, draws.flip());
}

void SampleMaker::change(const dw_image_rules& rules, const Draws& draws, uint8_t* out) {
  const Size image{rules.height, rules.width};
  ColorMap map;
  if (draws.color(&map)) {
    float matrix[9];
    for (int i = 0; i < 9; i++) matrix[i] = static_cast<float>(map.matrix[i] * map.scale);
    kernels_.recolor(out, int64_t{image.height} * image.width, matrix, static_cast<float>(map.offset));
  }
  for (int i = 0; i < rules.randaugment_ops; i++) {
    const Words words = draws.block(Purpose::RandAugment, static_cast<uint32_t>(i));
    const auto op = static_cast<Change>(below(kChanges, words.word[0]));
    const double magnitude = changeMagnitude(op, rules.randaugment_magnitude, image);
    const bool negative = changeIsSigned(op) && words.word[1] >= 0x80000000u;
    changes_.apply(op, negative ? -magnitude : magnitude, out, image);
  }
  Rectangle rectangle;
  if (draws.erase(image, &rectangle)) changes_.erase(draws, rectangle, out, image);
}

}  // namespace dw::images
