// Which crop, flip, colour and other changes a sample gets: arithmetic on random numbers, without pixels. The
// same numbers as lib/data/augment.ts, which says what they mean.
#ifndef DEPTHWISE_IMAGES_DRAWS_H
#define DEPTHWISE_IMAGES_DRAWS_H

#include <cstdint>

#include "depthwise_images.h"
#include "geometry.h"

namespace dw::images {

struct ColorMap {
  double matrix[9];
  double scale, offset;
};

struct Words {
  uint32_t word[4];
};

// What a random block is for; lib/data/random.ts has the same.
enum class Purpose : uint32_t {
  Crop = 0x64617401,
  Flip = 0x64617402,
  Color = 0x64617403,
  RandAugment = 0x64617405,
  Erase = 0x64617406,
  EraseFill = 0x64617407,
};

// The random numbers of one sample.
class Draws {
 public:
  Draws(const dw_image_rules& rules, uint32_t sample) : rules_(rules), sample_(sample) {}

  // Philox4x32-10 of (sample, epoch, draw, purpose): Salmon et al., SC 2011.
  Words block(Purpose purpose, uint32_t draw = 0) const;

  // The part of an image of this size that is taken.
  Rectangle crop(Size image) const;
  bool flip() const;
  // Whether the colour changes, and how.
  bool color(ColorMap* map) const;
  // Whether a rectangle of an image of this size is erased, and which.
  bool erase(Size image, Rectangle* rectangle) const;

 private:
  Rectangle randomCrop(Size image) const;

  const dw_image_rules& rules_;
  uint32_t sample_;
};

// A random word in [0, 1): its upper 24 bits.
inline double unitInterval(uint32_t word) { return (word >> 8) * 0x1p-24; }

// A random word as a whole number from 0 to n - 1.
inline int below(int n, uint32_t word) { return static_cast<int>(word / 4294967296.0 * n); }

}  // namespace dw::images

#endif
