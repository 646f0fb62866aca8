// Loops over single pixels: formats, colour, blends.
#include "kernels.h"

namespace dw::images::DW_ISA {

void widen(const uint8_t* rgb, uint8_t* out, int64_t pixels) {
  for (int64_t i = 0; i < pixels; i++) {
    out[4 * i] = rgb[3 * i];
    out[4 * i + 1] = rgb[3 * i + 1];
    out[4 * i + 2] = rgb[3 * i + 2];
    out[4 * i + 3] = 0;
  }
}

void narrow(const uint8_t* in, uint8_t* rgb, int64_t pixels, bool mirror) {
  if (mirror) {
    for (int64_t i = 0; i < pixels; i++) {
      const uint8_t* from = in + 4 * (pixels - 1 - i);
      rgb[3 * i] = from[0];
      rgb[3 * i + 1] = from[1];
      rgb[3 * i + 2] = from[2];
    }
    return;
  }
  for (int64_t i = 0; i < pixels; i++) {
    rgb[3 * i] = in[4 * i];
    rgb[3 * i + 1] = in[4 * i + 1];
    rgb[3 * i + 2] = in[4 * i + 2];
  }
}

namespace {

inline uint8_t settled(float value) {
  value += 0.5f;
  value = value < 0.0f ? 0.0f : value;
  return static_cast<uint8_t>(static_cast<int32_t>(value > 255.0f ? 255.0f : value));
}

}  // namespace

void recolor(uint8_t* rgb, int64_t pixels, const float* m, float offset) {
  const float m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5], m6 = m[6], m7 = m[7],
              m8 = m[8];
  for (int64_t i = 0; i < pixels; i++) {
    uint8_t* pixel = rgb + 3 * i;
    const float r = pixel[0], g = pixel[1], b = pixel[2];
    pixel[0] = settled(m0 * r + m1 * g + m2 * b + offset);
    pixel[1] = settled(m3 * r + m4 * g + m5 * b + offset);
    pixel[2] = settled(m6 * r + m7 * g + m8 * b + offset);
  }
}

void blend(uint8_t* a, const uint8_t* b, int64_t bytes, uint32_t fraction) {
  const uint32_t rest = 65536 - fraction;
  for (int64_t i = 0; i < bytes; i++) {
    a[i] = static_cast<uint8_t>((a[i] * fraction + b[i] * rest + 32768) >> 16);
  }
}

}  // namespace dw::images::DW_ISA
