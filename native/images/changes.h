// Changes of finished images: RandAugment's ops, erasing, and the camera's rotation.
#ifndef DEPTHWISE_IMAGES_CHANGES_H
#define DEPTHWISE_IMAGES_CHANGES_H

#include <cstdint>
#include <vector>

#include "draws.h"
#include "geometry.h"

namespace dw::images {

// The ops of RandAugment (Cubuk et al., arXiv 1909.13719, section 3), in torchvision's order.
enum class Change {
  Identity,
  ShearX,
  ShearY,
  TranslateX,
  TranslateY,
  Rotate,
  Brightness,
  Color,
  Contrast,
  Sharpness,
  Posterize,
  Solarize,
  AutoContrast,
  Equalize,
};
constexpr int kChanges = 14;

// How strong an op is at a level of 0 to 30, by torchvision's table: shears as tangents, translations in
// pixels of an image of this size, rotation in degrees, the others as differences from factor 1, bits and
// thresholds.
double changeMagnitude(Change change, int level, Size image);
// Whether half of the time the magnitude is negative.
bool changeIsSigned(Change change);

class Changes {
 public:
  // In place, on rgb [height, width, 3]. Moved pixels are those nearest; what comes from outside is black.
  void apply(Change change, double magnitude, uint8_t* rgb, Size image);
  // Fills a rectangle with random bytes.
  void erase(const Draws& draws, const Rectangle& rectangle, uint8_t* rgb, Size image);

 private:
  void move(const double matrix[6], uint8_t* rgb, Size image);
  void sharpen(float factor, uint8_t* rgb, Size image);

  std::vector<uint8_t> copy_;
};

// in [rows of the stored image] to out, turned as EXIF orientation 2 to 8 says, then mirrored on request.
// `image` is the size of the result; that of the source is the same, or for 5 to 8 the other way round.
void orient(const uint8_t* in, uint8_t* out, Size image, int orientation, bool mirror);

}  // namespace dw::images

#endif
