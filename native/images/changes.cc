// RandAugment's ops with Pillow's arithmetic, so that they are those of torchvision byte for byte.
#include "changes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace dw::images {

namespace {

constexpr int kLevels = 30;

size_t bytesOf(Size image) {
  return static_cast<size_t>(image.height) * static_cast<size_t>(image.width) * 3;
}

// From `degenerate` to the image and on, by the factor.
inline uint8_t between(int degenerate, int value, float factor) {
  const float result = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
  return static_cast<uint8_t>(result <= 0.0f ? 0.0f : result >= 255.0f ? 255.0f : result);
}

// ITU-R 601-2.
inline int luma(const uint8_t* pixel) {
  return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16;
}

void brighten(float factor, uint8_t* rgb, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) rgb[i] = between(0, rgb[i], factor);
}

void saturate(float factor, uint8_t* rgb, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 3) {
    const int grey = luma(rgb + i);
    for (size_t c = 0; c < 3; c++) rgb[i + c] = between(grey, rgb[i + c], factor);
  }
}

void contrast(float factor, uint8_t* rgb, size_t bytes) {
  int64_t sum = 0;
  for (size_t i = 0; i < bytes; i += 3) sum += luma(rgb + i);
  const int mean = static_cast<int>(static_cast<double>(sum) / static_cast<double>(bytes / 3) + 0.5);
  for (size_t i = 0; i < bytes; i++) rgb[i] = between(mean, rgb[i], factor);
}

// Each channel by a table that is made from its histogram.
template <typename Table>
void byHistogram(uint8_t* rgb, size_t bytes, Table table) {
  for (size_t c = 0; c < 3; c++) {
    int64_t histogram[256] = {};
    for (size_t i = c; i < bytes; i += 3) histogram[rgb[i]]++;
    uint8_t to[256];
    for (int v = 0; v < 256; v++) to[v] = static_cast<uint8_t>(v);
    table(histogram, to);
    for (size_t i = c; i < bytes; i += 3) rgb[i] = to[rgb[i]];
  }
}

uint8_t cut(int64_t value) {
  return static_cast<uint8_t>(std::min<int64_t>(255, std::max<int64_t>(0, value)));
}

void stretchTable(const int64_t* histogram, uint8_t* to) {
  int low = 0, high = 255;
  while (low < 255 && histogram[low] == 0) low++;
  while (high > 0 && histogram[high] == 0) high--;
  if (high <= low) return;
  const double scale = 255.0 / (high - low), offset = -low * scale;
  for (int v = 0; v < 256; v++) to[v] = cut(static_cast<int64_t>(v * scale + offset));
}

void equalizeTable(const int64_t* histogram, uint8_t* to) {
  int64_t pixels = 0, last = 0, kinds = 0;
  for (int v = 0; v < 256; v++) {
    if (histogram[v] == 0) continue;
    pixels += histogram[v];
    last = histogram[v];
    kinds++;
  }
  const int64_t step = (pixels - last) / 255;
  if (kinds <= 1 || step == 0) return;
  int64_t n = step / 2;
  for (int v = 0; v < 256; v++) {
    to[v] = cut(n / step);
    n += histogram[v];
  }
}

}  // namespace

double changeMagnitude(Change change, int level, Size image) {
  const double part = static_cast<double>(level) / kLevels;
  switch (change) {
    case Change::ShearX:
    case Change::ShearY:
      return 0.3 * part;
    case Change::TranslateX:
      return 150.0 / 331 * image.width * part;
    case Change::TranslateY:
      return 150.0 / 331 * image.height * part;
    case Change::Rotate:
      return 30 * part;
    case Change::Brightness:
    case Change::Color:
    case Change::Contrast:
    case Change::Sharpness:
      return 0.9 * part;
    case Change::Posterize:
      return 8 - std::nearbyint(4 * part);
    case Change::Solarize:
      return 255 - 255 * part;
    case Change::Identity:
    case Change::AutoContrast:
    case Change::Equalize:
      break;
  }
  return 0;
}

bool changeIsSigned(Change change) { return change >= Change::ShearX && change <= Change::Sharpness; }

void Changes::apply(Change change, double magnitude, uint8_t* rgb, Size image) {
  const size_t bytes = bytesOf(image);
  const float factor = static_cast<float>(1 + magnitude);
  switch (change) {
    case Change::Identity:
      return;
    case Change::ShearX: {
      const double matrix[6] = {1, magnitude, 0, 0, 1, 0};
      return move(matrix, rgb, image);
    }
    case Change::ShearY: {
      const double matrix[6] = {1, 0, 0, magnitude, 1, 0};
      return move(matrix, rgb, image);
    }
    case Change::TranslateX: {
      const double matrix[6] = {1, 0, -std::trunc(magnitude), 0, 1, 0};
      return move(matrix, rgb, image);
    }
    case Change::TranslateY: {
      const double matrix[6] = {1, 0, 0, 0, 1, -std::trunc(magnitude)};
      return move(matrix, rgb, image);
    }
    case Change::Rotate: {
      const double angle = -magnitude * 3.141592653589793 / 180;
      const double cosine = std::cos(angle), sine = std::sin(angle);
      const double x = image.width / 2.0, y = image.height / 2.0;
      const double matrix[6] = {cosine, sine,   x - cosine * x - sine * y,
                                -sine,  cosine, y + sine * x - cosine * y};
      return move(matrix, rgb, image);
    }
    case Change::Brightness:
      return brighten(factor, rgb, bytes);
    case Change::Color:
      return saturate(factor, rgb, bytes);
    case Change::Contrast:
      return contrast(factor, rgb, bytes);
    case Change::Sharpness:
      return sharpen(factor, rgb, image);
    case Change::Posterize: {
      const int bits = std::min(8, std::max(0, static_cast<int>(magnitude)));
      const uint8_t mask = static_cast<uint8_t>(0xff << (8 - bits));
      for (size_t i = 0; i < bytes; i++) rgb[i] &= mask;
      return;
    }
    case Change::Solarize:
      for (size_t i = 0; i < bytes; i++)
        rgb[i] = rgb[i] < magnitude ? rgb[i] : static_cast<uint8_t>(255 - rgb[i]);
      return;
    case Change::AutoContrast:
      return byHistogram(rgb, bytes, stretchTable);
    case Change::Equalize:
      return byHistogram(rgb, bytes, equalizeTable);
  }
}

// Pixel (x, y) of the result is that at matrix * (x, y, 1), with places of pixels in their middle; in numbers
// of 16 bits behind the point.
void Changes::move(const double matrix[6], uint8_t* rgb, Size image) {
  const auto fixed = [](double value) { return static_cast<int64_t>(std::floor(value * 65536 + 0.5)); };
  copy_.assign(rgb, rgb + bytesOf(image));
  const int64_t acrossX = fixed(matrix[0]), downX = fixed(matrix[1]);
  const int64_t acrossY = fixed(matrix[3]), downY = fixed(matrix[4]);
  int64_t startX = fixed(matrix[2] + (matrix[0] + matrix[1]) * 0.5);
  int64_t startY = fixed(matrix[5] + (matrix[3] + matrix[4]) * 0.5);
  for (int y = 0; y < image.height; y++, startX += downX, startY += downY) {
    int64_t fromX = startX, fromY = startY;
    for (int x = 0; x < image.width; x++, fromX += acrossX, fromY += acrossY, rgb += 3) {
      const int64_t column = fromX >> 16, row = fromY >> 16;
      if (column < 0 || column >= image.width || row < 0 || row >= image.height)
        std::memset(rgb, 0, 3);
      else
        std::memcpy(rgb, copy_.data() + (row * image.width + column) * 3, 3);
    }
  }
}

// Away from the image smoothed by [1 1 1; 1 5 1; 1 1 1] / 13, whose outermost pixels are the image's.
void Changes::sharpen(float factor, uint8_t* rgb, Size image) {
  copy_.assign(rgb, rgb + bytesOf(image));
  const int64_t stride = static_cast<int64_t>(image.width) * 3;
  for (int64_t y = 1; y + 1 < image.height; y++) {
    for (int64_t i = 3; i + 3 < stride; i++) {
      const uint8_t* at = copy_.data() + y * stride + i;
      int sum = 4 * at[0];
      for (int64_t row = -stride; row <= stride; row += stride) sum += at[row - 3] + at[row] + at[row + 3];
      const int smooth = (2 * sum + 13) / 26;
      rgb[y * stride + i] = between(smooth, at[0], factor);
    }
  }
}

void Changes::erase(const Draws& draws, const Rectangle& rectangle, uint8_t* rgb, Size image) {
  const size_t width = static_cast<size_t>(rectangle.width) * 3;
  uint32_t block = 0;
  for (int y = 0; y < rectangle.height; y++) {
    uint8_t* row = rgb + (static_cast<size_t>(rectangle.top + y) * static_cast<size_t>(image.width) +
                          static_cast<size_t>(rectangle.left)) *
                             3;
    for (size_t at = 0; at < width; at += sizeof(Words)) {
      const Words words = draws.block(Purpose::EraseFill, block++);
      std::memcpy(row + at, &words, std::min(sizeof words, width - at));
    }
  }
}

void orient(const uint8_t* in, uint8_t* out, Size image, int orientation, bool mirror) {
  const bool turned = orientation >= 5;
  const int64_t storedWidth = turned ? image.height : image.width;
  const int64_t storedHeight = turned ? image.width : image.height;
  for (int64_t y = 0; y < image.height; y++) {
    for (int64_t i = 0; i < image.width; i++, out += 3) {
      const int64_t x = mirror ? image.width - 1 - i : i;
      int64_t row = y, column = x;
      switch (orientation) {
        case 2:
          column = storedWidth - 1 - x;
          break;
        case 3:
          column = storedWidth - 1 - x, row = storedHeight - 1 - y;
          break;
        case 4:
          row = storedHeight - 1 - y;
          break;
        case 5:
          row = x, column = y;
          break;
        case 6:
          row = storedHeight - 1 - x, column = y;
          break;
        case 7:
          row = storedHeight - 1 - x, column = storedWidth - 1 - y;
          break;
        case 8:
          row = x, column = storedWidth - 1 - y;
          break;
        default:
          break;
      }
      std::memcpy(out, in + (row * storedWidth + column) * 3, 3);
    }
  }
}

}  // namespace dw::images
