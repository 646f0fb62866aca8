// Random numbers of samples; see lib/data/augment.ts, whose numbers these are.
#include "draws.h"

#include <algorithm>
#include <cmath>

namespace dw::images {

namespace {

constexpr int kCropTries = 10;
constexpr int kEraseTries = 10;

// As Math.round for what is not negative.
int rounded(double value) { return static_cast<int>(std::floor(value + 0.5)); }

Rectangle centered(Size image, int width, int height) {
  return {(image.width - width) / 2, (image.height - height) / 2, width, height};
}

// Luminance, and the turn by a right angle in the plane of equal luminance, as `saturate` and `hueRotate` of
// https://www.w3.org/TR/filter-effects-1/#feColorMatrixElement have them.
constexpr double kLuminance[3] = {0.213, 0.715, 0.072};
constexpr double kQuarterTurn[3][3] = {
    {-0.213, -0.715, 0.928}, {0.143, 0.14, -0.283}, {-0.787, 0.715, 0.072}};

ColorMap colorMap(double brightness, double contrast, double saturation, double hue) {
  const double turn = 2 * 3.141592653589793 * hue;
  const double cosine = std::cos(turn), sine = std::sin(turn);
  ColorMap map;
  for (int row = 0; row < 3; row++) {
    for (int column = 0; column < 3; column++) {
      const double rest = (row == column ? 1 : 0) - kLuminance[column];
      map.matrix[3 * row + column] =
          kLuminance[column] + saturation * (cosine * rest + sine * kQuarterTurn[row][column]);
    }
  }
  map.scale = contrast;
  map.offset = brightness + 127.5 * (1 - contrast);
  return map;
}

double within(double least, double most, uint32_t word) {
  return least + (most - least) * unitInterval(word);
}

}  // namespace

Words Draws::block(Purpose purpose, uint32_t draw) const {
  uint32_t x0 = sample_, x1 = rules_.epoch, x2 = draw, x3 = static_cast<uint32_t>(purpose);
  uint32_t key0 = rules_.key[0], key1 = rules_.key[1];
  for (int round = 0; round < 10; round++) {
    const uint64_t product0 = uint64_t{0xd2511f53} * x0, product1 = uint64_t{0xcd9e8d57} * x2;
    x0 = static_cast<uint32_t>(product1 >> 32) ^ x1 ^ key0;
    x1 = static_cast<uint32_t>(product1);
    x2 = static_cast<uint32_t>(product0 >> 32) ^ x3 ^ key1;
    x3 = static_cast<uint32_t>(product0);
    key0 += 0x9e3779b9;
    key1 += 0xbb67ae85;
  }
  return {{x0, x1, x2, x3}};
}

Rectangle Draws::crop(Size image) const {
  if (rules_.area[1] > 0) return randomCrop(image);
  if (rules_.center_crop > 0) {
    const int edge = std::max(1, rounded(std::min(image.width, image.height) * rules_.center_crop));
    return centered(image, edge, edge);
  }
  return {0, 0, image.width, image.height};
}

Rectangle Draws::randomCrop(Size image) const {
  const double leastAspect = rules_.aspect[0], mostAspect = rules_.aspect[1];
  const double whole = static_cast<double>(image.width) * image.height;
  for (uint32_t attempt = 0; attempt < kCropTries; attempt++) {
    const Words words = block(Purpose::Crop, attempt);
    const double area = whole * within(rules_.area[0], rules_.area[1], words.word[0]);
    const double aspect = leastAspect * std::pow(mostAspect / leastAspect, unitInterval(words.word[1]));
    const int width = rounded(std::sqrt(area * aspect)), height = rounded(std::sqrt(area / aspect));
    if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
    return {below(image.width - width + 1, words.word[2]), below(image.height - height + 1, words.word[3]),
            width, height};
  }
  return centered(image, std::max(1, std::min(image.width, rounded(image.height * mostAspect))),
                  std::max(1, std::min(image.height, rounded(image.width / leastAspect))));
}

bool Draws::flip() const {
  return rules_.area[1] > 0 && block(Purpose::Flip).word[0] >= 0x80000000u;
}

bool Draws::color(ColorMap* map) const {
  if (!rules_.random_color) return false;
  const Words words = block(Purpose::Color);
  *map = colorMap(within(-32, 32, words.word[0]), within(0.5, 1.5, words.word[1]),
                  within(0.5, 1.5, words.word[2]), within(-0.2, 0.2, words.word[3]));
  return true;
}

// Zhong et al., "Random Erasing Data Augmentation", arXiv 1708.04896, algorithm 1, with its area of 0.02 to
// 0.4 of the image and aspects of 0.3 to 1 / 0.3, here log-uniform, so that wide and tall are alike.
bool Draws::erase(Size image, Rectangle* rectangle) const {
  if (!(rules_.erasing > 0) || unitInterval(block(Purpose::Erase).word[0]) >= rules_.erasing) return false;
  const double whole = static_cast<double>(image.width) * image.height;
  for (uint32_t attempt = 1; attempt <= kEraseTries; attempt++) {
    const Words words = block(Purpose::Erase, attempt);
    const double area = whole * within(0.02, 0.4, words.word[0]);
    const double aspect = 0.3 * std::pow(1 / (0.3 * 0.3), unitInterval(words.word[1]));
    const int width = rounded(std::sqrt(area * aspect)), height = rounded(std::sqrt(area / aspect));
    if (width < 1 || height < 1 || width >= image.width || height >= image.height) continue;
    *rectangle = {below(image.width - width + 1, words.word[2]),
                  below(image.height - height + 1, words.word[3]), width, height};
    return true;
  }
  return false;
}

}  // namespace dw::images
