// Weighted sums of pixels along rows and columns. The sums are of whole numbers, so all instruction sets
// agree.
#include <cstring>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#include "kernels.h"

namespace dw::images::DW_ISA {

namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

// Bytes of one load become 32-bit sums. Where there are no such vectors, one byte at a time.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
using Sums = __m512i;
inline Sums all(int32_t value) { return _mm512_set1_epi32(value); }
inline Sums times(const uint8_t* bytes, Sums weights) {
  return _mm512_mullo_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))),
                            weights);
}
inline Sums plus(Sums a, Sums b) { return _mm512_add_epi32(a, b); }
inline void settle(Sums sums, uint8_t* out) {
  const Sums shifted = _mm512_max_epi32(_mm512_srai_epi32(sums, kWeightBits), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtusepi32_epi8(shifted));
}
// Weights 0 to 3, each for the four bytes of its pixel.
inline Sums spread(const int32_t* weights) {
  const __m512i four = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights)));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3), four);
}
inline __m128i folded(Sums sums) {
  const __m256i two = _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
}
#elif defined(__AVX2__)
constexpr int kLanes = 8;
using Sums = __m256i;
inline Sums all(int32_t value) { return _mm256_set1_epi32(value); }
inline Sums times(const uint8_t* bytes, Sums weights) {
  return _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))),
                            weights);
}
inline Sums plus(Sums a, Sums b) { return _mm256_add_epi32(a, b); }
inline void settle(Sums sums, uint8_t* out) {
  const Sums shifted = _mm256_srai_epi32(sums, kWeightBits);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(shifted), _mm256_extracti128_si256(shifted, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(words, words));
}
inline Sums spread(const int32_t* weights) {
  return _mm256_set_m128i(_mm_set1_epi32(weights[1]), _mm_set1_epi32(weights[0]));
}
inline __m128i folded(Sums sums) {
  return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}
#elif defined(__SSE4_1__)
constexpr int kLanes = 4;
using Sums = __m128i;
inline Sums all(int32_t value) { return _mm_set1_epi32(value); }
inline Sums times(const uint8_t* bytes, Sums weights) {
  int32_t four;
  std::memcpy(&four, bytes, sizeof four);
  return _mm_mullo_epi32(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)), weights);
}
inline Sums plus(Sums a, Sums b) { return _mm_add_epi32(a, b); }
inline void settlePixel(__m128i sums, uint8_t* out);
inline void settle(Sums sums, uint8_t* out) { settlePixel(sums, out); }
inline Sums spread(const int32_t* weights) { return _mm_set1_epi32(weights[0]); }
inline __m128i folded(Sums sums) { return sums; }
#endif

#if defined(__SSE4_1__)
inline void settlePixel(__m128i sums, uint8_t* out) {
  const __m128i words = _mm_packs_epi32(_mm_srai_epi32(sums, kWeightBits), sums);
  const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  std::memcpy(out, &four, sizeof four);
}
#endif

inline uint8_t settled(int32_t sum) {
  sum >>= kWeightBits;
  return static_cast<uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

}  // namespace

void horizontal(const uint8_t* row, uint8_t* out, int64_t width, const Taps& taps) {
  for (int64_t x = 0; x < width; x++) {
    const uint8_t* from = row + 4 * static_cast<int64_t>(taps.first[x]);
    const int32_t* weights = taps.weights + x * taps.stride;
    const int32_t count = taps.count[x];
#if defined(__SSE4_1__)
    constexpr int kPixels = kLanes / 4;
    Sums sums = times(from, spread(weights));
    for (int32_t k = kPixels; k < count; k += kPixels)
      sums = plus(sums, times(from + 4 * k, spread(weights + k)));
    settlePixel(_mm_add_epi32(folded(sums), _mm_set1_epi32(kHalf)), out + 4 * x);
#else
    for (int c = 0; c < 4; c++) {
      int32_t sum = kHalf;
      for (int32_t k = 0; k < count; k++) sum += from[4 * k + c] * weights[k];
      out[4 * x + c] = settled(sum);
    }
#endif
  }
}

void vertical(const uint8_t* rows, int64_t stride, const int32_t* weights, int32_t count, uint8_t* out,
              int64_t lanes) {
  int64_t i = 0;
#if defined(__SSE4_1__)
  for (; i + kLanes <= lanes; i += kLanes) {
    Sums sums = all(kHalf);
    for (int32_t k = 0; k < count; k++) sums = plus(sums, times(rows + k * stride + i, all(weights[k])));
    settle(sums, out + i);
  }
#endif
  for (; i < lanes; i++) {
    int32_t sum = kHalf;
    for (int32_t k = 0; k < count; k++) sum += rows[k * stride + i] * weights[k];
    out[i] = settled(sum);
  }
}

}  // namespace dw::images::DW_ISA
