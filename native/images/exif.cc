// EXIF 2.3: a TIFF header behind "Exif", a first directory of entries of 12 bytes.
#include "exif.h"

#include <cstring>

namespace dw::images {

int exifOrientation(const uint8_t* data, size_t length) {
  constexpr size_t kName = 6;  // "Exif\0\0"
  if (length < kName + 8 || std::memcmp(data, "Exif\0\0", kName) != 0) return 1;
  const uint8_t* tiff = data + kName;
  const size_t size = length - kName;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const auto u16 = [&](size_t at) -> uint32_t {
    return little ? tiff[at] | tiff[at + 1] << 8 : tiff[at] << 8 | tiff[at + 1];
  };
  const auto u32 = [&](size_t at) -> uint32_t {
    return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2);
  };
  if (u16(2) != 42) return 1;
  const size_t directory = u32(4);
  if (directory > size || size - directory < 2) return 1;
  const size_t entries = u16(directory);
  for (size_t i = 0; i < entries; i++) {
    const size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > size) return 1;
    if (u16(entry) != 0x0112) continue;
    const uint32_t value = u16(entry + 2) == 3 ? u16(entry + 8) : 0;  // 3: a 16-bit number
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace dw::images
